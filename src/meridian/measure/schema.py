"""The schema of a network's records: which fields the seed's record may hold, and which of them are summed.

Law: a schema fixes every byte that a record becomes. Field names are unique over both lists, because each is one typed
column; the packed width of a job's private fields is bounded; fields in lanes are integers that are never negative,
because they are added up in the annotations of the trees.
"""

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.primitives import cid, dagcbor
from meridian.primitives.sumtree import LaneKind

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
FIELDS_MAX: Final = 64
NAME_BYTES_MAX: Final = 64
STRING_BYTES_MAX: Final = 2048
PACKED_BYTES_MAX: Final = 8192
SCALE_MAX: Final = 18

RESERVED_COLUMNS: Final = frozenset(
    {
        "index",
        "epoch",
        "node",
        "node_id",
        "node_key",
        "job_id",
        "job_key",
        "flags",
        "started_us",
        "ended_us",
        "batch_seed",
        "private",
    }
)


class FieldKind(enum.Enum):
    """The kinds of value a field may have, each with the spellings of ``type`` that a record may use for it."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    STRING = "string"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The texts of ``type`` that name this kind; the seed's own examples print ``int``, ``in`` and ``integer``."""
        return _SPELLINGS[self]


_SPELLINGS: Final = {
    FieldKind.INTEGER: ("int", "in", "integer"),
    FieldKind.DECIMAL: (
        "decimal",
        "int",
        "in",
        "integer",
    ),  # an integer is a decimal without a fraction
    FieldKind.BOOLEAN: ("boolean",),
    FieldKind.STRING: ("string",),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record, and the column that it becomes."""

    name: str
    kind: FieldKind
    scale: int = 0
    """Decimals only: digits behind the point; the column holds value * 10^scale."""
    max_bytes: int = 0
    """Strings only: the longest accepted UTF-8 text."""
    minimum: int = 0
    """Integers and decimals: the least accepted value, in column units."""
    maximum: int = INT64_MAX
    required: bool = True
    """Whether a record without this field is refused; an absent field is a null."""
    nullable: bool = False
    """Whether the value may be null."""

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= NAME_BYTES_MAX or self.name in RESERVED_COLUMNS:
            raise InvalidInput("name", f"{self.name!r} cannot name a field")
        if not 0 <= self.scale <= SCALE_MAX or (self.scale and self.kind is not FieldKind.DECIMAL):
            raise InvalidInput(self.name, f"scale {self.scale} is not for {self.kind.value}")
        longest = STRING_BYTES_MAX if self.kind is FieldKind.STRING else 0
        if not min(longest, 1) <= self.max_bytes <= longest:
            raise InvalidInput(
                self.name, f"max_bytes {self.max_bytes} is not for {self.kind.value}"
            )
        if not INT64_MIN <= self.minimum <= self.maximum <= INT64_MAX:
            raise InvalidInput(self.name, f"{self.minimum}..{self.maximum} is not a range of int64")

    @classmethod
    def integer(
        cls,
        name: str,
        *,
        minimum: int = 0,
        maximum: int = INT64_MAX,
        required: bool = True,
        nullable: bool = False,
    ) -> "Field":
        """Return an integer field."""
        return cls(
            name,
            FieldKind.INTEGER,
            minimum=minimum,
            maximum=maximum,
            required=required,
            nullable=nullable,
        )

    @classmethod
    def decimal(
        cls,
        name: str,
        scale: int,
        *,
        minimum: int = 0,
        maximum: int = INT64_MAX,
        required: bool = True,
        nullable: bool = False,
    ) -> "Field":
        """Return a decimal field; `minimum` and `maximum` count units of 10^-scale."""
        return cls(
            name,
            FieldKind.DECIMAL,
            scale=scale,
            minimum=minimum,
            maximum=maximum,
            required=required,
            nullable=nullable,
        )

    @classmethod
    def boolean(cls, name: str, *, required: bool = True, nullable: bool = False) -> "Field":
        """Return a boolean field."""
        return cls(name, FieldKind.BOOLEAN, required=required, nullable=nullable)

    @classmethod
    def string(
        cls, name: str, max_bytes: int, *, required: bool = True, nullable: bool = False
    ) -> "Field":
        """Return a string field of at most `max_bytes` of UTF-8."""
        return cls(
            name, FieldKind.STRING, max_bytes=max_bytes, required=required, nullable=nullable
        )

    @property
    def may_be_null(self) -> bool:
        """Whether the column may hold nulls: an absent field is one."""
        return self.nullable or not self.required

    @property
    def packed_bytes(self) -> int:
        """The fixed width of the value in a job's private packing (see `row`)."""
        if self.kind is FieldKind.STRING:
            return 1 + 2 + self.max_bytes
        return 1 + (1 if self.kind is FieldKind.BOOLEAN else 8)

    def document(self) -> dict[str, Any]:
        """Return the field as a part of the schema's artefact."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "scale": self.scale,
            "max_bytes": self.max_bytes,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "required": self.required,
            "nullable": self.nullable,
        }


@dataclass(frozen=True, slots=True)
class Lanes:
    """Which fields stand in the 16 bytes of lanes, and are therefore summed up to the committed root."""

    kind: LaneKind
    fields: tuple[str, ...]
    """At most two names for a pair of u64, at most one for a u128; a null counts 0."""

    @property
    def slots(self) -> int:
        """How many lanes there are; lanes without a field are 0."""
        return 1 if self.kind is LaneKind.U128 else 2


@dataclass(frozen=True, slots=True)
class NetworkSchema:
    """The schema of one network's records."""

    id: int
    """Stands in every row, u16."""
    name: str
    evaluation_fields: tuple[Field, ...]
    additional_fields: tuple[Field, ...]
    lanes: Lanes = field(default=Lanes(LaneKind.PAIR_U64, ()))

    def __post_init__(self) -> None:
        if not 0 <= self.id < 1 << 16:
            raise InvalidInput("id", f"{self.id} is not a u16")
        names = [item.name for item in self.fields]
        if len(names) > FIELDS_MAX or len(set(names)) != len(names):
            raise InvalidInput("fields", f"at most {FIELDS_MAX} fields, each name once: {names}")
        if self.packed_bytes > PACKED_BYTES_MAX:
            raise InvalidInput("fields", f"{self.packed_bytes} bytes pass {PACKED_BYTES_MAX}")
        if len(self.lanes.fields) > self.lanes.slots:
            raise InvalidInput("lanes", f"{self.lanes.kind.value} has {self.lanes.slots} lanes")
        for name in self.lanes.fields:
            lane = self.field(name)
            if lane.kind not in (FieldKind.INTEGER, FieldKind.DECIMAL) or lane.minimum < 0:
                raise InvalidInput("lanes", f"{name!r} is not a number that is never negative")

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields in column order: evaluation first, then additional."""
        return self.evaluation_fields + self.additional_fields

    @property
    def packed_bytes(self) -> int:
        """The fixed width of a job's private packing."""
        return sum(item.packed_bytes for item in self.fields)

    def field(self, name: str) -> Field:
        """Return the field of this name.

        Raises:
            InvalidInput: If the schema does not declare it.
        """
        for item in self.fields:
            if item.name == name:
                return item
        raise InvalidInput(name, f"not a field of the schema {self.name!r}")

    def encode(self) -> bytes:
        """Return the schema's canonical DAG-CBOR, the artefact that manifests name."""
        return dagcbor.encode(
            {
                "v": 1,
                "id": self.id,
                "name": self.name,
                "evaluation_fields": [item.document() for item in self.evaluation_fields],
                "additional_fields": [item.document() for item in self.additional_fields],
                "lanes": {"kind": self.lanes.kind.value, "fields": list(self.lanes.fields)},
            }
        )

    @property
    def digest(self) -> bytes:
        """The 32-byte name of the schema's artefact."""
        return _digest(self)

    @classmethod
    def decode(cls, data: bytes) -> "NetworkSchema":
        """Read a schema artefact.

        Raises:
            InvalidInput: If the bytes are not the one encoding of a schema.
        """
        document = dagcbor.decode(data)
        try:
            schema = cls(
                id=document["id"],
                name=document["name"],
                evaluation_fields=tuple(map(_read_field, document["evaluation_fields"])),
                additional_fields=tuple(map(_read_field, document["additional_fields"])),
                lanes=Lanes(
                    LaneKind(document["lanes"]["kind"]), tuple(document["lanes"]["fields"])
                ),
            )
            encoded = schema.encode()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("schema", f"it lacks or misuses {error}") from error
        if encoded != data:
            raise InvalidInput("schema", "it holds more than a schema of version 1")
        return schema


@functools.lru_cache(maxsize=64)
def _digest(schema: NetworkSchema) -> bytes:
    return cid.digest_of(schema.encode())


def _read_field(document: Mapping[str, Any]) -> Field:
    return Field(**{**document, "kind": FieldKind(document["kind"])})
