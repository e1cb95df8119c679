"""Averages over any table of decimals: raters in rows, items in columns, an empty cell where a rater said nothing.

Exact from the text to the result: cells become integers of one scale, the averages are those of `aggregate`, and only
a mean that no decimal of the wanted scale equals is rounded, half up (away from zero, as schools and sports do).
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import Quotient, exactly
from meridian.evaluate.matrix import ROWS_MAX

CELL_DIGITS_MAX: Final = 18
SCALE_MAX: Final = 18
ITEMS_MAX: Final = 10_000_000

_DECIMAL: Final = re.compile(
    rf"([+-]?)(\d{{1,{CELL_DIGITS_MAX}}})(?:\.(\d{{1,{SCALE_MAX}}}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class DecimalTable:
    """What raters said about items, as integers of one scale."""

    items: tuple[str, ...]
    raters: tuple[str, ...]
    rows: tuple[tuple[int | None, ...], ...]
    """One for each rater; in units of 10^-scale."""
    scale: int
    """The greatest number of decimals in the table."""

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        """Read CSV: the header names the items, the first column the rater.

        Raises:
            InvalidInput: Naming line and column of what is no decimal, or of a line with too few or too many cells.
        """
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, None)
            if not header or len(header) < 2:
                raise InvalidInput("line 1", "is not a header with a column for raters and items")
            items = tuple(header[1:])
            if len(items) > ITEMS_MAX:
                raise InvalidInput("line 1", f"names more than {ITEMS_MAX} items")
            if len(set(items)) != len(items):
                raise InvalidInput("line 1", f"names an item twice: {_repeated(items)!r}")
            raters: dict[str, list[tuple[int, int] | None]] = {}
            for cells in reader:
                if not cells:
                    continue  # an empty line
                rater = _rater(cells, len(header), reader.line_num, raters)
                raters[rater] = [
                    _cell(text, reader.line_num, item)
                    for item, text in zip(items, cells[1:], strict=True)
                ]
        except csv.Error as error:
            raise InvalidInput(f"line {reader.line_num}", str(error)) from error
        scale = max(
            (cell[1] for cells in raters.values() for cell in cells if cell is not None), default=0
        )
        return cls(
            items,
            tuple(raters),
            tuple(
                tuple(None if cell is None else cell[0] * 10 ** (scale - cell[1]) for cell in cells)
                for cells in raters.values()
            ),
            scale,
        )

    def aggregate(self, method: str, scale: int | None = None) -> dict[str, str | None]:
        """Return each item's value as a decimal, None where too few raters spoke.

        Args:
            method: ``wmedian``, ``trimmed``, ``trimmed:k``, ``median`` or ``mean``; the committee is all raters.
            scale: Decimals of the result. By default as many as the value needs: those of the table, and up to
                `SCALE_MAX` for a mean.

        Raises:
            InvalidInput: If there is no such method, or the scale is out of range.
        """
        if scale is not None and not 0 <= scale <= SCALE_MAX:
            raise InvalidInput("scale", f"{scale} is not in 0..{SCALE_MAX}")
        if not self.rows:
            return dict.fromkeys(self.items)
        # The averages take no negative numbers: move the table up and the result back.
        offset = -min(0, min((v for row in self.rows for v in row if v is not None), default=0))
        moved = [[None if v is None else v + offset for v in row] for row in self.rows]
        values = exactly(moved, len(self.rows), method)
        return {
            item: None if value is None else self._text(value, offset, scale)
            for item, value in zip(self.items, values, strict=True)
        }

    def _text(self, value: Quotient, offset: int, scale: int | None) -> str:
        numerator, denominator = value[0] - offset * value[1], value[1]
        wanted = SCALE_MAX if scale is None else scale
        text = _rounded(numerator, denominator * 10**self.scale, wanted)
        if scale is not None or "." not in text:
            return text
        whole, decimals = text.split(".")
        kept = max(len(decimals.rstrip("0")), self.scale)
        return f"{whole}.{decimals[:kept]}" if kept else whole


def _rounded(numerator: int, denominator: int, scale: int) -> str:
    """Return a quotient as a decimal of exactly `scale` places, rounded half up in its magnitude."""
    units = (2 * abs(numerator) * 10**scale + denominator) // (2 * denominator)
    digits = str(units).rjust(scale + 1, "0")
    sign = "-" if numerator < 0 and units else ""
    return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


def _rater(cells: Sequence[str], width: int, line: int, known: Collection[str]) -> str:
    """Return a line's rater, a new one."""
    if len(cells) != width:
        raise InvalidInput(f"line {line}", f"has {len(cells)} cells, the header has {width}")
    if cells[0] in known:
        raise InvalidInput(f"line {line}", f"rater {cells[0]!r} has a line already")
    if len(known) == ROWS_MAX:
        raise InvalidInput(f"line {line}", f"is the line of more than {ROWS_MAX} raters")
    return cells[0]


def _cell(text: str, line: int, item: str) -> tuple[int, int] | None:
    """Return a cell as digits and number of decimals, None where it is empty."""
    stripped = text.strip()
    if not stripped:
        return None
    match = _DECIMAL.fullmatch(stripped)
    if not match:
        raise InvalidInput(
            f"line {line}, item {item!r}",
            f"{text!r} is not a decimal of at most {CELL_DIGITS_MAX} digits and {SCALE_MAX} decimals",
        )
    decimals = match[3] or ""
    magnitude = int(match[2] + decimals)
    return (-magnitude if match[1] == "-" else magnitude), len(decimals)


def _repeated(items: Sequence[str]) -> str:
    return next(item for item, times in Counter(items).items() if times > 1)
