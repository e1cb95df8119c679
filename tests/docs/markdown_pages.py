"""What tests need of Markdown: the documents of the repository, tables, code spans, fenced blocks, links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the heading that it stands under and its place in the text."""

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    start: int
    end: int

    def codes(self, column: int = 0) -> list[str]:
        """All code spans of a column, in order."""
        return [code for row in self.rows for code in spans(row[column])]


def documents() -> list[Path]:
    """The documents that people read: README, CHANGELOG, benchmarks and everything under docs."""
    front = [ROOT / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md")]
    found = [*front, *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if path.is_file()]


def without_blocks(text: str) -> str:
    """The text with fenced blocks blanked out, so that offsets stay."""
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def fenced(text: str, *infos: str) -> list[str]:
    """The contents of fenced blocks with one of these infos."""
    return [match["text"] for match in _FENCE.finditer(text) if match["info"].strip() in infos]


def spans(text: str) -> list[str]:
    """The code spans of a line or cell."""
    return _CODE.findall(text)


def links(text: str) -> list[str]:
    """The targets of links and images."""
    return _LINK.findall(_CODE.sub("", without_blocks(text)))


def tables(text: str) -> list[Table]:
    """All tables of a page."""
    found, heading, at = [], "", 0
    lines: list[tuple[int, str]] = []
    plain = without_blocks(text)
    for line in [*plain.split("\n"), ""]:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("|"):
            lines.append((at, line))
        elif lines:
            cells = [_cells(item) for _, item in lines]
            found.append(Table(heading, cells[0], tuple(cells[2:]), lines[0][0], at))
            lines = []
        at += len(line) + 1
    return found


def table(text: str, heading: str, *header: str) -> Table:
    """The one table under a heading whose header starts so."""
    named = [t for t in tables(text) if t.heading == heading and t.header[: len(header)] == header]
    assert len(named) == 1, f"{len(named)} tables {header} under {heading!r}"
    return named[0]


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1])
