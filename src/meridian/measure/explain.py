"""The slow reader of one record: it accepts what the fast one accepts, in any order, and knows why it refuses.

Reasons (the ``reason`` of a rejection, stable for programs):

    broken_json  not_a_record  unknown_key  missing_key  wrong_type  too_long  empty
    bad_time  ends_before_start  not_a_field  undeclared_field  duplicate_field  missing_field
    unknown_type  out_of_range  too_precise
    unknown_node  other_node  too_late  ahead_of_clock  duplicate          (from `admission`)
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from meridian.measure.nesting import too_deep
from meridian.measure.schema import Field, FieldKind, NetworkSchema

RECORD_BYTES_MAX: Final = 64 * 1024
"""Longest JSON text of one record."""

_KEYS: Final = (
    "job_id",
    "peer_id",
    "started_at",
    "ended_at",
    "evaluation_fields",
    "additional_fields",
)
_ENTRY_KEYS: Final = ("name", "type", "value")
_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(rb"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_NUMBER_BYTES_MAX: Final = 64
_EXPONENT_MAX: Final = 40
_SHOWN_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one record of a batch is not accepted."""

    index: int
    """Position in the batch, from 0."""
    job_id: str | None
    """Where it could be read."""
    field: str
    reason: str
    message: str
    line: int | None = None
    """For NDJSON, from 1."""

    def at_line(self, line: int) -> "Rejection":
        """Return the same rejection with its line."""
        return dataclasses.replace(self, line=line)


class Refused(Exception):
    """Leaves the reading of one record; never leaves this module's callers."""

    def __init__(self, field: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.field, self.reason, self.message = field, reason, message


def decimal_units(text: bytes, spelling: str, item: Field) -> int | Refused:
    """Read a JSON number exactly, as units of 10^-scale; returns the refusal instead of raising it.

    Args:
        text: The number as written.
        spelling: The record's own ``type``; one that names an integer allows no fraction.
        item: The decimal field.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _NUMBER_BYTES_MAX:
        if match is not None:
            return Refused(item.name, "out_of_range", f"a number of {len(text)} digits")
        return Refused(item.name, "wrong_type", f"{_shown(text)} is not a JSON number")
    sign, whole, fraction, exponent = match[1], match[2], match[3] or b"", int(match[4] or 0)
    if abs(exponent) > _EXPONENT_MAX:
        return Refused(item.name, "out_of_range", f"{_shown(text)} is beyond what fits")
    if spelling != FieldKind.DECIMAL.value and (match[3] is not None or match[4] is not None):
        return Refused(item.name, "wrong_type", f"{_shown(text)} where the type says {spelling!r}")
    units: int = int(whole + fraction)
    shift = item.scale + exponent - len(fraction)
    if shift < 0:
        units, rest = divmod(units, 10**-shift)
        if rest:
            return Refused(
                item.name, "too_precise", f"{_shown(text)} has more than {item.scale} decimals"
            )
    else:
        units *= 10**shift
    units = -units if sign else units
    if not item.minimum <= units <= item.maximum:
        return Refused(item.name, "out_of_range", f"{_shown(text)} is out of range")
    return units


class Explainer:
    """Reads single records of one schema."""

    def __init__(self, schema: NetworkSchema) -> None:
        self._schema = schema
        self._object: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(
            dict[str, msgspec.Raw]
        )
        self._list: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(
            list[msgspec.Raw]
        )

    def explain(self, text: bytes, index: int) -> list[Any] | Rejection:
        """Return a record's values in column order (ids, times, fields), or why it is refused."""
        job_id: str | None = None
        try:
            record = self._read_object(text)
            job_id = self._peek_id(record)
            values: list[Any] = [self._read_text(record, key) for key in _KEYS[:4]]
            for key, fields in (
                ("evaluation_fields", self._schema.evaluation_fields),
                ("additional_fields", self._schema.additional_fields),
            ):
                values += self._read_fields(record, key, fields)
        except Refused as refused:
            return Rejection(index, job_id, refused.field, refused.reason, refused.message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(index, job_id, "record", "broken_json", str(error))
        return values

    def _read_object(self, text: bytes) -> dict[str, msgspec.Raw]:
        if len(text) > RECORD_BYTES_MAX:
            raise Refused("record", "too_long", f"{len(text)} bytes pass {RECORD_BYTES_MAX}")
        if too_deep(text):
            raise Refused("record", "broken_json", "it is nested too deeply")
        try:
            msgspec.json.decode(text)  # the whole text, so that `Raw` parts are sound
        except msgspec.ValidationError:
            pass  # a number beyond what the reader holds: its field will say so below
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused("record", "broken_json", str(error)) from None
        try:
            record = self._object.decode(text)
        except msgspec.ValidationError:
            raise Refused("record", "not_a_record", "a record is a JSON object") from None
        for key in record:
            if key not in _KEYS:
                raise Refused(key[:_SHOWN_MAX], "unknown_key", "not a key of a record")
        for key in _KEYS:
            if key not in record:
                raise Refused(key, "missing_key", "every record has this key")
        return record

    @staticmethod
    def _peek_id(record: dict[str, msgspec.Raw]) -> str | None:
        value = msgspec.json.decode(record["job_id"])
        return value[:_SHOWN_MAX] if isinstance(value, str) else None

    @staticmethod
    def _read_text(record: dict[str, msgspec.Raw], key: str) -> str:
        value = msgspec.json.decode(record[key])
        if not isinstance(value, str):
            raise Refused(key, "wrong_type", f"{_shown(bytes(record[key]))} is not a string")
        return value

    def _read_fields(
        self, record: dict[str, msgspec.Raw], key: str, fields: tuple[Field, ...]
    ) -> list[Any]:
        declared = {item.name: item for item in fields}
        found: dict[str, Any] = {}
        try:
            entries = self._list.decode(record[key])
        except msgspec.ValidationError:
            raise Refused(key, "wrong_type", "a list of fields is needed") from None
        for raw in entries:
            name, spelling, text = self._read_entry(raw, key)
            item = declared.get(name)
            if item is None:
                raise Refused(name[:_SHOWN_MAX], "undeclared_field", f"not one of the {key}")
            if name in found:
                raise Refused(name, "duplicate_field", f"it stands twice in {key}")
            if spelling not in item.kind.spellings:
                raise Refused(
                    name,
                    "unknown_type",
                    f"{spelling[:_SHOWN_MAX]!r} is not one of {', '.join(item.kind.spellings)}",
                )
            found[name] = _read_value(text, spelling, item)
        for item in fields:
            if item.required and item.name not in found:
                raise Refused(item.name, "missing_field", f"every record has it in {key}")
        return [found.get(item.name) for item in fields]

    def _read_entry(self, raw: msgspec.Raw, key: str) -> tuple[str, str, bytes]:
        try:
            entry = self._object.decode(raw)
        except msgspec.ValidationError:
            raise Refused(key, "not_a_field", "a field is an object") from None
        if sorted(entry) != sorted(_ENTRY_KEYS):
            raise Refused(key, "not_a_field", "a field has name, type and value")
        name, spelling = (msgspec.json.decode(entry[part]) for part in ("name", "type"))
        if not isinstance(name, str) or not isinstance(spelling, str):
            raise Refused(key, "not_a_field", "name and type of a field are strings")
        return name, spelling, bytes(entry["value"])


def _read_value(text: bytes, spelling: str, item: Field) -> Any:
    if text == b"null":
        if not item.nullable:
            raise Refused(item.name, "wrong_type", "null is not accepted here")
        return None
    if item.kind is FieldKind.DECIMAL:
        units = decimal_units(text, spelling, item)
        if isinstance(units, Refused):
            raise units
        return units
    if item.kind is FieldKind.INTEGER:
        if not _INTEGER.fullmatch(text):
            raise Refused(item.name, "wrong_type", f"{_shown(text)} is not an integer")
        if len(text) > _NUMBER_BYTES_MAX or not item.minimum <= int(text) <= item.maximum:
            raise Refused(
                item.name,
                "out_of_range",
                f"{_shown(text)} is not in {item.minimum}..{item.maximum}",
            )
        return int(text)
    value = msgspec.json.decode(text)
    if not isinstance(value, bool if item.kind is FieldKind.BOOLEAN else str):
        raise Refused(item.name, "wrong_type", f"{_shown(text)} is not a {item.kind.value}")
    return value


def _shown(text: bytes) -> str:
    """Return the beginning of a text for a message."""
    return text[:_SHOWN_MAX].decode(errors="replace")
