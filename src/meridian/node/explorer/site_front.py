"""What of a site does not follow from epochs: the pages themselves, and `data/network.json`."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from meridian.errors import StorageFailure
from meridian.explorer.chain_history import ChainFacts
from meridian.measure.schema import NetworkSchema
from meridian.node.network_file import NetworkFile
from meridian.primitives.fil_address import MAINNET
from meridian.primitives.ids import ZERO_ADDRESS, address_text

COINS: Final = {MAINNET: "FIL", 314_159: "tFIL", 31_337: "FIL"}
"""What a chain's amounts are called; 31337 is the embedded chain."""
_NOWHERE: Final = address_text(ZERO_ADDRESS)


def network_object(
    network: NetworkFile, schema: NetworkSchema, facts: ChainFacts
) -> dict[str, Any]:
    """Return what `data/network.json` says of a network."""
    contracts = {
        name: address_text(getattr(network.contracts, name))
        for name in network.contracts.__dataclass_fields__
    }
    return {
        "version": 1,
        "network": network.network,
        "networkId": network.network_id.hex(),
        "chainId": network.chain_id,
        "rpcUrl": network.rpc_url,
        "contracts": {name: text for name, text in contracts.items() if text != _NOWHERE},
        "genesisS": network.genesis_s,
        "epochSeconds": network.epoch_seconds,
        "firstEpoch": network.first_epoch,
        "lanes": schema.lanes.kind.value,
        "laneFields": list(schema.lanes.fields),
        "coin": COINS.get(network.chain_id, "ETH"),
        "function": network.function,
        "publications": [
            place if "://" in place else f"publications/{at}/"
            for at, place in enumerate(network.publications)
        ],
        "measureUrl": network.measure_url,
        "madeAtS": facts.now_s,
        "block": facts.block,
    }


def copy_assets(out: Path) -> None:
    """Copy the pages into a site.

    Raises:
        StorageFailure: If the disk refuses.
    """
    try:
        with as_file(files("meridian.web") / "assets") as folder:
            shutil.copytree(folder, out, dirs_exist_ok=True)
    except OSError as error:
        raise StorageFailure(f"{out}: {error}") from error
