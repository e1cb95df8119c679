"""The files that a measure service of a benchmark starts with: its schema, its nodes, its configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meridian.networks.generator import EPOCH_SECONDS, GENESIS_S
from meridian.networks.saturn import SCHEMA
from meridian.node.measure.config import MeasureConfig
from meridian.primitives.ids import Address, address_text, node_key


def configure_service(root: Path, ids: Sequence[str], **more: Any) -> MeasureConfig:
    """Write everything below `root`, with these nodes registered, and return the configuration.

    Args:
        root: Made when absent; ``config.toml`` is the configuration.
        ids: Node ids.
        more: Other settings.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "schema").write_bytes(SCHEMA.encode())
    accounts = [address_text(Address(node_key(one)[:20])) for one in ids]
    nodes = [
        {"node_id": one, "operator": account, "payee": account}
        for one, account in zip(ids, accounts, strict=True)
    ]
    (root / "nodes.json").write_text(json.dumps(nodes))
    values = {"data_dir": root / "measure", "listen_port": 0} | more
    config = MeasureConfig(
        network="saturn",
        schema_file=root / "schema",
        key_file=root / "keys/aggregator.key",
        log_key_file=root / "keys/log.key",
        secret_file=root / "keys/secret.key",
        gateway_token_file=root / "keys/gateway.key",
        admin_token_file=root / "keys/admin.key",
        chain_id=31337,
        commitments=address_text(Address(b"\xc0" * 20)),
        nodes_file=root / "nodes.json",
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        replay=True,
        **values,
    )
    config.save(root / "config.toml")
    return config
