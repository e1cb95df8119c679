"""A signed statement as a file: signed where the key is, without a chain; sent by anybody who has gas.

``{"version": 1, "kind", "network", "chain_id", "contract", "node", "signer", "statement": {…}, "signature"}``. The
statement's fields are those of `meridian.contracts.statements` without the network, bytes as ``0x…``, amounts of atto
as decimal texts; ``node`` is the id behind a statement's node key, or null. Whoever reads a file recomputes what was
signed: a file in which anything was changed is refused, before any gas is spent on it.
"""

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from meridian.contracts.calldata import Words, signature_words
from meridian.contracts.statements import (
    Delegate,
    RegisterEvaluator,
    RegisterNode,
    RelayedClaim,
    Ruling,
    SelfCommit,
)
from meridian.errors import InvalidInput
from meridian.node.deployment_file import Deployment
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.strict_json import read_json
from meridian.primitives.eip712 import Domain
from meridian.primitives.fil_address import parse_account
from meridian.primitives.ids import Address, address_text, network_id, node_key
from meridian.primitives.keys import PrivateKey, recover

VERSION: Final = 1
FILE_BYTES_MAX: Final = 1 << 20

Statement = RelayedClaim | Delegate | SelfCommit | RegisterNode | RegisterEvaluator | Ruling

S = TypeVar("S", bound=Statement)


class Kind(NamedTuple):
    """What a file says about a kind of statement."""

    word: str
    contract: str
    """Which of the network's contracts checks it: a field of `Addresses`."""
    signed_by: str = ""
    """The statement's field with its signer; empty where only the chain knows who may sign."""


KINDS: Final[dict[type[Any], Kind]] = {
    RelayedClaim: Kind("claim", "rewards", "payee"),
    Delegate: Kind("delegate", "rewards", "payee"),
    SelfCommit: Kind("self-commit", "commitments"),
    RegisterNode: Kind("register-node", "registry", "operator"),
    RegisterEvaluator: Kind("register-evaluator", "registry", "evaluator"),
    Ruling: Kind("ruling", "referees"),
}


@dataclass(frozen=True, slots=True)
class SignedFile(Generic[S]):
    """One statement with its signature, and where it counts."""

    network: str
    chain_id: int
    contract: Address
    statement: S
    signer: Address
    signature: bytes
    node: str | None = None
    """The id of the node that the statement is about, for people and for look-ups."""

    @property
    def digest(self) -> bytes:
        """The 32 bytes that were signed."""
        return self.statement.digest(Domain(chain_id=self.chain_id, contract=self.contract))

    @property
    def words(self) -> Words:
        """The signature as the contracts take it."""
        return signature_words(self.signature)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        fields = dataclasses.fields(self.statement)
        value = {
            "version": VERSION,
            "kind": KINDS[type(self.statement)].word,
            "network": self.network,
            "chain_id": self.chain_id,
            "contract": address_text(self.contract),
            "node": self.node,
            "signer": address_text(self.signer),
            "statement": {
                field.name: _shown(field.name, getattr(self.statement, field.name))
                for field in fields
                if field.name != "network"
            },
            "signature": "0x" + self.signature.hex(),
        }
        return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"

    def write(self, path: Path) -> None:
        """Write the file, durably, over what is there; raises `StorageFailure` if the disk refuses."""
        write_durably(path, self.encode())

    def check_place(self, deployment: Deployment) -> None:
        """Require that the statement is for this network's contract.

        Raises:
            InvalidInput: If it is for another; the field is named.
        """
        place = _place(deployment, type(self.statement))
        for name, found, wanted in (
            ("network", self.network, deployment.network),
            ("chain_id", str(self.chain_id), str(deployment.chain_id)),
            ("contract", address_text(self.contract), address_text(place)),
        ):
            if found != wanted:
                raise InvalidInput(name, f"the statement is for {found}, not for {wanted}")


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    kind: str
    network: str
    chain_id: int
    contract: str
    node: str | None
    signer: str
    statement: dict[str, Any]
    signature: str


def sign(
    deployment: Deployment, statement: S, key: PrivateKey, node: str | None = None
) -> SignedFile[S]:
    """Sign a statement for a network's contract."""
    place = _place(deployment, type(statement))
    digest = statement.digest(Domain(chain_id=deployment.chain_id, contract=place))
    return SignedFile(
        network=deployment.network,
        chain_id=deployment.chain_id,
        contract=place,
        statement=statement,
        signer=key.address,
        signature=key.sign(digest),
        node=node,
    )


def read_signed(path: Path, *kinds: type[S]) -> SignedFile[S]:
    """Read a statement of one of these kinds; its signature is the signer's.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it is another kind, a field is wrong, or the signature is not that of what it says.
    """
    body = read_whole(path, FILE_BYTES_MAX)
    try:
        return _read(body, kinds)
    except InvalidInput as error:
        raise InvalidInput(str(path), f"{error.field}: {error.reason}") from error


def _read(body: bytes, kinds: tuple[type[S], ...]) -> SignedFile[S]:
    value = read_json(body, _Envelope, "file")
    if value.version != VERSION:
        raise InvalidInput("version", f"{value.version} is not {VERSION}")
    wanted = {KINDS[kind].word: kind for kind in kinds}
    if value.kind not in wanted:
        raise InvalidInput("kind", f"{value.kind!r} is not {' or '.join(wanted)}")
    kind = wanted[value.kind]
    given = {"network": "0x" + network_id(value.network).hex(), **value.statement}
    if "network" in value.statement:
        raise InvalidInput("statement.network", "is unknown")
    statement = _read_fields(kind, given, "statement.")
    if value.node is not None and node_key(value.node) != getattr(statement, "node_key", None):
        raise InvalidInput("node", f"{value.node!r} is not the node of the statement")
    found = SignedFile(
        network=value.network,
        chain_id=value.chain_id,
        contract=parse_account(value.contract, "contract"),
        statement=statement,
        signer=parse_account(value.signer, "signer"),
        signature=_read_bytes(value.signature, "signature"),
        node=value.node,
    )
    if recover(found.digest, found.signature) != found.signer:
        raise InvalidInput("signature", f"is not one of {value.signer} over what the file says")
    author = KINDS[kind].signed_by
    if author and getattr(statement, author) != found.signer:
        raise InvalidInput("signer", f"is not the statement's {author}, who must sign it")
    return found


def _place(deployment: Deployment, kind: type[Any]) -> Address:
    place: Address = getattr(deployment.contracts, KINDS[kind].contract)
    return place


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _shown(key, one) for key, one in value._asdict().items()}
    if isinstance(value, tuple):
        return [_shown(name, one) for one in value]
    return str(value) if name.endswith("_atto") else value


def _read_fields(kind: Any, values: dict[str, Any], place: str) -> Any:
    """Return a dataclass or a named tuple from a JSON object with exactly its fields."""
    hints = typing.get_type_hints(kind)
    for name in values.keys() - hints.keys():
        raise InvalidInput(f"{place}{name}", "is unknown")
    for name in hints.keys() - values.keys():
        raise InvalidInput(f"{place}{name}", "is missing")
    return kind(
        **{name: _read_value(hints[name], values[name], f"{place}{name}") for name in hints}
    )


def _read_value(kind: Any, value: Any, where: str) -> Any:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise InvalidInput(where, "is not a list")
        item = typing.get_args(kind)[0]
        return tuple(_read_value(item, one, f"{where}[{at}]") for at, one in enumerate(value))
    if kind in {bool, int, str} and not where.endswith("_atto"):
        if type(value) is not kind or (kind is int and not 0 <= value < 1 << 256):
            raise InvalidInput(where, f"{value!r} is no {kind.__name__}")
        return value
    if isinstance(kind, type) and issubclass(kind, tuple):
        if not isinstance(value, dict):
            raise InvalidInput(where, "is not an object")
        return _read_fields(kind, value, f"{where}.")
    if not isinstance(value, str):
        raise InvalidInput(where, f"{value!r} is not a text")
    if kind is int:
        if not (value.isascii() and value.isdigit() and len(value) <= 78):
            raise InvalidInput(where, f"{value[:80]!r} is no number of atto")
        return int(value)
    return parse_account(value, where) if kind is Address else _read_bytes(value, where)


def _read_bytes(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise InvalidInput(where, f"{text[:80]!r} is no hex") from None
