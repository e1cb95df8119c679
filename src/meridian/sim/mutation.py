"""How a protocol is broken on purpose: one change of the text of one function, applied in this process and undone.

An edit names the function and the words that it exchanges. When the core changes so that the words are gone, the
edit fails loudly instead of testing nothing.
"""

from __future__ import annotations
import __future__

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from meridian.ephemera import context as contexts

CORE = ("meridian.ephemera", "meridian.sim.bench", "meridian.sim.probes")
"""Modules in which functions are exchanged."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Exchange words in the source of one function."""

    owner: type | ModuleType
    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Killer:
    """A world of four members that breaks a law under a mutant."""

    family: str
    """Of aimed worlds (see `aims`); empty for worlds in which everything is drawn."""
    seed: int
    law: str
    """What was broken when it was found."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A protocol that must not survive."""

    name: str
    edits: tuple[Edit, ...]
    probe: str | None = None
    """The probe that fails under it; every mutant without a world has one."""
    aim: str = ""
    """The family of aimed worlds in which it is searched first."""
    unseen: str = ""
    """Why no world shows it."""
    killer: Killer | None = None
    """The known one."""


def rewritten(*edits: Edit) -> Any:
    """The changed function, property or cached function; all edits are of this one.

    Raises:
        LookupError: The words are not in the source exactly once: the table is out of date.
    """
    edit = edits[0]
    original = vars(edit.owner)[edit.name]
    plain: Any = original.fget if isinstance(original, property) else inspect.unwrap(original)
    source = inspect.getsource(plain)
    for each in edits:
        if source.count(each.old) != 1:
            where = f"{each.owner.__name__}.{each.name}"
            raise LookupError(f"{where} does not hold {each.old!r} once: update the mutant")
        source = source.replace(each.old, each.new)
    if source.startswith(" "):
        source = f"if True:\n{source}"  # a method keeps its indentation
    flags = __future__.annotations.compiler_flag
    code = compile(source, f"<{edit.name}>", "exec", flags)
    made: dict[str, Any] = {}
    exec(code, plain.__globals__, made)  # noqa: S102 - our own source, changed by our own table
    return made[edit.name]


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Run with a mutant in the place of the protocol."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        for places in _by_function(mutant.edits):
            edit = places[0]
            original, changed = vars(edit.owner)[edit.name], rewritten(*places)
            for holder in _holders(edit, original):
                undo.append((holder, edit.name, original))
                setattr(holder, edit.name, changed)
        _forget_signatures()
        yield
    finally:
        for holder, name, original in reversed(undo):
            setattr(holder, name, original)
        _forget_signatures()


def _by_function(edits: tuple[Edit, ...]) -> list[list[Edit]]:
    places: dict[tuple[str, str], list[Edit]] = {}
    for edit in edits:
        places.setdefault((edit.owner.__name__, edit.name), []).append(edit)
    return list(places.values())


def _holders(edit: Edit, original: Any) -> list[Any]:
    """Where the function stands: its class, or every module of the core that imported it by name."""
    if inspect.isclass(edit.owner):
        return [edit.owner]
    modules = [m for name, m in sorted(sys.modules.items()) if name.startswith(CORE)]
    return [module for module in modules if vars(module).get(edit.name) is original]


def _forget_signatures() -> None:
    # What the core remembers about signatures was found under another protocol.
    for value in vars(contexts).values():
        clear: Callable[[], None] | None = getattr(value, "cache_clear", None)
        if clear is not None:
            clear()
