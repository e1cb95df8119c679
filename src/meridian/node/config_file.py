"""Configuration files: TOML, strict, with comments. What a key is for stands in one place, its declaration (`config_keys`).

Relative paths in a file start where the file is. A key that nobody knows is refused with the nearest one that is known; a
value that does not fit is refused with its key, its line and the reason.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from meridian.errors import InvalidInput, NotFound
from meridian.node.config_keys import MISSING, Key, keys_of, title_of
from meridian.node.durable_file import write_durably

CONFIG_BYTES_MAX: Final = 1 << 20
_VALUE_SHOWN: Final = 60

_AT: Final = re.compile(r"^(?P<reason>.*?)(?: - at `\$(?P<place>.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([\w-]+)|\[(\d+)\]|\[\.\.\.\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`$")
_LACKING: Final = re.compile(r"Object missing required field `(.*)`$")
_HEADER: Final = re.compile(r"^\s*\[\[?([\w.\- ]+)\]\]?\s*(?:#.*)?$")
_ASSIGNED: Final = re.compile(r"^\s*([\w-]+)\s*=")

T = TypeVar("T", bound=msgspec.Struct)


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration that stands in a file. Relative paths start where the file is."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it has an unknown or missing key, or a value that does not fit.
        """
        return load(path, cls)

    def save(self, path: Path) -> None:
        """Write the file, with a comment on every key."""
        save(path, self)


def load(path: Path, kind: type[T]) -> T:
    """Read a configuration file.

    Raises:
        NotFound: If there is none.
        InvalidInput: If it is no TOML, has an unknown key, lacks one, or has a value that does not fit; the field is the
            file, the reason names line and key.
    """
    return parse(read_text(path), kind, path)


def read_text(path: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        NotFound: If there is none.
        InvalidInput: If it is too long or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
        if len(data) > CONFIG_BYTES_MAX:
            raise InvalidInput(str(path), f"is longer than {CONFIG_BYTES_MAX} bytes")
        return data.decode()
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file; `meridian init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), str(error)) from error


def parse(text: str, kind: type[T], source: Path) -> T:
    """Return the configuration in a text; `source` is where it stands: paths start there, and errors name it."""
    document = read_toml(text, str(source))
    base = source.parent.absolute()
    try:
        return msgspec.convert(document, kind, dec_hook=_beside(base))
    except InvalidInput as error:  # a rule of the declaration's own
        line = line_of(text, tuple(error.field.split(".")))
        raise InvalidInput(str(source), f"{line}{error.field}: {error.reason}") from error
    except msgspec.ValidationError as error:
        raise InvalidInput(str(source), _explained(str(error), text, document, kind)) from error


def read_toml(text: str, source: str) -> dict[str, Any]:
    """Return the tables of a text; raises `InvalidInput` if it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = (
            "; configurations are TOML since decision 43" if text.lstrip().startswith("{") else ""
        )
        raise InvalidInput(source, f"is no TOML: {error}{hint}") from error
    except RecursionError as error:
        raise InvalidInput(source, "is nested too deeply") from error


def save(path: Path, config: msgspec.Struct) -> None:
    """Write a configuration with a comment on every key; its paths become absolute."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = msgspec.to_builtins(config, enc_hook=lambda one: str(one.absolute()))
    write_durably(path, render(type(config), values).encode())


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"


# -- reading: what is wrong, and where ------------------------------------------------------------


def _beside(base: Path) -> Callable[[type, Any], Any]:
    def hook(kind: type, value: Any) -> Any:
        if kind is Path and isinstance(value, str) and value:
            return base / value
        raise TypeError(f"expected a path, got {value!r}")  # the decoder adds the key

    return hook


def _explained(message: str, text: str, document: Any, kind: type) -> str:
    found = _AT.match(message)
    assert found is not None, "it matches anything"
    reason, steps = found["reason"], _steps(found["place"] or "")
    unknown, lacking = _UNKNOWN.match(reason), _LACKING.match(reason)
    table = _table_at(kind, steps)
    if unknown is not None:
        place = (*steps, unknown[1])
        return f"{line_of(text, place)}unknown key {dotted(place)}; {_nearest(unknown[1], table, kind)}"
    if lacking is not None:
        place = (*steps, lacking[1])
        says = {key.name: key.description for key in keys_of(table)}.get(lacking[1], "")
        return f"{line_of(text, steps)}{dotted(place)} is missing: {says}"
    value: Any = document
    for step in steps:
        value = value[step]
    shown = repr(value) if len(repr(value)) <= _VALUE_SHOWN else f"{repr(value)[:_VALUE_SHOWN]}…"
    return f"{line_of(text, steps)}{dotted(steps)} = {shown}: {reason[:1].lower()}{reason[1:]}"


def _nearest(name: str, table: type, whole: type) -> str:
    known = {key.name for key in keys_of(table)}
    near = difflib.get_close_matches(name, known, n=1)
    if not near:  # perhaps it is right, and in the wrong table
        for key in keys_of(whole):
            if key.table is not None and name in {one.name for one in keys_of(key.table)}:
                return f"it belongs to [{key.name}]"
        if name in {key.name for key in keys_of(whole)}:
            return "it stands before all tables"
    return suggestion(name, known)


def _steps(place: str) -> tuple[str | int, ...]:
    return tuple(name or (int(number) if number else 0) for name, number in _STEP.findall(place))


def dotted(place: Iterable[str | int]) -> str:
    """Return the name of a key within its file."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def _table_at(kind: type, steps: Iterable[str | int]) -> type:
    for step in steps:
        if isinstance(step, str):
            found = [key.table for key in keys_of(kind) if key.name == step]
            kind = found[0] if found and found[0] is not None else kind
    return kind


def line_of(text: str, place: tuple[str | int, ...]) -> str:
    """Return ``line N: `` for a key of a TOML text; nothing where it is not written in the plain way."""
    names = [step for step in place if isinstance(step, str)]
    count = next((step for step in place if isinstance(step, int)), 0)
    table: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        header, assigned = _HEADER.match(line), _ASSIGNED.match(line)
        if header is not None:
            table = [part.strip() for part in header[1].split(".")]
            at = ".".join(table)
            seen[at] = seen.get(at, -1) + 1
        name = [] if assigned is None else [assigned[1]]
        same = not table or seen[".".join(table)] == count
        if (header or assigned) and [*table, *name] == names and same:
            return f"line {number}: "
    return ""


# -- writing ---------------------------------------------------------------------------------------


def render(kind: type, values: Mapping[str, Any], heading: str = "") -> str:
    """Return the text of a file: every key with its comment, those that nobody chose commented out with their default.

    Args:
        kind: The declaration.
        values: What is chosen, by key; tables are mappings. None and defaults count as not chosen.
        heading: What the file is; by default the declaration's own first line.

    Raises:
        InvalidInput: If a key that must be given is not.
    """
    lines = [f"# {heading or title_of(kind)}"]
    lines += ["# Relative paths start where this file is. Every key: docs/configuration.md.", ""]
    _render_table(lines, "", kind, values, off="")
    return "\n".join(lines).rstrip("\n") + "\n"


def _render_table(
    lines: list[str], name: str, kind: type, values: Mapping[str, Any], off: str
) -> None:
    keys = keys_of(kind)
    for key in keys:
        if key.table is None:
            _render_value(lines, key, values.get(key.name), off)
    for key in keys:
        if key.table is None:
            continue
        place = f"{name}.{key.name}".removeprefix(".")
        given = values.get(key.name)
        lines.append(f"# {key.description}")
        if key.many:
            for one in given or ():
                lines.append(f"[[{place}]]")
                _render_table(lines, place, key.table, one, off)
            if not given:
                lines.append(f"# [[{place}]]")
                _render_table(lines, place, key.table, {}, "# ")
            continue
        absent = given is None and not isinstance(key.default, dict)
        inner = "# " if absent else off
        lines.append(f"{inner}[{place}]")
        _render_table(lines, place, key.table, given or {}, inner)


def _render_value(lines: list[str], key: Key, value: Any, off: str) -> None:
    plain = list(value) if isinstance(value, tuple) else value
    chosen = plain is not None and plain != key.default
    lines.append(f"# {key.description} [{key.kind}]")
    if chosen:
        lines.append(f"{off}{key.name} = {toml_value(plain)}")
    elif key.default is MISSING and not off:
        raise InvalidInput(key.name, f"is needed: {key.description}")
    elif key.default is None or key.default is MISSING:
        lines.append(f"# {key.name} = ")
    else:
        lines.append(f"# {key.name} = {toml_value(key.default)}")
    lines.append("")


def toml_value(value: Any) -> str:
    """Return a plain value as TOML writes it."""
    import tomlkit  # noqa: PLC0415 - only who writes needs it

    return str(tomlkit.item(value).as_string())
