"""From the sealed jobs of an epoch to the columns that a round is evaluated over.

Jobs hold raw measurements in typed fields. What the original derives of a record (its result, whether it is dropped) is
derived here, so that everybody derives the same. A typed field knows one kind of nothing: a key that a record lacks and
a null are the same answer here, and two answers in lines of rounds.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.evaluate.jobs import NODE, Jobs
from meridian.evaluate.spark.preprocess import (
    DROPPED,
    STATION_ID,
    is_address,
    participant_address,
    retrieval_result,
)
from meridian.evaluate.spark.rounds import NOT_IN_ROUND, Columns
from meridian.evaluate.spark.tasking import Bools, Integers, Tasking
from meridian.primitives.ids import job_key

PARTICIPANT: Final = "participant_address"
INET_GROUP: Final = "inet_group"
CID: Final = "cid"
MINER: Final = "miner_id"
PROVIDER: Final = "provider_id"
INDEXER_RESULT: Final = "indexer_result"
PROVIDER_ADDRESS: Final = "provider_address"
PROTOCOL: Final = "protocol"
STATUS: Final = "status code"  # as the design document's record spells it
HEAD_STATUS: Final = "head_status_code"
TIMEOUT: Final = "timeout"
CAR_TOO_LARGE: Final = "car_too_large"
BYTE_LENGTH: Final = "byte_length"
CAR_CHECKSUM: Final = "car_checksum"
START: Final = "start_at_ms"
FIRST_BYTE: Final = "first_byte_at_ms"
END: Final = "end_at_ms"
"""Null where the record has no text for it, 0 where the text is no date."""

_TEXTS: Final = (
    *(PARTICIPANT, INET_GROUP, CID, MINER, PROVIDER, INDEXER_RESULT, PROVIDER_ADDRESS, PROTOCOL),
    CAR_CHECKSUM,
)
_NUMBERS: Final = (STATUS, HEAD_STATUS, BYTE_LENGTH, START, FIRST_BYTE, END)
_FLAGS: Final = (TIMEOUT, CAR_TOO_LARGE)

_FOUND: Final = ("OK", "HTTP_NOT_ADVERTISED")


class JobColumns:
    """The jobs of an epoch as columns of integers.

    Args:
        jobs: Their columns ``node``, ``job_id``, ``ended_us`` and the fields above.
        node_ids: Of the stations, by the numbers in ``node``.
        tasking: Of the round.

    Raises:
        InvalidInput: If a field is missing.
    """

    dropped: npt.NDArray[np.uint8]
    """0, or the place of the reason in `DROPPED`, counted from 1."""
    columns: Columns

    def __init__(self, jobs: Jobs, node_ids: Sequence[str], tasking: Tasking) -> None:
        for name in (*_TEXTS, *_NUMBERS, *_FLAGS):
            if name not in jobs.column_names:
                raise InvalidInput("jobs", f"have no field {name!r}")
        self._jobs = jobs
        self._node = np.asarray(jobs.column(NODE).to_numpy(), dtype=np.int64)
        self._codes: dict[str, Integers] = {}
        self._values: dict[str, list[Any]] = {}
        for name in (*_TEXTS, STATUS, BYTE_LENGTH):
            self._codes[name], self._values[name] = _encoded(jobs.column(name))
        self._flags = {
            name: np.asarray(jobs.column(name).fill_null(False).to_numpy(), dtype=np.bool_)
            for name in _FLAGS
        }
        self._ended = np.asarray(jobs.column(END).is_valid().to_numpy(), dtype=np.bool_)
        self.dropped = self._dropped(node_ids)
        self.columns = Columns(
            task=self._tasks(tasking),
            station=self._node,
            station_ids=node_ids,
            group=self._codes[INET_GROUP],
            finished_ms=np.asarray(jobs.column("ended_us").to_numpy(), dtype=np.int64) // 1_000,
            refused=self.dropped > 0,
        )

    def _tasks(self, tasking: Tasking) -> Integers:
        cids, miners = self._values[CID], self._values[MINER]
        pairs, inverse = np.unique(
            self._codes[CID] * len(miners) + self._codes[MINER], return_inverse=True
        )
        numbers = [
            tasking.index.get((cids[pair // len(miners)], miners[pair % len(miners)]), NOT_IN_ROUND)
            for pair in pairs.tolist()
        ]
        return np.array(numbers, dtype=np.int64)[inverse]

    def _of_values(self, name: str, holds: Any) -> Bools:
        """Tell for each row whether `holds` of its value, asking once for each value."""
        table = np.array([holds(value) for value in self._values[name]], dtype=np.bool_)
        return np.asarray(table[self._codes[name]])

    def _integers(self, name: str) -> Integers:
        """Return a column with 0 for nulls."""
        return np.asarray(self._jobs.column(name).fill_null(0).to_numpy(), dtype=np.int64)

    def _dropped(self, node_ids: Sequence[str]) -> npt.NDArray[np.uint8]:
        status = self._integers(STATUS)
        successful = self._of_values(INDEXER_RESULT, lambda value: value in _FOUND)
        successful &= ~self._flags[TIMEOUT] & ~self._flags[CAR_TOO_LARGE] & self._ended
        successful &= (status >= 200) & (status < 300)
        start, first, end = (self._integers(name) for name in (START, FIRST_BYTE, END))
        disordered = (start <= 0) | (first <= 0) | (end <= 0) | (first < start) | (end < first)
        by_http = self._of_values(PROTOCOL, lambda value: (value or "").lower() == "http")
        head = np.asarray(self._jobs.column(HEAD_STATUS).is_valid().to_numpy(), dtype=np.bool_)
        no_station = np.array([not STATION_ID.fullmatch(name) for name in node_ids], dtype=np.bool_)
        reasons = (
            ~self._of_values(PARTICIPANT, _is_participant),
            ~self._of_values(INDEXER_RESULT, bool),
            no_station[self._node],
            successful & disordered,
            successful & (head != by_http),
        )
        assert len(reasons) == len(DROPPED)
        return np.select(reasons, [np.uint8(at) for at in range(1, 1 + len(reasons))], np.uint8(0))

    def votes(self, rows: Integers) -> tuple[Integers, Integers]:
        """Return for each row a number for what the index said, and one for all that it says."""
        codes = {name: column[rows] for name, column in self._codes.items()}
        protocols = [None if value is None else value.lower() for value in self._values[PROTOCOL]]
        protocol = _numbers_of(protocols)[codes[PROTOCOL]]
        index = joined(codes[PROVIDER], codes[INDEXER_RESULT], codes[PROVIDER_ADDRESS], protocol)
        flags = [self._flags[name][rows].astype(np.int64) for name in _FLAGS]
        ended = self._ended[rows].astype(np.int64)
        given = joined(codes[INDEXER_RESULT], codes[STATUS], codes[PROTOCOL], *flags, ended)
        _, first_at = np.unique(given, return_index=True)
        results = [self._result(row) for row in rows[first_at].tolist()]
        result = _numbers_of(results)[given]
        return index, joined(index, result, codes[BYTE_LENGTH], codes[CAR_CHECKSUM])

    def _result(self, row: int) -> str:
        def value(name: str) -> Any:
            return self._values[name][self._codes[name][row]]

        return retrieval_result(
            value(INDEXER_RESULT),
            timeout=bool(self._flags[TIMEOUT][row]),
            car_too_large=bool(self._flags[CAR_TOO_LARGE][row]),
            status_code=value(STATUS),
            protocol=value(PROTOCOL),
            ended=bool(self._ended[row]),
        )

    def ranks(self, rows: Integers) -> Integers:
        """Return the places of rows in the canonical order: by node, then by job key; the order of the rows means nothing."""
        names = self._jobs.column("job_id").take(pa.array(rows)).to_pylist()
        keys = np.frombuffer(b"".join(map(job_key, names)), dtype=">u8").reshape(-1, 4)
        order = np.lexsort((*keys.astype(np.uint64).T[::-1], self._node[rows]))
        ranks = np.empty(len(rows), dtype=np.int64)
        ranks[order] = np.arange(len(rows))
        return ranks


def _is_participant(text: str | None) -> bool:
    try:
        return text is not None and is_address(participant_address(text))
    except InvalidInput:
        return False


def _encoded(column: pa.ChunkedArray) -> tuple[Integers, list[Any]]:
    """Return numbers for a column's values, and the values by their numbers; null is a value like others."""
    joint = column.combine_chunks()
    array = joint if isinstance(joint, pa.Array) else pa.concat_arrays(joint.chunks)
    encoded = array.dictionary_encode()
    values = [*encoded.dictionary.to_pylist(), None]
    codes = encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), values


def _numbers_of(values: Sequence[Any]) -> Integers:
    """Return equal numbers for equal values."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def joined(*columns: Integers) -> Integers:
    """Return numbers from 0 on that are equal where all columns are; the columns hold no negative ones."""
    number = np.unique(columns[0], return_inverse=True)[1]
    for column in columns[1:]:
        if len(column) and column.max() > 0:
            number = np.unique(number * (column.max() + 1) + column, return_inverse=True)[1]
    return number
