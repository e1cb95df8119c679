"""Links of the chain of evidence, and the rule that nothing is said about what hangs on a broken link.

A check has three outcomes: it **holds**, it is **broken**, or it is **sealed** (not recomputable by the public; its
commitment and counts hold). A link that needs a broken one is not checked at all and says so: **unchecked** is no
outcome, only the mark that there is none.

The law: a check either returns a `Finding` or raises `Broken`; published data that cannot be read breaks its link and
never ends the audit.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from meridian.errors import InvalidInput

LINKS: Final = (
    "contracts",
    "commitment",
    "manifest",
    "segments",
    "jobs",
    "epoch-log",
    "function",
    "parameters",
    "inputs",
    "evaluation",
    "rows",
    "block",
    "certificate",
    "aggregation",
    "rewards",
    "report",
    "signatures",
    "contract",
    "claims",
)
"""The names of the links, in the order in which they are told."""

C = TypeVar("C")
"""What the checks of one audit share: its source, and what earlier checks left for later ones."""

ITEMS_MAX: Final = 100
"""More findings of one link are counted, not listed."""


class State(enum.StrEnum):
    """What is known about a link."""

    HOLDS = "holds"
    BROKEN = "broken"
    SEALED = "sealed"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain of evidence."""

    name: str
    state: State
    detail: str
    """One sentence for the reader."""
    items: tuple[str, ...] = ()
    """Notes, or for a broken link each thing that is wrong (files, nodes, members)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found where nothing is wrong."""

    detail: str
    items: tuple[str, ...] = ()
    sealed: bool = False


class Broken(Exception):
    """A check found that its link does not hold."""

    def __init__(self, detail: str, items: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.items = bounded(items)


def bounded(items: Sequence[str]) -> tuple[str, ...]:
    """Return the items, cut to `ITEMS_MAX` with the number of the others."""
    if len(items) <= ITEMS_MAX:
        return tuple(items)
    return (*items[:ITEMS_MAX], f"and {len(items) - ITEMS_MAX} more")


def require(problems: Sequence[str], detail: str) -> None:
    """Break the link if there are problems."""
    if problems:
        raise Broken(detail, problems)


@dataclass(frozen=True, slots=True)
class Step(Generic[C]):
    """One link: its name, the links that it needs, and its check."""

    name: str
    needs: tuple[str, ...]
    check: Callable[[C], Finding]


def run_steps(case: C, steps: Sequence[Step[C]]) -> list[Link]:
    """Run the checks in the given order, and return their links in that order.

    Every step stands behind the steps that it needs, and may use what they left in `case`.
    """
    links: dict[str, Link] = {}
    for step in steps:
        links[step.name] = _run_step(case, step, links)
    return list(links.values())


def _run_step(case: C, step: Step[C], links: Mapping[str, Link]) -> Link:
    lacking = [name for name in step.needs if links[name].state in {State.BROKEN, State.UNCHECKED}]
    if lacking:
        return Link(step.name, State.UNCHECKED, f"not checked: it needs {', '.join(lacking)}")
    try:
        finding = step.check(case)
    except Broken as broken:
        return Link(step.name, State.BROKEN, broken.detail, broken.items)
    except InvalidInput as error:  # published bytes that are not what they should be
        return Link(step.name, State.BROKEN, str(error))
    except RecursionError:
        return Link(step.name, State.BROKEN, "a published object is nested too deep to be read")
    state = State.SEALED if finding.sealed else State.HOLDS
    return Link(step.name, state, finding.detail, bounded(finding.items))


def first_broken(links: Sequence[Link]) -> Link | None:
    """Return the first broken link, or None where all hold or are sealed."""
    return next((link for link in links if link.state is State.BROKEN), None)
