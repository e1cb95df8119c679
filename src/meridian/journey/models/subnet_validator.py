"""A validator of a subnet: it signs what it has computed itself from both chains, and one checkpoint of each number.

The law: a signature is on disk before it is shown. Who signed a checkpoint signs no other with its number, ever, because
two of them cost it its stake; asked again for the same one, it gives the same signature.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput
from meridian.journey.models.subnet_chains import ChildView, ParentView
from meridian.models.subnet import (
    NO_CHECKPOINT,
    Books,
    Checkpoint,
    Committed,
    Deposit,
    mint_digest,
    next_checkpoint,
)
from meridian.node.durable_file import read_whole, write_durably
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

_FILE_BYTES_MAX: Final = 4096


def replay(
    committed: Sequence[Committed], child: ChildView, first_epoch: int
) -> tuple[Checkpoint | None, bytes, Books]:
    """Return the last checkpoint, its digest and the books behind it, computed anew from the child.

    Raises:
        InvalidInput: If a checkpoint of the parent does not follow from the child.
    """
    before: Checkpoint | None = None
    previous, books = NO_CHECKPOINT, Books.empty()
    for one in committed:
        expected, books = following(one.checkpoint, before, previous, books, child, first_epoch)
        _require_same(expected, one.checkpoint)
        before, previous = one.checkpoint, one.digest
    return before, previous, books


def following(
    proposed: Checkpoint,
    before: Checkpoint | None,
    previous: bytes,
    books: Books,
    child: ChildView,
    first_epoch: int,
) -> tuple[Checkpoint, Books]:
    """Return what a checkpoint at the proposed height and with the proposed budget should be, and its books.

    Raises:
        InvalidInput: If the child has no such block, or the epoch was not added up by then.
    """
    settled = before.settled if before else 0
    epoch = None
    if proposed.settled > settled:
        epoch = child.settled(first_epoch + settled, proposed.budget, proposed.height)
    return next_checkpoint(before, previous, books, child.state(proposed.height, epoch))


def _require_same(expected: Checkpoint, proposed: Checkpoint) -> None:
    wrong = [
        name
        for name in Checkpoint.__dataclass_fields__
        if getattr(expected, name) != getattr(proposed, name)
    ]
    if wrong:
        raise InvalidInput(
            "checkpoint", f"does not follow from the child chain: {', '.join(wrong)}"
        )


class Validator:
    """One validator.

    Args:
        key: Signs.
        directory: Where it keeps what it signed.
        parent: Its own view of the parent.
        child: Its own view of the child.
        first_epoch: Of the network.
    """

    def __init__(
        self,
        key: PrivateKey,
        directory: Path,
        parent: ParentView,
        child: ChildView,
        first_epoch: int,
    ) -> None:
        self._key = key
        self._directory = directory
        self._parent = parent
        self._child = child
        self._first_epoch = first_epoch

    @property
    def address(self) -> Address:
        """The account whose signatures count."""
        return self._key.address

    def sign_mint(self, first: int, deposits: list[Deposit]) -> bytes:
        """Sign that these deposits stand on the parent, from number `first` on.

        Raises:
            InvalidInput: If they do not.
        """
        if not deposits or self._parent.deposits()[first : first + len(deposits)] != deposits:
            raise InvalidInput("deposits", "they are not those of the parent")
        return self._key.sign(mint_digest(self._child.domain, first, deposits))

    def sign_checkpoint(self, proposed: Checkpoint) -> bytes:
        """Sign a checkpoint that follows from both chains.

        Raises:
            InvalidInput: If it does not, naming what is wrong, or another one with its number was signed before.
            StorageFailure: If it cannot be kept; nothing was signed.
        """
        digest = proposed.digest(self._parent.domain)
        path = self._directory / f"{proposed.number}.json"
        if path.exists():
            kept = msgspec.json.decode(read_whole(path, _FILE_BYTES_MAX), type=dict[str, str])
            if kept["digest"] != digest.hex():
                raise InvalidInput(
                    "checkpoint", f"another one with number {proposed.number} was signed"
                )
            return bytes.fromhex(kept["signature"])
        self._check(proposed)
        signature = self._key.sign(digest)
        self._directory.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.encode({"digest": digest.hex(), "signature": signature.hex()})
        write_durably(path, text)
        return signature

    def _check(self, proposed: Checkpoint) -> None:
        parent, child = self._parent, self._child
        before, previous, books = replay(parent.committed(), child, self._first_epoch)
        expected, _ = following(proposed, before, previous, books, child, self._first_epoch)
        _require_same(expected, proposed)
        settled = before.settled if before else 0
        if proposed.settled > settled and proposed.budget != parent.budget(
            self._first_epoch + settled
        ):
            raise InvalidInput("budget", "is not what the parent pays for the epoch")
        minted = child.minted(proposed.height)
        if minted != parent.deposits()[: len(minted)]:
            raise InvalidInput("minted", "the stake on the child was not deposited on the parent")
