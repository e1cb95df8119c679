"""The members file: who is a member, where their links listen, and where their signatures count. TOML or JSON.

    number = 1
    network = "local"
    chain_id = 31337
    contract = "0x0000000000000000000000000000000000000000"

    [[members]]
    name = "node-1"
    address = "0x..."
    link_key = "..."        # 64 hex digits, or libp2p base58
    host = "127.0.0.1"
    port = 3000

A file whose members change needs a greater number; new hosts and ports do not.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import tomlkit

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.links import Peer
from meridian.primitives.base58 import parse_public_key
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import address_text, network_id, parse_address, parse_digest

FILE_BYTES_MAX: Final = 1 << 20
LINK_KEY_HEX: Final = 64

_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class MemberEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member of the file."""

    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    address: str
    link_key: str
    host: _Host
    port: _Port

    def peer(self) -> Peer:
        """Return it as links know it; raises InvalidInput."""
        text = self.link_key
        if len(text.removeprefix("0x")) == LINK_KEY_HEX:
            link_key = parse_digest(text, "members.link_key")
        else:
            link_key = parse_public_key(text, "members.link_key")
        return Peer(parse_address(self.address, "members.address"), link_key, self.host, self.port)


class MembersFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's form."""

    number: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
    network: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    chain_id: Annotated[int, msgspec.Meta(ge=0)]
    contract: str
    members: Annotated[tuple[MemberEntry, ...], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]

    @property
    def realm(self) -> Realm:
        """Where messages are valid; raises InvalidInput."""
        contract = parse_address(self.contract, "contract")
        return Realm(Domain(chain_id=self.chain_id, contract=contract), network_id(self.network))

    def member_set(self) -> MemberSet:
        """Return the members; raises InvalidInput."""
        return MemberSet.of(self.number, self.realm, [entry.peer() for entry in self.members])


def read_members(path: Path) -> MembersFile:
    """Read a members file; a name that ends in ``.json`` is JSON, any other TOML.

    Raises:
        NotFound: If there is none.
        InvalidInput: If it is not one; the field is named.
        StorageFailure: If it cannot be read.
    """
    return parse_members(read_whole(path, FILE_BYTES_MAX), path)


def parse_members(data: bytes, path: Path) -> MembersFile:
    """Read the bytes of a members file; `path` names it in errors and says which form it has."""
    try:
        if path.suffix == ".json":
            found = msgspec.json.decode(data, type=MembersFile)
        else:
            found = msgspec.convert(tomllib.loads(data.decode()), MembersFile)
        found.member_set()
    except InvalidInput as error:
        raise InvalidInput(str(path), f"{error.field}: {error.reason}") from error
    except (
        msgspec.DecodeError,
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        raise InvalidInput(str(path), str(error)) from error
    return found


def write_members(
    path: Path, *, number: int, network: str, realm: Realm, members: Sequence[tuple[str, Peer]]
) -> None:
    """Write a members file in TOML, durably; `members` are (name, peer)."""
    document = tomlkit.document()
    document.add(
        tomlkit.comment("Who may speak. Change members: raise number, give every node the file.")
    )
    values: dict[str, Any] = {"number": number, "network": network}
    values |= {
        "chain_id": realm.domain.chain_id,
        "contract": address_text(realm.domain.contract),
    }
    for key, value in values.items():
        document.add(key, value)
    entries = tomlkit.aot()
    for name, peer in members:
        table = tomlkit.table()
        table.update(
            {
                "name": name,
                "address": address_text(peer.address),
                "link_key": peer.link_key.hex(),
                "host": peer.host,
                "port": peer.port,
            }
        )
        entries.append(table)
    document.add("members", entries)
    write_durably(path, document.as_string().encode())
