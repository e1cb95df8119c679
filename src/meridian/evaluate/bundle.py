"""Functions that a network writes itself, as bundles: everything that defines one, in one content-addressed artefact.

    name, version, kind ("sql" or "python"), engine, columns (name -> field of the jobs), inputs (names of auxiliary inputs),
    reasons (code 0 is "ok"), parameters (name -> kind, default and bounds), and the code:
    for SQL `verdict`, `weight` and `totals`, for Python `source`.

Everything is checked when a bundle is read, so that nobody publishes or schedules one that no evaluator can run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.function import REASONS_MAX, Parameters
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of

BUNDLE_BYTES_MAX: Final = 1 << 20
COLUMNS_MAX: Final = 64
INPUT_NAME_MAX: Final = 64
ITEMS_MAX: Final = 100_000
"""Of a parameter that is a list."""

KINDS: Final = ("sql", "python")

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED: Final = frozenset({"code", "node", "row"})
"""Columns that are there anyway."""

_KINDS: Final[dict[str, tuple[type, str, Any]]] = {
    "integer": (int, "BIGINT", 0),
    "boolean": (bool, "BOOLEAN", False),
    "text": (str, "VARCHAR", ""),
    "integers": (int, "BIGINT[]", []),
    "texts": (str, "VARCHAR[]", []),
}
"""Kind of a parameter -> Python type of it or its items, SQL type, and what is there without a default."""


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """What a parameter may be."""

    kind: str
    default: Any
    minimum: int | None = None
    maximum: int | None = None

    @classmethod
    def of(cls, name: str, values: Any) -> Self:
        """Read a rule.

        Raises:
            InvalidInput: If it is malformed, or its own default breaks it.
        """
        field = f"parameters.{name}"
        known = {"kind", "default", "minimum", "maximum"}
        if not isinstance(values, dict) or set(values) - known or values.get("kind") not in _KINDS:
            raise InvalidInput(
                field, f"needs a kind ({', '.join(_KINDS)}) and may have {known - {'kind'}}"
            )
        bounds = [values.get(bound) for bound in ("minimum", "maximum")]
        if any(bound is not None and type(bound) is not int for bound in bounds):
            raise InvalidInput(field, "a bound is not an integer")
        if values["kind"] not in ("integer", "integers") and bounds != [None, None]:
            raise InvalidInput(field, "only integers have bounds")
        rule = cls(values["kind"], values.get("default", _KINDS[values["kind"]][2]), *bounds)
        rule.check(name, rule.default)
        return rule

    @property
    def sql_type(self) -> str:
        """The SQL type of the parameter."""
        return _KINDS[self.kind][1]

    def check(self, name: str, value: Any) -> Any:
        """Return a value that is acceptable.

        Raises:
            InvalidInput: Naming the parameter and what it must be.
        """
        is_list, of = self.kind.endswith("s"), _KINDS[self.kind][0]
        items: Any = value if is_list else [value]
        if not isinstance(items, list) or len(items) > ITEMS_MAX:
            raise InvalidInput(name, f"is not a list of at most {ITEMS_MAX} {self.kind}")
        for item in items:
            if type(item) is not of:
                raise InvalidInput(
                    name, f"{item!r} is not {'among ' if is_list else ''}{self.kind}"
                )
            if isinstance(item, int) and of is int:
                self._check_bounds(name, item)
        return value

    def _check_bounds(self, name: str, number: int) -> None:
        if not -(1 << 63) <= number < 1 << 63:
            raise InvalidInput(name, f"{number} does not fit in 64 bits")
        if self.minimum is not None and number < self.minimum:
            raise InvalidInput(name, f"{number} is below {self.minimum}")
        if self.maximum is not None and number > self.maximum:
            raise InvalidInput(name, f"{number} is above {self.maximum}")

    def encode(self) -> dict[str, Any]:
        """Return the rule as it stands in the bundle."""
        values = {"kind": self.kind, "default": self.default}
        values |= {"minimum": self.minimum} if self.minimum is not None else {}
        return values | ({"maximum": self.maximum} if self.maximum is not None else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A function that a network wrote itself."""

    name: str
    version: int
    kind: str
    engine: str
    """The engine and its version that the result was made for; another one refuses to run it."""
    columns: Mapping[str, str]
    """Name in the code -> field of the jobs."""
    inputs: tuple[str, ...]
    reasons: tuple[str, ...]
    parameters: Mapping[str, ParameterRule]
    code: Mapping[str, Any]
    """SQL: ``verdict``, ``weight`` and ``totals``; Python: ``source``."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                "name", f"{self.name!r} is not lower-case letters, digits and dashes"
            )
        if type(self.version) is not int or not 1 <= self.version < 1 << 32:
            raise InvalidInput("version", f"{self.version!r} is not a positive integer")
        if self.kind not in KINDS:
            raise InvalidInput("kind", f"{self.kind!r} is not one of {', '.join(KINDS)}")
        _check_names(self.columns, self.parameters)
        if any(not 1 <= len(name) <= INPUT_NAME_MAX for name in self.inputs):
            raise InvalidInput("inputs", f"a name is not 1..{INPUT_NAME_MAX} characters")
        reasons = self.reasons
        if not reasons or reasons[0] != "ok" or len(set(reasons)) != len(reasons):
            raise InvalidInput("reasons", "do not begin with 'ok', or one is there twice")
        if len(reasons) >= REASONS_MAX or any(
            not _IDENTIFIER.fullmatch(reason) for reason in reasons
        ):
            raise InvalidInput("reasons", f"are not at most {REASONS_MAX - 1} lower-case words")

    def check(self, parameters: Parameters) -> dict[str, Any]:
        """Return all parameters, with defaults.

        Raises:
            InvalidInput: Naming a parameter that is unknown or wrong.
        """
        for name in sorted(parameters):
            if name not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "none"
                raise InvalidInput(name, f"is not a parameter; known are {known}")
        return {
            name: rule.check(name, parameters.get(name, rule.default))
            for name, rule in self.parameters.items()
        }

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR)."""
        return dagcbor.encode(
            {
                "name": self.name,
                "version": self.version,
                "kind": self.kind,
                "engine": self.engine,
                "columns": dict(self.columns),
                "inputs": list(self.inputs),
                "reasons": list(self.reasons),
                "parameters": {name: rule.encode() for name, rule in self.parameters.items()},
                **self.code,
            }
        )

    @property
    def digest(self) -> bytes:
        """The content address, which the contract's schedule holds."""
        return digest_of(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        if len(data) > BUNDLE_BYTES_MAX:
            raise InvalidInput("bundle", f"passes {BUNDLE_BYTES_MAX} bytes")
        value = dagcbor.decode(data)
        if not isinstance(value, dict):
            raise InvalidInput("bundle", "is not a map")
        bundle = cls.of(value)
        if bundle.encode() != data:
            raise InvalidInput("bundle", "is not what this version writes")
        return bundle

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Read a bundle's values.

        Raises:
            InvalidInput: Naming the key that is missing, unknown or wrong.
        """
        code = {"sql": ("verdict", "weight", "totals"), "python": ("source",)}.get(
            value.get("kind", ""), ()
        )
        shared = ("name", "version", "kind", "engine", "columns", "inputs", "reasons", "parameters")
        for name in sorted({*shared, *code} ^ set(value)):
            raise InvalidInput(name, "is not a key of a bundle" if name in value else "is missing")
        for name, kind in (
            ("columns", dict),
            ("inputs", list),
            ("reasons", list),
            ("parameters", dict),
        ):
            if not isinstance(value[name], kind):
                raise InvalidInput(name, f"is not a {'map' if kind is dict else 'list'}")
        texts = [value[name] for name in ("name", "kind", "engine")]
        texts += [
            *value["columns"],
            *value["columns"].values(),
            *value["inputs"],
            *value["reasons"],
        ]
        for text in texts:
            if not isinstance(text, str):
                raise InvalidInput("bundle", f"{text!r} stands where text is needed")
        return cls(
            name=value["name"],
            version=value["version"],
            kind=value["kind"],
            engine=value["engine"],
            columns=value["columns"],
            inputs=tuple(value["inputs"]),
            reasons=tuple(value["reasons"]),
            parameters={
                name: ParameterRule.of(name, rule) for name, rule in value["parameters"].items()
            },
            code={name: value[name] for name in code},
        )


def _check_names(columns: Mapping[str, str], parameters: Mapping[str, object]) -> None:
    if not columns or len(columns) > COLUMNS_MAX:
        raise InvalidInput("columns", f"are not 1..{COLUMNS_MAX}")
    for name in (*columns, *parameters):
        if not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            raise InvalidInput("columns", f"{name!r} is no name for a column or parameter")
    if shared := sorted(columns.keys() & parameters.keys()):
        raise InvalidInput("parameters", f"{shared[0]!r} is a column too")
    if not all(columns.values()):
        raise InvalidInput("columns", "a field is not named")
