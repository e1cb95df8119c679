"""Jobs in: batches through the HTTP ingest in the order of time, and each epoch sealed when its time is over.

Replayed files use their own times, so the service's clock follows the records. A batch that was sent before is
answered with its old receipt, so streaming the same source again changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from meridian.measure.times import parse_time
from meridian.networks.definition import JobSource
from meridian.node.measure.client import Answer, MeasureClient

OPEN: Final = "open"
_MICROSECONDS: Final = 1_000_000


class _Times(msgspec.Struct):
    """The one field of a record that the stream needs."""

    ended_at: str


@dataclass(slots=True)
class Ingested:
    """What became of the records."""

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    """Reason -> records."""


def stream(
    source: JobSource,
    client: MeasureClient,
    keep: Callable[[Answer], None],
    sealed: Callable[[int], None],
    progress: Callable[[int, int], None],
) -> Ingested:
    """Send all jobs of a source and seal its epochs.

    Args:
        source: The jobs.
        client: Talks to the measure service as gateway and as its administrator.
        keep: Called with the answer to each batch, for its receipt.
        sealed: Called with each epoch that was sealed, in order.
        progress: Called with (records sent, all records).
    """
    total = Ingested()
    waiting = list(source.epochs)
    for epoch in waiting:
        if client.epoch(epoch)["state"] == OPEN:
            for name, data in source.inputs.get(epoch, {}).items():
                client.put_input(epoch, name, data)
    for batch in source.batches():
        last_us = _last_time_us(batch)
        client.set_clock(last_us)
        answer = client.submit(batch)
        keep(answer)
        total.sent += batch.rstrip(b"\n").count(b"\n") + 1
        total.accepted += answer.accepted
        total.duplicates += answer.duplicates
        for refusal in answer.rejected:
            total.rejected[refusal.reason] = total.rejected.get(refusal.reason, 0) + 1
        progress(total.sent, source.jobs)
        while waiting and last_us >= _end_us(source, waiting[0]):
            client.seal(waiting[0])
            sealed(waiting.pop(0))
    client.set_clock(_end_us(source, source.epochs[-1]))
    for epoch in waiting:
        client.seal(epoch)
        sealed(epoch)
    return total


def _last_time_us(batch: bytes) -> int:
    """Return when the last job of a batch ended."""
    line = batch[batch.rstrip(b"\n").rfind(b"\n") + 1 :]
    return parse_time(msgspec.json.decode(line, type=_Times).ended_at)


def _end_us(source: JobSource, epoch: int) -> int:
    epochs = epoch - source.first_epoch + 1
    return (source.genesis_s + epochs * source.epoch_seconds) * _MICROSECONDS
