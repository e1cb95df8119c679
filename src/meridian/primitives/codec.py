"""The canonical binary encoding of protocol messages and rows: one value, one byte string.

Fixed-width big-endian integers, fixed-width byte fields, and byte strings behind a 32-bit length. Nothing is optional
and nothing can be written in two ways, so equal bytes mean equal values. A reader refuses what is left over.
"""

from struct import Struct
from typing import Any, Self

from meridian.errors import InvalidInput


class Writer:
    """Builds one encoded value, field by field."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def _integer(self, value: int, width: int) -> Self:
        try:
            self._parts.append(value.to_bytes(width, "big"))
        except OverflowError:
            raise InvalidInput(f"u{8 * width}", f"{value} does not fit") from None
        return self

    def u8(self, value: int) -> Self:
        """Append one byte."""
        return self._integer(value, 1)

    def u16(self, value: int) -> Self:
        """Append two bytes, big-endian."""
        return self._integer(value, 2)

    def u32(self, value: int) -> Self:
        """Append four bytes, big-endian."""
        return self._integer(value, 4)

    def u64(self, value: int) -> Self:
        """Append eight bytes, big-endian."""
        return self._integer(value, 8)

    def u128(self, value: int) -> Self:
        """Append sixteen bytes, big-endian."""
        return self._integer(value, 16)

    def fixed(self, value: bytes, width: int) -> Self:
        """Append exactly `width` bytes."""
        if len(value) != width:
            raise InvalidInput("fixed", f"{len(value)} bytes where {width} are needed")
        self._parts.append(bytes(value))
        return self

    def raw(self, value: bytes) -> Self:
        """Append what is encoded already."""
        self._parts.append(value)
        return self

    def blob(self, value: bytes) -> Self:
        """Append a byte string behind its 32-bit length."""
        self.u32(len(value))
        self._parts.append(bytes(value))
        return self

    def bytes(self) -> bytes:
        """Return what was written."""
        return b"".join(self._parts)


class Reader:
    """Reads one encoded value; every method raises `InvalidInput` where bytes are missing."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, width: int) -> bytes:
        end = self._at + width
        if end > len(self._data):
            raise InvalidInput("encoding", f"ends {end - len(self._data)} bytes too early")
        part = self._data[self._at : end]
        self._at = end
        return bytes(part)

    def u8(self) -> int:
        """Read one byte."""
        return self._take(1)[0]

    def u16(self) -> int:
        """Read two bytes, big-endian."""
        return int.from_bytes(self._take(2), "big")

    def u32(self) -> int:
        """Read four bytes, big-endian."""
        return int.from_bytes(self._take(4), "big")

    def u64(self) -> int:
        """Read eight bytes, big-endian."""
        return int.from_bytes(self._take(8), "big")

    def u128(self) -> int:
        """Read sixteen bytes, big-endian."""
        return int.from_bytes(self._take(16), "big")

    def fixed(self, width: int) -> bytes:
        """Read exactly `width` bytes."""
        return self._take(width)

    def blob(self, limit: int = 0xFFFFFFFF) -> bytes:
        """Read a byte string behind its 32-bit length, which must not pass `limit`."""
        width = self.u32()
        if width > limit:
            raise InvalidInput(
                "encoding", f"a byte string of {width} bytes passes the limit of {limit}"
            )
        return self._take(width)

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        """Read the big-endian fields of a layout at once."""
        at = self._at
        self._at = end = at + layout.size
        if end > len(self._data):
            raise InvalidInput("encoding", f"ends {end - len(self._data)} bytes too early")
        return layout.unpack_from(self._data, at)

    def finish(self) -> None:
        """Refuse bytes that nobody read."""
        if self._at != len(self._data):
            raise InvalidInput("encoding", f"{len(self._data) - self._at} bytes too many")
