"""What a replica runs on in a world: its disk and its application."""

from __future__ import annotations

from meridian.ephemera.effects import Record
from meridian.primitives.ids import Address

Place = tuple[int, str, bytes]
"""(epoch, kind, key) of a record on a disk."""

REFUSED_BODY = b"bad"


class Rows:
    """The application of the world: every body is fine unless it starts with `bad`."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """See `Application`."""
        del epoch, member
        return "bad" if body.startswith(REFUSED_BODY) else None


class Disk(dict[Place, Record]):
    """The records of a host; also what a replica reads answers about closed epochs from."""

    def records(self, epoch: int, kind: str, key: bytes | None = None) -> list[Record]:
        """See `Archive`."""
        return [
            self[place]
            for place in sorted(self)
            if place[:2] == (epoch, kind) and key in {None, place[2]}
        ]
