"""The indexes of a site as they are on disk: nodes, addresses, jobs, histories, evaluators.

They are brought up to date with some epochs at a time, and written before anything names what is new in them.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from meridian.explorer.columns import Numbers
from meridian.explorer.epoch_files import earned
from meridian.explorer.gathered import Decided, JobColumns, Measured, Voice
from meridian.explorer.job_index import Run, cut, due, entries_of, merge, shards_of
from meridian.explorer.node_history import (
    CHUNK,
    HistoryRows,
    merged_rows,
    shards_for,
    updated_chunk,
)
from meridian.explorer.node_index import (
    SHARD_ENTRIES,
    NodeTable,
    address_files,
    node_files,
    read_nodes,
    seen,
)
from meridian.explorer.overview import voices_file
from meridian.node.explorer.site_files import SiteFiles
from meridian.primitives.ids import Address, NodeKey

EVALUATORS: Final = "data/evaluators.col"
NODES: Final = "data/index/nodes"
ADDRESSES: Final = "data/index/addresses"
JOBS: Final = "data/index/jobs"


@dataclass(slots=True)
class IndexState:
    """What `data/index.json` says: how each index is cut."""

    history: dict[int, int] = field(default_factory=dict)
    """Chunk -> number of its shards."""
    runs: list[Run] = field(default_factory=list)
    nodes: tuple[int, int] = (0, 1)
    """Number of nodes, and of shards."""
    addresses: int = 1
    serial: int = 0
    """Counts runs, so that no two have the same name."""

    @classmethod
    def read(cls, value: Any) -> "IndexState":
        """Read what `value_of` made; a new state of anything else."""
        try:
            return cls(
                history={int(chunk): shards for chunk, shards in value["history"].items()},
                runs=[Run(**run) for run in value["jobs"]],
                nodes=(value["nodes"]["count"], value["nodes"]["shards"]),
                addresses=value["addresses"]["shards"],
                serial=value["serial"],
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()

    @property
    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {
            "version": 1,
            "chunk": CHUNK,
            "history": {str(chunk): shards for chunk, shards in sorted(self.history.items())},
            "jobs": [
                {"name": run.name, "level": run.level, "shards": run.shards, "rows": run.rows}
                for run in self.runs
            ],
            "nodes": {"count": self.nodes[0], "shards": self.nodes[1]},
            "addresses": {"shards": self.addresses},
            "serial": self.serial,
        }


class Indexes:
    """The indexes of one site.

    Args:
        files: The site.
    """

    def __init__(self, files: SiteFiles) -> None:
        self._files = files
        self.state = IndexState.read(files.json("data/index.json"))
        self.nodes: NodeTable = {}
        for name in sorted(files.names(NODES)):
            data = files.read(f"{NODES}/{name}")
            if data is not None:
                self.nodes |= read_nodes(data)
        self._history: dict[int, list[HistoryRows]] = {}
        self._voices: dict[int, tuple[tuple[Voice, ...], Address]] = {}
        self._gone: list[str] = []
        self._is_dirty = not self.nodes

    def tell(
        self, key: NodeKey, *, claimed: int | None = None, operator: Address | None = None
    ) -> None:
        """Tell what the chain says of a node; of one that never had jobs nothing is kept."""
        known = self.nodes.get(key)
        if known is None:
            return
        new = replace(
            known,
            claimed=known.claimed if claimed is None else claimed,
            operator=known.operator if operator is None else operator,
        )
        if new != known:
            self.nodes[key], self._is_dirty = new, True

    def add(self, measured: Measured, decided: Decided | None, transmitter: Address) -> None:
        """Take an epoch; nothing is written before `write`."""
        epoch, self._is_dirty = measured.epoch, True
        seen(self.nodes, epoch, measured.nodes.ids, measured.nodes.payees)
        self._history.setdefault(epoch // CHUNK, []).append(history_rows(measured, decided))
        self._voices[epoch] = (() if decided is None else decided.voices, transmitter)

    def add_jobs(self, epoch: int, jobs: JobColumns) -> None:
        """Write an epoch's jobs as a run of their own, and merge runs that are due."""
        entries = entries_of(epoch, jobs)
        if not len(entries):
            return
        shards = shards_of(len(entries))
        run = Run(self._name(), 0, shards, len(entries))
        for shard, data in cut(entries, 0, shards, shards).items():
            self._files.write(_shard(f"{JOBS}/{run.name}", shard), data)
        self.state.runs.append(run)
        while old := due(self.state.runs):
            self._merge(old)

    def _name(self) -> str:
        self.state.serial += 1
        return f"{self.state.serial:06}"

    def _merge(self, old: list[Run]) -> None:
        name = self._name()
        shards = merge(
            old,
            lambda run, shard: self._files.read(_shard(f"{JOBS}/{run.name}", shard)),
            lambda shard, data: self._put(_shard(f"{JOBS}/{name}", shard), data),
        )
        made = Run(name, old[0].level + 1, shards, sum(run.rows for run in old))
        self.state.runs = [made, *(run for run in self.state.runs if run not in old)]
        self._gone += [run.name for run in old]

    def _put(self, name: str, data: bytes) -> None:
        self._files.write(name, data)

    def write(self) -> None:
        """Write everything that was taken, then `data/index.json`, then delete what nothing names any more."""
        if not self._is_dirty:
            return
        for chunk, parts in sorted(self._history.items()):
            self._write_chunk(chunk, merged_rows(parts))
        if self._voices:
            before = self._files.read(EVALUATORS)
            self._files.write(EVALUATORS, voices_file(before, self._voices))
        self._history, self._voices = {}, {}
        tables = node_files(self.nodes)
        self._write_shards(NODES, tables)
        shards, addresses = address_files(self.nodes)
        self._write_shards(ADDRESSES, addresses)
        self.state.nodes = (len(self.nodes), shards_for(len(self.nodes), SHARD_ENTRIES))
        self.state.addresses = shards
        self._files.write_json("data/index.json", self.state.value)
        self._drop(NODES, set(tables))
        self._drop(ADDRESSES, set(addresses))
        for name in self._gone:
            self._files.remove(f"{JOBS}/{name}", lambda _: True)
        self._gone, self._is_dirty = [], False

    def _write_chunk(self, chunk: int, rows: HistoryRows) -> None:
        shards = self.state.history.get(chunk, 0)
        folder = f"data/history/{chunk:06}"
        before = {}
        for shard in range(shards):
            data = self._files.read(_shard(folder, shard))
            if data is not None:
                before[shard] = data
        cut_into, files = updated_chunk(before, shards, rows)
        self._write_shards(folder, files)
        self.state.history[chunk] = cut_into

    def _write_shards(self, folder: str, shards: dict[int, bytes]) -> None:
        for shard, data in shards.items():
            self._files.write(_shard(folder, shard), data)

    def _drop(self, folder: str, shards: set[int]) -> None:
        wanted = {f"{shard:05}.col" for shard in shards}
        self._files.remove(folder, lambda name: name not in wanted)


def _shard(folder: str, shard: int) -> str:
    return f"{folder}/{shard:05}.col"


def history_rows(measured: Measured, decided: Decided | None) -> HistoryRows:
    """Return an epoch's rows of the nodes' histories."""
    nodes = measured.nodes
    count = len(nodes.ids)
    zeros = Numbers.of([0] * count)
    columns = {
        "epoch": Numbers.of([measured.epoch] * count),
        "jobs": Numbers.of(nodes.job_counts),
        "counted": zeros,
        "weight": Numbers.of([None] * count),
        "amount": zeros,
        "cumulative": zeros,
    }
    if decided is not None:
        amounts, cumulative = earned(measured, decided)
        columns["counted"] = Numbers.array(decided.verdicts[:, 0].astype(np.int64))
        columns["weight"] = Numbers.of(decided.weights)
        columns["amount"], columns["cumulative"] = Numbers.of(amounts), Numbers.of(cumulative)
    return HistoryRows(nodes.rows[:, 8:40], columns)
