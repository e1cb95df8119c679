"""One batch, or many small ones together, of any form to typed columns.

Law: a body has one form, which its sender names; it is never guessed. Of many bodies that are decoded together each has
its own verdicts: a body that is refused as a whole, or is full of bad records, costs its neighbours nothing.
"""

import bisect
import dataclasses
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.errors import InvalidInput
from meridian.measure.arrow_batch import decode_arrow, decode_parquet
from meridian.measure.explain import Rejection
from meridian.measure.record import (
    Decoded,
    decode_json,
    decode_ndjson,
    decode_texts,
    json_texts,
    line_texts,
)
from meridian.measure.schema import NetworkSchema


class BodyKind(enum.Enum):
    """The forms of a batch."""

    NDJSON = "ndjson"
    JSON = "json"
    ARROW = "arrow"
    """An Arrow IPC stream."""
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a batch, as they are without any compression of the transport, and their form."""

    kind: BodyKind
    data: bytes


def decode_batch(data: bytes, kind: BodyKind, schema: NetworkSchema) -> Decoded:
    """Decode one batch.

    Raises:
        InvalidInput: If the body as a whole is not of its form, or holds no records or too many.
    """
    return _DECODERS[kind](data, schema)


_DECODERS: Final[dict[BodyKind, Callable[[bytes, NetworkSchema], Decoded]]] = {
    BodyKind.NDJSON: decode_ndjson,
    BodyKind.JSON: decode_json,
    BodyKind.ARROW: decode_arrow,
    BodyKind.PARQUET: decode_parquet,
}


@dataclass(frozen=True, slots=True)
class Many:
    """Several bodies decoded together."""

    decoded: Decoded
    """All records of all bodies, one body behind the other; positions count through. A line of 0 says: it has none."""
    offsets: Sequence[int]
    """Body i holds the records ``offsets[i]`` to ``offsets[i + 1]``; one that is refused as a whole holds none."""
    errors: dict[int, InvalidInput]
    """The bodies that are refused as a whole."""

    def rejections_of(self, body: int, rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
        """Return those of `rejections` (by position in all) that are of one body, by position in it."""
        first, last = self.offsets[body], self.offsets[body + 1]
        low, high = (bisect.bisect_left(rejections, at, key=_index) for at in (first, last))
        return tuple(
            dataclasses.replace(one, index=one.index - first, line=one.line or None)
            for one in rejections[low:high]
        )


def decode_many(bodies: Sequence[Body], schema: NetworkSchema) -> Many:
    """Decode many small bodies of NDJSON or JSON in one pass.

    Args:
        bodies: Each with at most `RECORDS_MAX` records; the caller bounds their bytes together.
        schema: The network's schema.
    """
    texts: list[bytes] = []
    lines: list[int] = []
    offsets = [0]
    errors: dict[int, InvalidInput] = {}
    for at, body in enumerate(bodies):
        try:
            if body.kind is BodyKind.JSON:
                found = json_texts(body.data)
                lines += [0] * len(found)
            else:
                found, numbers = line_texts(body.data)
                lines += numbers
            texts += found
        except InvalidInput as error:
            errors[at] = error
        offsets.append(len(texts))
    return Many(decode_texts(texts, lines, schema), offsets, errors)


def _index(rejection: Rejection) -> int:
    return rejection.index
