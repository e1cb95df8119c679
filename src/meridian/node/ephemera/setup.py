"""Makes what a node needs before its first start: keys, configuration, directory; for one node or a local cluster."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.node.durable_file import write_durably
from meridian.node.ephemera.config import CONFIG_FILE, NodeConfig, render
from meridian.node.ephemera.home import Home
from meridian.node.ephemera.members_file import write_members
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.links import Peer
from meridian.primitives.base58 import peer_id, public_key_text
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text, network_id

LOCAL_CHAIN_ID: Final = 31_337
"""Stands where there is no chain."""

LOOPBACK: Final = "127.0.0.1"
ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - in a container there is no other way

MEMBERS_FILE: Final = "members.toml"


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The public halves of a node's two keys."""

    address: Address
    link_key: bytes

    def document(self) -> dict[str, str]:
        """Return them in every form that somebody may need."""
        return {
            "address": address_text(self.address),
            "link_key": self.link_key.hex(),
            "public_key": public_key_text(self.link_key),
            "peer_id": peer_id(self.link_key),
        }


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node of a local cluster."""

    name: str
    config: Path
    api_url: str
    keys: PublicKeys


def generate_keys(key_file: Path, link_key_file: Path) -> PublicKeys:
    """Make both keys of a node, in files that only their owner can read.

    Raises:
        InvalidInput: If a file exists already; no key is ever overwritten.
        StorageFailure: If they cannot be written.
    """
    for path in (key_file, link_key_file):
        if path.exists():
            raise InvalidInput(str(path), "exists already; keys are never overwritten")
    return read_keys(key_file, link_key_file)


def read_keys(key_file: Path, link_key_file: Path) -> PublicKeys:
    """Return the public halves of keys; those that are missing are made."""
    identity = link_identity(load_or_create_secret(link_key_file))
    return PublicKeys(load_or_create_key(key_file).address, identity.link_key)


def init_config(directory: Path, network: str, values: dict[str, object]) -> PublicKeys:
    """Make a node's directory: commented configuration, keys, empty storage.

    Args:
        directory: Where; it may exist, but must hold no configuration.
        network: Name of the network.
        values: What differs from the defaults, by ``section.key``.

    Raises:
        InvalidInput: If there is a configuration already, or a value is not acceptable.
        StorageFailure: If the disk refuses.
    """
    path = directory / CONFIG_FILE
    if path.exists():
        raise InvalidInput(str(path), "exists already")
    text = render(values)
    config = NodeConfig.parse(text, str(path))
    directory.mkdir(parents=True, exist_ok=True)
    keys = read_keys(directory / config.node.key_file, directory / config.node.link_key_file)
    Home.set_up(directory / config.node.data_dir, network=network_id(network), member=keys.address)
    write_durably(path, text.encode())
    return keys


def init_local_cluster(
    directory: Path,
    n: int,
    *,
    host_pattern: str | None = None,
    first_port: int = 3000,
    first_api_port: int = 7000,
    interval_ms: int = 1_000,
) -> list[LocalNode]:
    """Make the directories of `n` nodes, and the members file that they share.

    Args:
        directory: Where.
        n: How many.
        host_pattern: Without it all are on loopback, on ports that follow each other. With it, such as
            ``node-{}``, each is on a host (or in a container) of its own, all on the same ports.
        first_port: Port of the first node's links.
        first_api_port: Port of the first node's API.
        interval_ms: How often every node tries a block.

    Raises:
        InvalidInput: If there is a cluster already, or ports or `n` are out of range.
        StorageFailure: If the disk refuses.
    """
    if not 1 <= n <= MEMBERS_MAX:
        raise InvalidInput("nodes", f"must be 1..{MEMBERS_MAX}")
    members_file = directory / MEMBERS_FILE
    if members_file.exists():
        raise InvalidInput(str(members_file), "exists already")
    network = f"local-{secrets.token_hex(4)}"
    nodes, members = [], []
    for i in range(n):
        name = f"node-{i + 1}"
        host = LOOPBACK if host_pattern is None else host_pattern.format(i + 1)
        listen = LOOPBACK if host_pattern is None else ALL_ADDRESSES
        step = i if host_pattern is None else 0
        values: dict[str, object] = {
            "node.name": name,
            "links.host": listen,
            "links.port": first_port + step,
            "links.public_host": "" if host_pattern is None else host,
            "api.host": listen,
            "api.port": first_api_port + step,
            "blocks.interval_ms": interval_ms,
            "membership.file": f"../{MEMBERS_FILE}",
            "membership.refresh_ms": 5_000,
        }
        keys = init_config(directory / name, network, values)
        url = f"http://{host}:{first_api_port + step}"
        nodes.append(LocalNode(name, directory / name / CONFIG_FILE, url, keys))
        members.append((name, Peer(keys.address, keys.link_key, host, first_port + step)))
    realm = Realm(Domain(chain_id=LOCAL_CHAIN_ID, contract=ZERO_ADDRESS), network_id(network))
    write_members(members_file, number=1, network=network, realm=realm, members=members)
    return nodes
