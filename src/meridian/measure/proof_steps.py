"""The steps of checking a proof, as values: what was hashed, climbed and compared, and where it ended.

Law: a check adds its steps to one `Trace` and ends with the first that does not hold; nothing after that would mean
anything. The steps are what was computed, so whoever shows them shows the check itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

from meridian.errors import InvalidInput
from meridian.primitives.sumtree import LaneKind, climb


@dataclass(frozen=True, slots=True)
class Hashed:
    """A hash was computed."""

    name: str
    layout: str
    """The bytes behind the tag, such as ``job row 100``."""
    tag: int | None
    """The first byte; None for ids, which are hashed alone."""
    digest: bytes
    holds: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Climbed:
    """A node and its sibling were combined."""

    name: str
    tag: int
    lanes: LaneKind
    sibling: bytes
    on_left: bool
    """Whether the sibling stands on the left."""
    node: bytes
    """What came out, 56 bytes."""
    holds: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Compared:
    """Two values must be equal."""

    name: str
    rule: str
    found: bytes | int
    stated: bytes | int

    @property
    def holds(self) -> bool:
        """Tell how it came out."""
        return self.found == self.stated


@dataclass(frozen=True, slots=True)
class Ordered:
    """The first of two keys must be the lower."""

    name: str
    rule: str
    low: bytes
    high: bytes

    @property
    def holds(self) -> bool:
        """Tell how it came out."""
        return self.low < self.high


@dataclass(frozen=True, slots=True)
class Refused:
    """Something does not have the form that it needs."""

    name: str
    rule: str
    reason: str
    holds: ClassVar[bool] = False


Step = Hashed | Climbed | Compared | Ordered | Refused


def holds(steps: Sequence[Step]) -> bool:
    """Tell whether a check went through."""
    return bool(steps) and all(step.holds for step in steps)


class Stopped(Exception):
    """The last step of the trace does not hold."""


@dataclass(slots=True)
class Trace:
    """Collects the steps of one check; every method raises `Stopped` where its step does not hold."""

    steps: list[Step] = field(default_factory=list)

    def hashed(self, name: str, layout: str, tag: int | None, digest: bytes) -> None:
        """Add a hash that was computed."""
        self.steps.append(Hashed(name, layout, tag, digest))

    def equal(self, name: str, rule: str, found: bytes | int, stated: bytes | int) -> None:
        """Compare two values that must be equal."""
        self._add(Compared(name, rule, found, stated))

    def ascend(self, name: str, rule: str, low: bytes, high: bytes) -> None:
        """Compare two keys of which the first must be the lower."""
        self._add(Ordered(name, rule, low, high))

    def _add(self, step: Compared | Ordered) -> None:
        self.steps.append(step)
        if not step.holds:
            raise Stopped(step.name)

    def refuse(self, name: str, rule: str, reason: str) -> NoReturn:
        """Stop at something that does not have its form."""
        self.steps.append(Refused(name, rule, reason))
        raise Stopped(name)

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
        """Climb from a leaf node to the root node that its path implies, and return that; one step for each level."""
        node = leaf
        try:
            for number, level in enumerate(climb(leaf, index, size, path, tag, lanes), 1):
                node = level.node
                self.steps.append(
                    Climbed(
                        f"{name}, level {number}", tag, lanes, level.sibling, level.on_left, node
                    )
                )
        except InvalidInput as error:
            self.refuse(name, f"leaf {index} of {size}, a path of {len(path)} nodes", str(error))
        return node
