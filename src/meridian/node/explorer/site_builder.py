"""Builds a site's data from a data directory, and keeps it up to date: `SiteBuilder.update` reads what is new.

An epoch is read when its commitments or its report change, never else; what the chain says of it follows events. Files of
an epoch come first, then the indexes, then the list of epochs, and `data/network.json` last: a page sees the state before
or after, and never names a file that is not there yet.
"""

import contextlib
import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meridian.audit.source import EvidenceSource
from meridian.errors import MeridianError, RemoteFault, StorageFailure
from meridian.evaluate.registry import resolve
from meridian.explorer.chain_history import FINAL, ChainFacts, EpochChain, Quiet, epoch_chains
from meridian.explorer.code_text import code_text
from meridian.explorer.epoch_files import earned, measured_files
from meridian.explorer.epoch_page import (
    FORMAT,
    Schedule,
    chain_part,
    gathered_part,
    stamp,
    whole_page,
)
from meridian.explorer.gathered import Decided, Measured, gather
from meridian.explorer.overview import (
    EpochRow,
    epoch_row,
    epochs_file,
    evaluators,
    money,
    read_epochs,
)
from meridian.measure.schema import NetworkSchema
from meridian.node.audit_sources import CHAIN_FILE, reachable_chain, source_on
from meridian.node.chain.rpc import Rpc, RpcUnavailable
from meridian.node.explorer.chain_reader import ChainReader
from meridian.node.explorer.claims import Claims, epoch_folder
from meridian.node.explorer.indexes import Indexes
from meridian.node.explorer.measuring import Measuring
from meridian.node.explorer.site_files import SiteFiles
from meridian.node.explorer.site_front import copy_assets, network_object
from meridian.node.network_file import NetworkFile
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, NodeKey

JOBS_MAX: Final = 200_000
"""Jobs one by one are kept of epochs with at most so many, by default."""
AGAIN_S: Final = 2.0
AGAIN_TIMES: Final = 10
"""What cannot be read yet is tried again after that time, or so many times as long as trying took."""
FLUSH: Final = 64
"""Epochs that are read before indexes are written."""
STATE: Final = "data/builder.json"


class SiteBuilder:
    """Builds one network's site; used by one thread.

    Args:
        data_dir: The network's data directory.
        out: The site.
        jobs_max: Jobs one by one are kept of epochs with at most so many.
        rpc_url: Where the chain is reached; None: where the network file says.
        measuring: Tells the epoch that jobs are taken for; None: it follows from the calendar alone.

    Raises:
        NotFound: If there is no network.
    """

    def __init__(
        self,
        data_dir: Path,
        out: Path,
        jobs_max: int = JOBS_MAX,
        rpc_url: str | None = None,
        measuring: Measuring | None = None,
    ) -> None:
        self._measuring = measuring
        self._data_dir, self._jobs_max, self._rpc_url = data_dir, jobs_max, rpc_url
        self._network = NetworkFile.load(data_dir)
        self._files = SiteFiles(out)
        self._chain: contextlib.ExitStack | None = None
        self._reader: ChainReader | None = None
        self._rpc: Rpc | None = None
        self._rested: tuple[int, int] | None = None
        self._quiet: Quiet | None = None
        self._again_s: dict[int, float] = {}
        self._source: EvidenceSource | None = None
        self._stopping = False
        self._load()
        copy_assets(out)

    def _load(self) -> None:
        """Take over what an earlier builder left, if it wrote the same form with the same settings."""
        state = self._files.json(STATE)
        settings = {"format": FORMAT, "network": self._network.network_id.hex()}
        if not isinstance(state, dict) or any(state.get(k) != v for k, v in settings.items()):
            if (self._files.root / "data").is_dir():
                shutil.rmtree(self._files.root / "data")
            state = settings | {"stamps": {}, "revision": 0}
        self._state: dict[str, Any] = state
        data = self._files.read("data/epochs.col")
        self._rows = {} if data is None else {row.epoch: row for row in read_epochs(data)}
        self._indexes = Indexes(self._files)
        self._claims = Claims(self._files)

    def stop(self) -> None:
        """Have an update that is under way end after the epoch at work; from any thread, for good."""
        self._stopping = True

    def close(self) -> None:
        """Let go of the chain."""
        if self._chain is not None:
            self._chain.close()
        self._chain = self._reader = self._source = self._rpc = None

    def update(self) -> list[int]:
        """Read what is new and write what follows.

        Returns:
            The epochs that have changed, ascending; none: nothing has changed.

        Raises:
            MeridianError: If chain or disk fail; the next call goes on from there.
        """
        if self._chain_rests():
            return []
        try:
            changed = self._update()
        except (RemoteFault, OSError) as error:
            self.close()
            if isinstance(error, OSError):
                raise StorageFailure(str(error)) from error
            raise
        self._rest()
        return changed

    def _chain_rests(self) -> bool:
        """Tell whether the chain is a file that nobody serves, as it was when we last served it to ourselves."""
        if self._rested is None or self._rested != self._chain_file():
            return False
        with contextlib.closing(Rpc(self._url)) as rpc:
            try:
                rpc.call("eth_chainId")
            except RpcUnavailable:
                return True
        return False

    def _rest(self) -> None:
        """Let go of a chain that we served to ourselves, or its own network could not go on with it."""
        self._rested = None
        if self._rpc is not None and self._rpc.url != self._url:
            self.close()
            self._rested = self._chain_file()

    def _chain_file(self) -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError):
            found = (self._data_dir / CHAIN_FILE).stat()
            return found.st_mtime_ns, found.st_size
        return None

    @property
    def _url(self) -> str:
        return self._rpc_url or self._network.rpc_url

    def _open(self) -> ChainReader:
        if self._chain is None or self._reader is None:
            self._network = NetworkFile.load(self._data_dir)
            self._chain = contextlib.ExitStack()
            at = reachable_chain(self._data_dir, self._url, self._network.chain_id)
            self._rpc = self._chain.enter_context(at)
            self._reader = ChainReader(self._rpc, self._network)
        return self._reader

    def _update(self) -> list[int]:
        reader = self._open()
        facts = reader.read()
        if self._measuring is not None:
            facts = replace(facts, open_epoch=self._measuring.open_epoch())
        if self._quiet is not None and self._quiet.lasts(facts):
            return []
        # A source reads reports and claims once, so every update has its own.
        assert self._rpc is not None, "it was opened"
        self._source = source_on(self._data_dir, self._network, self._rpc)
        chains = epoch_chains(facts, self._network.calendar)
        waiting = [chain for chain in chains.values() if self._must_read(chain)]
        changed: set[int] = set()
        for start in range(0, len(waiting), FLUSH):
            for chain in waiting[start : start + FLUSH]:
                if self._stopping:  # the next start reads again what is not published yet
                    return []
                self._read_epoch(reader, chain)
                changed.add(chain.epoch)
            self._indexes.write()
            ready = {one: chains[one] for one in chains if one <= chain.epoch}
            changed |= self._write_pages(reader, facts, ready)
            self._publish(reader, facts, ready)
        self._pay(facts)
        changed |= self._write_pages(reader, facts, chains)
        self._publish(reader, facts, chains)
        is_done = all(done for *_, done in self._state["stamps"].values())
        self._quiet = Quiet.after(facts, chains, self._network.calendar) if is_done else None
        return sorted(changed)

    def _must_read(self, chain: EpochChain) -> bool:
        if not chain.committed and not chain.own:
            return False
        known = self._state["stamps"].get(str(chain.epoch))
        if known is None or tuple(known[:2]) != stamp(chain, self._jobs_max):
            return True
        return not known[2] and time.monotonic() >= self._again_s.get(chain.epoch, 0.0)

    # ------------------------------------------------------------------------------- epochs

    def _read_epoch(self, reader: ChainReader, chain: EpochChain) -> None:
        """Read an epoch's evidence and write its files but the chain's part of `epoch.json`."""
        assert self._source is not None, "it was opened"
        epoch, folder = chain.epoch, epoch_folder(chain.epoch)
        started_s = time.monotonic()
        measured, decided, problem = None, None, "no commitment stands"
        if chain.has_commitment:
            measured, decided, problem = gather(self._source, epoch, self._jobs_max)
        part = gathered_part(
            measured,
            decided,
            schedule=self._schedule(reader, epoch),
            members=reader.committee(epoch),
            problem=problem,
        )
        before = self._state["stamps"].get(str(epoch), ["", "", True])
        measured_stamp, reported_stamp = stamp(chain, self._jobs_max)
        if measured is not None:
            self._take(measured, decided, chain, is_new=before[0] != measured_stamp)
        self._files.write_json(f"{folder}/gathered.json", part)
        # What cannot be read yet is tried again, until nothing can come any more.
        row = self._rows.get(epoch)
        is_done = not problem or (row is not None and row.state in FINAL)
        self._state["stamps"][str(epoch)] = [measured_stamp, reported_stamp, is_done]
        took_s = time.monotonic() - started_s
        self._again_s[epoch] = time.monotonic() + max(AGAIN_S, AGAIN_TIMES * took_s)

    def _take(
        self, measured: Measured, decided: Decided | None, chain: EpochChain, *, is_new: bool
    ) -> None:
        folder, report = epoch_folder(measured.epoch), chain.report
        made = measured_files(measured, decided)
        for name, data in made.items():
            self._files.write(f"{folder}/{name}", data)
        kept = {*made, "epoch.json", "gathered.json"}
        self._files.remove(folder, lambda name: name not in kept)
        transmitter = Address(bytes(20)) if report is None else report.args["transmitter"]
        self._indexes.add(measured, decided, transmitter)
        if measured.jobs is not None and is_new:
            self._indexes.add_jobs(measured.epoch, measured.jobs)
        if decided is not None and report is not None:
            amounts, _ = earned(measured, decided)
            self._claims.put(measured.epoch, decided.claims, sum(amounts))
        self._known(
            measured.epoch, jobs=sum(measured.nodes.job_counts), nodes=len(measured.nodes.ids)
        )

    def _known(self, epoch: int, **values: int) -> None:
        known = self._state.setdefault("known", {}).setdefault(str(epoch), {})
        known.update(values)

    def _schedule(self, reader: ChainReader, epoch: int) -> Schedule:
        assert self._source is not None, "it was opened"
        function, parameters = reader.schedule(epoch)
        source, name = None, self._network.function
        with contextlib.suppress(MeridianError):
            known = resolve(function, self._published, None)
            source = f"data/function/{cid_text(function)}.txt"
            self._files.write(source, code_text(known.bundle))
            name = known.name
        return Schedule(name=name, function=function, parameters=parameters, source=source)

    def _published(self, digest: bytes) -> bytes:
        assert self._source is not None, "it was opened"
        for one in self._source.object(digest):
            if digest_of(one.data) == digest:
                return one.data
        raise RemoteFault(f"no publication holds {cid_text(digest)}")

    # -------------------------------------------------------------------------------- chain

    def _pay(self, facts: ChainFacts) -> None:
        """Tell epochs what later claims paid of them."""
        table = self._indexes.nodes
        paid, claimed = self._claims.settle(facts, self._state, table.keys())
        for key, total in claimed.items():
            self._indexes.tell(key, claimed=total)
        for event in facts.of("NodeRegistered"):
            self._indexes.tell(NodeKey(event.args["node_key"]), operator=event.args["operator"])
        self._indexes.write()
        for epoch, total in paid.items():
            self._known(epoch, paid=total)

    def _row(self, chain: EpochChain, facts: ChainFacts) -> EpochRow:
        known = self._state.get("known", {}).get(str(chain.epoch), {})
        return epoch_row(chain, facts, self._network.calendar, known)

    def _write_pages(
        self, reader: ChainReader, facts: ChainFacts, chains: Mapping[int, EpochChain]
    ) -> set[int]:
        """Write `epoch.json` of every epoch of which the chain says something new."""
        changed = set()
        lanes = self._lanes()
        for epoch, chain in chains.items():
            mark = self._mark(chain, facts)
            folder = epoch_folder(epoch)
            if self._state.setdefault("pages", {}).get(str(epoch)) == mark:
                continue
            gathered = self._files.json(f"{folder}/gathered.json")
            if gathered is None:
                gathered = self._empty(reader, epoch)
            asked = reader.asked(chain)
            signers = [asked.signers[e.args["report_hash"]] for e, ok in chain.reports if ok]
            self._known(epoch, signers=len(signers[0]) if signers else 0)
            row = self._row(chain, facts)
            page = whole_page(gathered, chain_part(chain, facts, row, lanes, asked))
            self._files.write_json(f"{folder}/epoch.json", page)
            self._state["pages"][str(epoch)] = mark
            changed.add(epoch)
        return changed

    def _mark(self, chain: EpochChain, facts: ChainFacts) -> str:
        """Return a digest of everything that an epoch's page is made from."""
        row = replace(self._row(chain, facts), signers=0)
        events = (*chain.own, *chain.disputes, *(one for one, _ in chain.reports))
        made_from = (
            row,
            [(one.name, one.tx_hash, one.index) for one in events],
            len(chain.claims),
            [len(facts.of(name)) for name in ("Answered", "Resolved", "Ruled") if chain.disputes],
            self._state["stamps"].get(str(chain.epoch)),
        )
        return hashlib.sha256(repr(made_from).encode()).hexdigest()[:32]

    def _empty(self, reader: ChainReader, epoch: int) -> dict[str, Any]:
        return gathered_part(
            None,
            None,
            schedule=self._schedule(reader, epoch),
            members=reader.committee(epoch),
            problem="",
        )

    def _lanes(self) -> Any:
        return self._schema().lanes.kind

    def _schema(self) -> NetworkSchema:
        return NetworkSchema.decode(self._published(self._network.schema_digest))

    def _publish(
        self, reader: ChainReader, facts: ChainFacts, chains: Mapping[int, EpochChain]
    ) -> None:
        """Write the small files of the whole network; `data/network.json` and the builder's state last."""
        rows = [self._row(chain, facts) for chain in chains.values()]
        write = self._files.write_json
        opened = [epoch for epoch, chain in chains.items() if chain.opened is not None]
        seated = set(reader.committee(opened[-1])) if opened else set()
        changed = self._files.write("data/epochs.col", epochs_file(rows))
        changed |= write("data/money.json", money(rows, facts, self._network.first_epoch))
        changed |= write("data/evaluators.json", evaluators(facts, seated))
        changed |= self._claims.write(facts, chains)
        if self._files.read("data/complaints.json") is None:
            write("data/complaints.json", [])
        self._rows = {row.epoch: row for row in rows}
        fresh = not self._state["revision"]
        if changed or fresh:
            self._state["revision"] += 1
            said = network_object(self._network, self._schema(), facts)
            write("data/network.json", said | {"revision": self._state["revision"]})
        write(STATE, self._state)
