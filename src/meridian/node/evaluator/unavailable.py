"""What evaluators do when nobody publishes what was committed: a quorum says so, and the epoch is closed.

Each member that has looked in vain for long enough signs that it has, and publishes its signature beside its other
artefacts; whoever finds a quorum of them brings it to the chain. Signatures travel through the publication directories
and not over the links: there is nothing to agree on, and a member that is away finds them when it comes back.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from meridian.contracts.statements import Unavailable
from meridian.errors import InvalidInput
from meridian.node.durable_file import write_durably
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey, recover
from meridian.primitives.quorum import quorum

FILE_BYTES_MAX: Final = 1024


class _File(msgspec.Struct):
    """One member's statement as it is published."""

    epoch: int
    commitment: str
    signature: str


def publish_statement(root: Path, statement: Unavailable, key: PrivateKey, domain: Domain) -> None:
    """Sign that an epoch's artefacts cannot be fetched, and publish the signature under a publication's root."""
    signature = key.sign(statement.digest(domain))
    file = _File(statement.epoch, statement.commitment.hex(), signature.hex())
    path = _path(root, statement.epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.encode(file) + b"\n")


def collect(
    roots: Iterable[Path], statement: Unavailable, members: Sequence[Address], domain: Domain
) -> list[tuple[Address, bytes]] | None:
    """Return a quorum of members' signatures of a statement, ascending by signer, or None while there is none.

    Args:
        roots: Publications; what is not a good signature of a member there counts for nothing.
        statement: What they must have signed.
        members: Of the epoch.
        domain: That of Evaluations.
    """
    digest = statement.digest(domain)
    found: dict[Address, bytes] = {}
    for root in roots:
        signature = _signature(_path(root, statement.epoch))
        try:
            signer = recover(digest, signature)
        except InvalidInput:
            continue
        if signer in members:
            found[signer] = signature
    needed = quorum(len(members))
    return sorted(found.items())[:needed] if len(found) >= needed else None


def _path(root: Path, epoch: int) -> Path:
    return root / "unavailable" / f"{epoch:06d}.json"


def _signature(path: Path) -> bytes:
    """Return what a file gives as signature; nothing where it gives none."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX)
        return bytes.fromhex(msgspec.json.decode(data, type=_File).signature)
    except (OSError, ValueError, msgspec.DecodeError):
        return b""
