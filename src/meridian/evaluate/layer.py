"""A fraud layer: an artefact that says of every job whether it is flagged, and why.

A layer is data: its bytes are all that is needed to run it. It names the columns that it reads, its parameters with
their defaults and bounds, its reasons, groups of jobs with exact integer values, and one SQL expression that yields the
reason of a job: 0 or NULL for none, else the number of the reason. An expression may use the layer's columns, ``node``
and ``node_id``, its parameters as ``$name``, and the values of its groups as ``group.value``.

Groups are made of all jobs, or of an earlier group: those of equal ``by``, for which ``where`` is true, with one
aggregate for each value. A group by nothing is one row. A job without one of the ``by`` values belongs to no group.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.engine import ENGINE
from meridian.evaluate.expressions import Expression, parse
from meridian.evaluate.jobs import NODE, NODE_ID
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of

BUNDLE_BYTES_MAX: Final = 1 << 16
REASONS_MAX: Final = 16
PARTS_MAX: Final = 32
"""Columns, parameters, groups, and values of a group."""
TEXT_MAX: Final = 4_096
JOBS: Final = "jobs"
"""What a group is made of when it is not another group."""
NODE_COLUMNS: Final = (NODE, NODE_ID)
"""Columns that every layer has."""

KINDS: Final = {"integer": "BIGINT", "boolean": "BOOLEAN", "text": "VARCHAR"}
"""Kind of a column or parameter -> its type in the engine."""

_PYTHON: Final = {"integer": int, "boolean": bool, "text": str}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LAYER_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the network's jobs under the name that the layer has for it."""

    field: str
    type: str
    required: bool = True
    """Whether the layer is refused for jobs without this field; else it reads null."""

    def __post_init__(self) -> None:
        if self.type not in KINDS or not isinstance(self.field, str):
            raise InvalidInput("columns", f"{self.field!r} is not integer, boolean or text")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A threshold or a switch."""

    type: str
    default: int | bool | str
    minimum: int = 0
    """Of an integer."""
    maximum: int = (1 << 63) - 1

    def __post_init__(self) -> None:
        if self.type not in KINDS:
            raise InvalidInput("parameters", f"{self.type!r} is not integer, boolean or text")
        self.checked("default", self.default)

    def checked(self, name: str, value: Any) -> int | bool | str:
        """Return a value for this parameter.

        Raises:
            InvalidInput: Naming it, if it has another type or is out of bounds.
        """
        kind: Any = type(value)
        if kind is not _PYTHON[self.type]:
            raise InvalidInput(name, f"{value!r} is not {self.type}")
        if self.type == "integer" and not self.minimum <= value <= self.maximum:
            raise InvalidInput(name, f"{value} is not in {self.minimum}..{self.maximum}")
        if self.type == "text" and len(value) > TEXT_MAX:
            raise InvalidInput(name, f"is longer than {TEXT_MAX}")
        assert isinstance(value, int | bool | str)
        return value


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs, or rows of another group, that have something in common."""

    name: str
    of: str
    by: tuple[str, ...]
    values: Mapping[str, str]
    """Name -> aggregate."""
    where: str = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that can be run."""

    name: str
    version: int
    reasons: tuple[str, ...]
    verdict: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    engine: str = ENGINE

    def __post_init__(self) -> None:
        check_layer_name(self.name, self.version)
        if not 1 <= len(self.reasons) <= REASONS_MAX or len(set(self.reasons)) < len(self.reasons):
            raise InvalidInput("reasons", f"are not 1..{REASONS_MAX} different ones")
        if self.engine != ENGINE:
            raise InvalidInput("engine", f"the layer needs {self.engine!r}, this is {ENGINE}")
        _check_names("reasons", self.reasons)
        for what in ("columns", "parameters"):
            _check_names(what, getattr(self, what))
        if reserved := set(self.columns) & {*NODE_COLUMNS, JOBS}:
            raise InvalidInput("columns", f"{min(reserved)!r} has a meaning already")
        self._check_groups()
        self._check_verdict()

    def _check_groups(self) -> None:
        known: dict[str, Group] = {}
        _check_names("groups", [group.name for group in self.groups])
        for group in self.groups:
            if group.name in known or group.name in self.columns or group.name == JOBS:
                raise InvalidInput("groups", f"{group.name!r} is there already")
            names = self.names_of(group.of, known)
            _check_names(f"groups.{group.name}", group.values)
            if unknown := set(group.by) - (names & self.job_columns):
                raise InvalidInput("groups", f"{group.name!r} is by {min(unknown)!r}, no column")
            self._expression(group.where, names, aggregates=False)
            for sql in group.values.values():
                self._expression(sql, names, aggregates=True)
            known[group.name] = group

    def _check_verdict(self) -> None:
        groups = {group.name: group.values for group in self.groups}
        expression = self._expression(self.verdict, None, aggregates=False)
        for name in expression.names:
            known = (
                name[0] in self.job_columns
                if len(name) == 1
                else len(name) == 2 and name[1] in groups.get(name[0], {})
            )
            if not known:
                raise InvalidInput("verdict", f"{'.'.join(name)!r} is no column and no value")

    @property
    def job_columns(self) -> set[str]:
        """The names that stand for a job's own values."""
        return {*self.columns, *NODE_COLUMNS}

    def names_of(self, source: str, known: Mapping[str, Group]) -> set[str]:
        """Return what a group of `source` can refer to.

        Raises:
            InvalidInput: If there is no such source.
        """
        if source == JOBS:
            return self.job_columns
        if source not in known:
            raise InvalidInput("groups", f"{source!r} is neither `jobs` nor an earlier group")
        return {*known[source].by, *known[source].values}

    def _expression(self, sql: str, names: set[str] | None, *, aggregates: bool) -> Expression:
        expression = parse(sql)
        if expression.aggregates != aggregates:
            raise InvalidInput("sql", f"{'needs' if aggregates else 'has'} an aggregate: {sql!r}")
        for place in expression.parameters:
            if place.name[0] not in self.parameters:
                raise InvalidInput("sql", f"${place.name[0]} is no parameter of the layer")
        for name in expression.names:
            if names is not None and (len(name) != 1 or name[0] not in names):
                raise InvalidInput("sql", f"{'.'.join(name)!r} is not known in {sql!r}")
        return expression

    def values(self, parameters: Mapping[str, Any]) -> dict[str, int | bool | str]:
        """Return the value of every parameter: the one that is given, or its default.

        Raises:
            InvalidInput: If one is not known, has another type or is out of bounds.
        """
        for name in sorted(parameters):
            if name not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "none"
                raise InvalidInput(name, f"is not a parameter of {self.name}; known are {known}")
        return {
            name: one.checked(name, parameters.get(name, one.default))
            for name, one in self.parameters.items()
        }

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR)."""
        return dagcbor.encode(
            {
                "name": self.name,
                "version": self.version,
                "engine": self.engine,
                "reasons": list(self.reasons),
                "columns": {name: _plain(column) for name, column in self.columns.items()},
                "parameters": {name: _plain(one) for name, one in self.parameters.items()},
                "groups": [
                    _plain(group) | {"by": list(group.by), "values": dict(group.values)}
                    for group in self.groups
                ],
                "verdict": self.verdict,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes of a layer that may run here.
        """
        if len(data) > BUNDLE_BYTES_MAX:
            raise InvalidInput("layer", f"is longer than {BUNDLE_BYTES_MAX} bytes")
        layer = cls.of(dagcbor.decode(data))
        if layer.encode() != data:
            raise InvalidInput("layer", "is not the one encoding of a layer")
        return layer

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the layer of a definition: the artefact's map, in which defaults may be left out.

        Raises:
            InvalidInput: If it is not a layer.
        """
        try:
            return cls(
                **{
                    **value,
                    "reasons": tuple(value["reasons"]),
                    "columns": {n: Column(**c) for n, c in value.get("columns", {}).items()},
                    "parameters": {
                        n: Parameter(**p) for n, p in value.get("parameters", {}).items()
                    },
                    "groups": tuple(
                        Group(**{**group, "by": tuple(group["by"])})
                        for group in value.get("groups", ())
                    ),
                }
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise InvalidInput("layer", f"is not a layer: {error}") from error

    @property
    def digest(self) -> bytes:
        """The content address of the artefact."""
        return digest_of(self.encode())


def check_layer_name(name: Any, version: Any) -> None:
    """Refuse what cannot be a layer's name and version.

    Raises:
        InvalidInput: Naming which of them.
    """
    if not _matches(_LAYER_NAME, name):
        raise InvalidInput("name", f"{name!r} is not a layer's name")
    if type(version) is not int or not 1 <= version < 1 << 32:
        raise InvalidInput("version", f"{version!r} is not a version")


def _plain(item: Column | Parameter | Group) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__slots__}


def _check_names(what: str, names: Iterable[str]) -> None:
    listed = list(names)
    if len(listed) > PARTS_MAX:
        raise InvalidInput(what, f"{len(listed)} of them; at most {PARTS_MAX} are allowed")
    for name in listed:
        if not _matches(_NAME, name):
            raise InvalidInput(what, f"{name!r} is not a name of small letters, digits and _")


def _matches(pattern: re.Pattern[str], name: Any) -> bool:
    return isinstance(name, str) and pattern.fullmatch(name) is not None
