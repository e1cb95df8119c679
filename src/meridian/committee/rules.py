"""Which rows the committee accepts: the answer to the protocol's one question.

A row must be well formed and speak about the same evaluation (network, epoch, commitment, function, parameters and
inputs). Its weights are its author's business: they are averaged robustly, and the author answers for them.
"""

from typing import Final

from meridian.errors import InvalidInput
from meridian.evaluate.row import RowHeader, check_row_header
from meridian.primitives.ids import Address

EPOCHS_MAX: Final = 1024


class CommitteeRules:
    """The protocol's `Application` for evaluators."""

    def __init__(self) -> None:
        self._expected: dict[int, RowHeader] = {}

    def expect(self, header: RowHeader) -> None:
        """Accept rows of an epoch that carry this header, and no others.

        Raises:
            InvalidInput: If another header is expected already, or too many epochs are open.
        """
        known = self._expected.get(header.epoch)
        if known is not None and known != header:
            raise InvalidInput("header", f"epoch {header.epoch} already has another header")
        if known is None and len(self._expected) >= EPOCHS_MAX:
            raise InvalidInput("epochs", f"{EPOCHS_MAX} are open already")
        self._expected[header.epoch] = header

    def forget(self, epoch: int) -> None:
        """Expect no more rows of an epoch."""
        self._expected.pop(epoch, None)

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """Return why a row is refused, or None."""
        del member  # the protocol has checked the signature; a row says nothing of its author
        header = self._expected.get(epoch)
        if header is None:
            return "epoch: is not expected here"
        return check_row_header(body, header)
