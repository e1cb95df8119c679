"""The public description of one simulated system, and what lies where in its data directory.

`nym.json` holds no secret. Members are numbered from 1; the contract and the protocol know them by address.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec

from meridian.ephemera.context import Context
from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.aggregate import AGGREGATES
from meridian.journey.host import HOST
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.links import Peer
from meridian.nym.acceptance import Mode, Terms
from meridian.nym.mixnodes import World
from meridian.nym.rows import MIXNODES_MAX
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text, network_id, parse_address, parse_digest

VERSION: Final = 1
FILE_NAME: Final = "nym.json"
CHAIN_ID: Final = 31337
"""The simulated contract stands on no chain; signatures bind this number all the same."""
APIS_MAX: Final = 31
MEMBER_SET: Final = 0
"""Number of the one member set of `race`: the Nym-Apis of a system never change."""

_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class ApiEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Nym-Api."""

    address: str
    link_key: str
    port: _Port
    """Where its links listen, on loopback."""


class NymNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What everybody may know of a system."""

    version: int = VERSION
    network: str
    mode: Mode
    aggregate: str
    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    mixnodes: Annotated[int, msgspec.Meta(ge=1, le=MIXNODES_MAX)]
    epoch_seconds: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)]
    liars: Annotated[int, msgspec.Meta(ge=0, le=APIS_MAX)] = 0
    """Nym-Apis 1 to `liars` report chosen extremes."""
    contract: str
    """The simulated contract, or Evaluations on the chain."""
    contract_port: _Port
    """Where the simulated contract, or the chain, listens."""
    chain_genesis_s: Annotated[int, msgspec.Meta(ge=0, le=(1 << 53))] | None = None
    """When the first epoch of a system on a chain begins; None: the simulated contract says."""
    apis: Annotated[tuple[ApiEntry, ...], msgspec.Meta(min_length=1, max_length=APIS_MAX)]

    def __post_init__(self) -> None:
        """Refuse what cannot work; the field is named."""
        if self.version != VERSION:
            raise InvalidInput("version", f"{self.version} is not {VERSION}")
        if self.aggregate not in AGGREGATES:
            raise InvalidInput("aggregate", f"{self.aggregate!r} is no rule")
        parse_address(self.contract, "contract")
        for entry in self.apis:
            parse_address(entry.address, "apis.address")
            parse_digest(entry.link_key, "apis.link_key")
        if len({entry.address for entry in self.apis}) != len(self.apis):
            raise InvalidInput("apis.address", "one stands twice")

    @property
    def realm(self) -> Realm:
        """Where signatures are valid."""
        domain = Domain(chain_id=CHAIN_ID, contract=parse_address(self.contract, "contract"))
        return Realm(domain, network_id(self.network))

    @property
    def members(self) -> tuple[Address, ...]:
        """The Nym-Apis' addresses, strictly ascending."""
        return tuple(sorted(self.address(number) for number in self.numbers))

    @property
    def numbers(self) -> range:
        """The Nym-Apis' numbers."""
        return range(1, len(self.apis) + 1)

    def address(self, number: int) -> Address:
        """Return the address of a Nym-Api."""
        return parse_address(self.apis[number - 1].address, "apis.address")

    def number(self, address: Address) -> int:
        """Return the number of a Nym-Api by its address; raises NotFound for a stranger."""
        for number in self.numbers:
            if self.address(number) == address:
                return number
        raise NotFound(f"{address_text(address)} is not a Nym-Api of this network")

    @property
    def terms(self) -> Terms:
        """What the contract is made with."""
        return Terms(self.realm, self.mode, self.members, self.mixnodes)

    @property
    def world(self) -> World:
        """What there is to measure."""
        return World(self.seed, self.mixnodes)

    @property
    def contract_url(self) -> str:
        """Where the contract answers."""
        return f"http://{HOST}:{self.contract_port}"

    @property
    def peers(self) -> list[Peer]:
        """The members as links know them."""
        return [
            Peer(
                parse_address(entry.address, "apis.address"),
                parse_digest(entry.link_key, "apis.link_key"),
                HOST,
                entry.port,
            )
            for entry in self.apis
        ]

    def context(self, number: int) -> Context:
        """Return the protocol's context: of an epoch in `quorum`, of the one member set 0 in `race`."""
        realm = self.realm
        return Context(realm.domain, realm.network, number, self.members)

    def save(self, root: Path) -> None:
        """Write the file into a data directory, durably."""
        data = msgspec.json.format(msgspec.json.encode(self), indent=2)
        write_durably(root / FILE_NAME, data + b"\n")

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the file of a data directory.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it is not one of ours; the field is named.
        """
        path = root / FILE_NAME
        if not path.exists():
            raise NotFound(f"{path}: no Nym simulation here")
        try:
            return msgspec.json.decode(read_whole(path), type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(str(path), str(error)) from error


def contract_address(name: str) -> Address:
    """Return the address that stands for the simulated contract of a network."""
    return Address(sha256(b"meridian/nym-contract/1:" + name.encode())[:20])


@dataclass(frozen=True, slots=True)
class NymLayout:
    """The paths of one data directory."""

    root: Path

    @property
    def contract(self) -> Path:
        """The contract's database."""
        return self.root / "contract" / "contract.sqlite"

    def api(self, number: int) -> Path:
        """Return the directory of a Nym-Api."""
        return self.root / "apis" / str(number)

    def api_store(self, number: int) -> Path:
        """Return the database of a Nym-Api."""
        return self.api(number) / "nym-api.sqlite"

    def ephemera(self, number: int) -> Path:
        """Return the directory of a Nym-Api's Ephemera node (`race`)."""
        return self.api(number) / "ephemera"

    def key(self, name: str) -> Path:
        """Return the file of a secret key."""
        return self.root / "keys" / f"{name}.key"

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.root / "logs" / f"{name}.log"
