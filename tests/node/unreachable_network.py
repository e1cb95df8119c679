"""A network whose chain and measure service cannot be reached."""

from pathlib import Path

from meridian.contracts.deployment import Addresses
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import Address


def write_unreachable_network(root: Path) -> None:
    """Write its `network.json`: nothing listens on port 9."""
    place = Address(bytes([1]) * 20)
    NetworkFile(
        network="saturn",
        chain_id=31337,
        rpc_url="http://127.0.0.1:9",
        contracts=Addresses(place, place, place, place),
        deploy_block=0,
        genesis_s=1_700_000_000,
        epoch_seconds=60,
        first_epoch=0,
        measure_url="http://127.0.0.1:9",
        publications=("measure/public",),
        function="saturn",
        aggregator=place,
        log_vkey="",
        schema_digest=bytes(32),
        parameters_digest=bytes(32),
        evaluators=(),
    ).save(root)
