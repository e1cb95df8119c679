"""The keys of a configuration, from its declaration: name, type, default and the text that stands under it.

A configuration is a `msgspec.Struct` or a dataclass; the string below a field says what it is for. Reading, writing with
comments, suggestions and the reference page all come from here, so that none of them can say something else.
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec
from msgspec import inspect as kinds

from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import Address, address_text

MISSING: Final = msgspec.NODEFAULT
"""The default of a key that must be given."""

_ATTO: Final = "_atto"
_KEYS: Final = "keys"


def table_of(kind: type) -> msgspec.Meta:
    """Return the mark of a field that is a table read by other means, with the keys of `kind`."""
    return msgspec.Meta(extra={_KEYS: kind})


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    kind: str
    """Its type and bounds, in words."""
    default: Any
    """As in a file; `MISSING` if it must be given; None: nothing, unless it is given."""
    description: str
    """One line; empty where nothing stands below the field, which a test forbids."""
    table: type | None = None
    """The declaration of the table that it is; None: a plain value."""
    many: bool = False
    """Whether it is a list of such tables."""


@functools.cache
def keys_of(kind: type) -> tuple[Key, ...]:
    """Return the keys of a declaration, in its order."""
    texts = _texts(kind)
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for name, default in _fields(kind):
        shown = name.removesuffix(_ATTO)
        table, many = _table(hints[name])
        words = "coins" if name.endswith(_ATTO) else _words(hints[name], many=many, table=table)
        found.append(Key(shown, words, _shown(default, name), texts.get(name, ""), table, many))
    return tuple(found)


def title_of(kind: type) -> str:
    """Return the first sentence of a declaration's own text."""
    return (kind.__doc__ or "").strip().split("\n", 1)[0].split(". ", 1)[0].rstrip(".") + "."


def _fields(kind: type) -> list[tuple[str, Any]]:
    if issubclass(kind, msgspec.Struct):
        return [
            (
                field.name,
                field.default if field.default_factory is MISSING else field.default_factory(),
            )
            for field in msgspec.structs.fields(kind)
        ]
    declared: Any = kind
    return [
        (field.name, MISSING if field.default is dataclasses.MISSING else field.default)
        for field in dataclasses.fields(declared)
    ]


def _texts(kind: type) -> dict[str, str]:
    """Return the strings that stand below the fields, each as one line."""
    [declared] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(declared, ast.ClassDef), "a declaration is a class"
    found = {}
    for field, below in zip(declared.body, declared.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found


def _shown(value: Any, name: str) -> Any:
    """Return a default as it would stand in a file."""
    if value is MISSING or value is None:
        return value
    if name.endswith(_ATTO):
        return format_fil(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return address_text(Address(value)) if len(value) == 20 else value.hex()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, msgspec.Struct | Mapping) or dataclasses.is_dataclass(value):
        return {}
    return value


def _table(hint: Any) -> tuple[type | None, bool]:
    """Return the declaration behind a field's type, and whether the field is a list of them."""
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.extra and _KEYS in meta.extra:
            return meta.extra[_KEYS], False
    if isinstance(hint, type) and (
        issubclass(hint, msgspec.Struct) or dataclasses.is_dataclass(hint)
    ):
        return hint, False
    many = getattr(hint, "__origin__", None) is tuple
    for inner in get_args(hint):
        table, _ = _table(inner) if inner is not Ellipsis else (None, False)
        if table is not None:
            return table, many
    return None, False


_PLAIN: Final = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path", bytes: "64 hex digits",
                 Address: "account"}  # fmt: skip


def _words(hint: Any, *, many: bool, table: type | None) -> str:
    if table is not None:
        return "list of tables" if many else "table"
    return _in_words(kinds.type_info(hint))


def _in_words(info: Any) -> str:
    match info:
        case kinds.UnionType():
            return " or ".join(
                _in_words(one) for one in info.types if not isinstance(one, kinds.NoneType)
            )
        case kinds.LiteralType():
            return "one of " + ", ".join(f'"{value}"' for value in info.values)
        case kinds.EnumType():
            return "one of " + ", ".join(f'"{one.value}"' for one in info.cls)
        case kinds.VarTupleType() | kinds.ListType():
            return f"list of {_in_words(info.item_type)}"
        case kinds.IntType() | kinds.FloatType():
            word = _PLAIN[int if isinstance(info, kinds.IntType) else float]
            return word + _bounds(info)
        case kinds.StrType():
            return "text"
        case kinds.BoolType():
            return "true or false"
        case kinds.BytesType():
            return _PLAIN[bytes]
        case kinds.CustomType():
            return _PLAIN[info.cls]
    raise LookupError(f"{info} has no words")


def _bounds(info: Any) -> str:
    low = info.ge if info.ge is not None else info.gt
    high = info.le if info.le is not None else info.lt
    above = "above " if info.ge is None and info.gt is not None else ""
    if low is not None and high is not None:
        return f", {above}{low} to {high}"
    if low is not None:
        return f", {above}{low}" + ("" if above else " or more")
    return "" if high is None else f", at most {high}"
