"""A proof as a list of hash steps that a person can follow: what went in, what came out, what it must equal.

Paths are those of the sum trees (`primitives.sumtree`): siblings of 56 bytes from the leaf up. The steps stop at the
first that fails; nothing after it means anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from meridian.errors import InvalidInput
from meridian.primitives.hashing import tagged
from meridian.primitives.sumtree import NODE_BYTES, LaneKind, annotation, combine

PATH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One step of a proof."""

    name: str
    """What is shown, such as ``job tree, level 3``."""
    rule: str
    """How it is computed or what it is compared with."""
    value: str
    """What comes out."""
    ok: bool = True


class Failed(Exception):
    """A step does not hold; it is the last of the transcript."""


@dataclass(slots=True)
class Transcript:
    """Collects the steps of one proof."""

    steps: list[ProofStep] = field(default_factory=list)

    def note(self, name: str, rule: str, value: str) -> None:
        """Add a computed value."""
        self.steps.append(ProofStep(name, rule, value))

    def equal(self, name: str, rule: str, computed: bytes | int, stated: bytes | int) -> None:
        """Add a comparison.

        Raises:
            Failed: If they differ.
        """
        if computed == stated:
            self.steps.append(ProofStep(name, rule, f"{_text(computed)} as stated"))
            return
        self.fail(name, rule, f"{_text(computed)}, but stated is {_text(stated)}")

    def fail(self, name: str, rule: str, value: str) -> NoReturn:
        """Add a step that does not hold, and stop.

        Raises:
            Failed: Always.
        """
        self.steps.append(ProofStep(name, rule, value, ok=False))
        raise Failed(name)

    def hash(self, name: str, rule: str, tag: int, *parts: bytes) -> bytes:
        """Add a hash and return it."""
        digest = tagged(tag, *parts)
        self.note(name, f"SHA-256(0x{tag:02x} | {rule})", digest.hex())
        return digest

    def climb(
        self,
        name: str,
        leaf: bytes,
        index: int,
        size: int,
        path: Sequence[bytes],
        tag: int,
        lanes: LaneKind,
    ) -> bytes:
        """Add one step for each level from a leaf node to the root node that its path implies, and return that.

        The walk is that of RFC 9162 section 2.1.3.2, as in `sumtree.fold`.

        Raises:
            Failed: If the path cannot belong to leaf `index` of `size`.
        """
        if (
            not 0 <= index < size
            or len(path) > PATH_MAX
            or any(len(node) != NODE_BYTES for node in path)
        ):
            self.fail(
                name,
                f"position {index} of {size}, {len(path)} siblings of {NODE_BYTES} bytes",
                "not a path",
            )
        node, at, last = leaf, index, size - 1
        for level, sibling in enumerate(path, 1):
            if last == 0:
                self.fail(
                    f"{name}, level {level}",
                    "the path ends at the root",
                    "it is longer than the tree is deep",
                )
            on_left = bool(at & 1) or at == last
            left, right = (sibling, node) if on_left else (node, sibling)
            try:
                node = combine(tag, left, right, lanes)
            except InvalidInput as error:
                self.fail(f"{name}, level {level}", "sums fit in their lanes", str(error))
            shown = f"sibling {sibling[:32].hex()} (count {_sums(sibling, lanes)}) on the {'left' if on_left else 'right'}"
            self.note(
                f"{name}, level {level}",
                f"SHA-256(0x{tag:02x} | left 56 | right 56), {shown}",
                f"{node[:32].hex()} (count {_sums(node, lanes)})",
            )
            if on_left:
                while not at & 1 and at:
                    at, last = at >> 1, last >> 1
            at, last = at >> 1, last >> 1
        if last != 0:
            self.fail(name, "the path reaches the root", "it is shorter than the tree is deep")
        return node


def _sums(node: bytes, lanes: LaneKind) -> str:
    count, sums = annotation(node, lanes)
    return f"{count}, sums {', '.join(map(str, sums))}"


def _text(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
