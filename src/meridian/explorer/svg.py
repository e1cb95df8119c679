"""Pictures as SVG text: lines, words, points and bars in a frame of their own. Same values, same bytes.

They fetch nothing and need no programme to be drawn, so they stand in documents and beside results.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

LINES_MAX: Final = 10
"""Of a grid."""
GRID: Final = "#e4e8ec"
INK: Final = "#333333"


def step(most: float) -> float:
    """Return a round step, 1, 2, 2.5 or 5 times a power of ten, that divides 0..most into at most `LINES_MAX` parts."""
    power = 1.0
    while power * 10 <= most / LINES_MAX:
        power *= 10
    while power > most / LINES_MAX > 0:
        power /= 10
    for factor in (1, 2, 2.5, 5):
        if most / (power * factor) <= LINES_MAX:
            return power * factor
    return power * 10


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    colour: str = GRID,
    width: str = "1",
    dash: str = "",
) -> str:
    """Return a line; `dash` is SVG's stroke-dasharray."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"{dashed}/>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK) -> str:
    """Return words; `anchor` is ``start``, ``middle`` or ``end``."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def dot(x: float, y: float, colour: str, radius: float = 3.2, title: str = "") -> str:
    """Return a point; its title is shown when somebody points at it."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">{_title(title)}</circle>'
    )


def bar(x: float, y: float, width: float, height: float, colour: str, title: str = "") -> str:
    """Return a filled rectangle, from its upper left corner."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
        f'fill="{colour}">{_title(title)}</rect>'
    )


def path(points: Iterable[tuple[float, float]], colour: str, width: str = "1.6") -> str:
    """Return a line through points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def picture(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """Return the whole picture on white."""
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
        '<g font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    return "\n".join([*head, *parts, "</g></svg>"]) + "\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values of two axes lie in a picture."""

    left: float
    top: float
    right: float
    bottom: float
    """Edges of the drawn field, pixels."""
    x_least: float
    x_most: float
    y_least: float
    y_most: float

    def x(self, value: float) -> float:
        """Return the place of a value across."""
        return self.left + (self.right - self.left) * _part(value, self.x_least, self.x_most)

    def y(self, value: float) -> float:
        """Return the place of a value down: greater ones stand higher."""
        return self.bottom - (self.bottom - self.top) * _part(value, self.y_least, self.y_most)

    def across(self, at: Iterable[tuple[float, str]]) -> list[str]:
        """Return upright grid lines with their words below."""
        return [
            part
            for value, words in at
            for part in (
                line(self.x(value), self.top, self.x(value), self.bottom),
                text(self.x(value), self.bottom + 18, words, "middle"),
            )
        ]

    def down(self, at: Iterable[tuple[float, str]]) -> list[str]:
        """Return level grid lines with their words on the left."""
        return [
            part
            for value, words in at
            for part in (
                line(self.left, self.y(value), self.right, self.y(value)),
                text(self.left - 8, self.y(value) + 4, words, "end"),
            )
        ]


def _part(value: float, least: float, most: float) -> float:
    return (value - least) / (most - least) if most > least else 0.5
