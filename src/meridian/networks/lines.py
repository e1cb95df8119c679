"""Records in the seed's data model, written as NDJSON lines fast enough to feed an ingest.

A network's lines differ only in their values, so the text around them is built once, from the schema: `record_template`
gives a format string, and a loader fills it. Fields stand in the schema's order, which is the form that is read fastest.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from meridian.measure.schema import Field, NetworkSchema
from meridian.networks.definition import BATCH_RECORDS

_MICROSECONDS = 1_000_000


def record_template(schema: NetworkSchema) -> str:
    """Return the text of a record with ``%s`` in the place of each value.

    The values are, in order: job id, node id, started, ended, and each field, all as JSON texts.
    """
    evaluation = ",".join(_entry(field) for field in schema.evaluation_fields)
    additional = ",".join(_entry(field) for field in schema.additional_fields)
    return (
        '{"job_id":%s,"peer_id":%s,"started_at":%s,"ended_at":%s,'
        f'"evaluation_fields":[{evaluation}],"additional_fields":[{additional}]}}'
    )


def _entry(field: Field) -> str:
    name = json_text(field.name).replace("%", "%%")
    return f'{{"name":{name},"type":"{field.kind.value}","value":%s}}'


def json_text(value: str | None) -> str:
    """Return a text, or null, as JSON."""
    return json.dumps(value, ensure_ascii=False)


def json_integer(value: int | None) -> str:
    """Return an integer, or null, as JSON."""
    return "null" if value is None else str(value)


def json_decimal(units: int, scale: int) -> str:
    """Return ``units / 10^scale`` as an exact JSON number; `units` is not negative."""
    whole, rest = divmod(units, 10**scale)
    return f"{whole}.{rest:0{scale}d}"


class TimeTexts:
    """Instants as JSON texts in the seed's own form, remembering the second it wrote last.

    Jobs come in the order of time, so most seconds are asked for many times.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, str] = {}

    def __call__(self, instant_us: int) -> str:
        """Return the JSON text of an instant given in microseconds since the Unix epoch."""
        second, micros = divmod(instant_us, _MICROSECONDS)
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) >= 1 << 16:
                self._seconds.clear()
            text = '"' + datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
            self._seconds[second] = text
        return f'{text}.{micros:06d}+00"'


def batches_of(lines: Iterable[str], records: int = BATCH_RECORDS) -> Iterator[bytes]:
    """Gather lines into NDJSON batches of at most so many records."""
    stream = iter(lines)
    while batch := list(islice(stream, records)):
        batch.append("")
        yield "\n".join(batch).encode()
