"""The Python that a network may write its function in: integers, text, lists and dicts, and nothing that can differ.

Version 1 of the subset. What is allowed is listed; everything else is refused with its line. No floats, no ``/`` (use
``//``), no sets (their order is the interpreter's business), no classes, no names that begin with an underscore, and only
the imports listed here. This keeps a function the same on every Python; what keeps it *in* is the sandbox.
"""

import ast
from typing import Final

from meridian.errors import InvalidInput

SOURCE_MAX: Final = 200_000
"""Characters."""

ENTRY: Final = "evaluate"
ARGUMENTS: Final = ("nodes", "jobs", "parameters", "inputs")

IMPORTS: Final = {
    "bisect": ("bisect_left", "bisect_right", "insort_left", "insort_right"),
    "collections": ("Counter", "defaultdict", "deque"),
    "functools": ("cache", "cmp_to_key", "reduce"),
    "heapq": ("heapify", "heappop", "heappush", "merge", "nlargest", "nsmallest"),
    "itertools": (
        "accumulate", "chain", "combinations", "groupby", "islice", "pairwise", "permutations", "product",
        "repeat", "takewhile", "zip_longest",
    ),
    "math": ("comb", "factorial", "gcd", "isqrt", "lcm", "perm"),
    "operator": ("attrgetter", "itemgetter"),
}  # fmt: skip
"""Module -> names that may be imported from it."""

BUILTINS: Final = (
    "abs", "all", "any", "bool", "bytes", "chr", "dict", "divmod", "enumerate", "filter", "int", "isinstance", "iter",
    "len", "list", "map", "max", "min", "next", "ord", "range", "reversed", "sorted", "str", "sum", "tuple", "zip",
    "AssertionError", "Exception", "IndexError", "KeyError", "StopIteration", "TypeError", "ValueError",
    "ZeroDivisionError",
)  # fmt: skip

_REFUSED: Final[dict[type[ast.AST], str]] = {
    ast.Set: "a set; use a dict or a sorted list",
    ast.SetComp: "a set; use a dict or a sorted list",
    ast.ClassDef: "a class",
    ast.AsyncFunctionDef: "async",
    ast.AsyncFor: "async",
    ast.AsyncWith: "async",
    ast.Await: "async",
    ast.Import: "`import module`; use `from module import name`",
    ast.With: "with",
    ast.Global: "global",
    ast.Div: "`/`; divide integers with `//`",
    ast.MatMult: "`@`",
}


def check_source(source: str) -> None:
    """Refuse a source that holds anything but what is listed above, or no function ``evaluate``.

    Raises:
        InvalidInput: Naming line and reason.
    """
    if len(source) > SOURCE_MAX:
        raise InvalidInput("source", f"passes {SOURCE_MAX} characters")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InvalidInput(f"source line {line}", f"is no Python: {error}") from error
    _check_entry(tree)
    for node in ast.walk(tree):
        reason = _reason(node)
        if reason is not None:
            raise InvalidInput(
                f"source line {getattr(node, 'lineno', 1)}", f"{reason} is not allowed"
            )
        # Operators carry no line of their own.
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _REFUSED:
            raise InvalidInput(
                f"source line {node.lineno}", f"{_REFUSED[type(node.op)]}: not allowed"
            )


def _check_entry(tree: ast.Module) -> None:
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    if len(found) != 1:
        raise InvalidInput("source", f"defines {len(found)} functions {ENTRY!r}, not one")
    given = found[0].args
    names = tuple(argument.arg for argument in (*given.posonlyargs, *given.args))
    if names != ARGUMENTS or given.vararg or given.kwarg or given.kwonlyargs or given.defaults:
        raise InvalidInput(
            f"source line {found[0].lineno}", f"{ENTRY} does not take ({', '.join(ARGUMENTS)})"
        )


def _reason(node: ast.AST) -> str | None:
    """Return what a node is that is not allowed, or None."""
    if type(node) in _REFUSED and not isinstance(node, ast.operator):
        return _REFUSED[type(node)]
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        return f"{node.value!r}, a float,"
    if isinstance(node, ast.ImportFrom):
        for name in node.names:
            if node.level or name.name not in IMPORTS.get(node.module or "", ()):
                return f"`from {node.module} import {name.name}`"
    if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        return f"the attribute {node.attr!r}"
    if isinstance(node, ast.Name) and node.id.startswith("_"):
        return f"the name {node.id!r}"
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Pow):
        exponent = node.right if isinstance(node, ast.BinOp) else node.value
        if not isinstance(exponent, ast.Constant) or type(exponent.value) is not int:
            return "a power with an exponent that is no number"
    return None
