"""What `meridian verify` reads: the publication directories under a data directory, and the chain.

Nothing is changed. Where the network's own embedded chain does not run any more, it is served from its file for as long
as the audit takes, on a port of its own. Files are named relative to the data directory.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from meridian.audit import source as plain
from meridian.audit.source import Copy, LogCopy, Pointer, standing_commitments
from meridian.contracts.events import Committed
from meridian.errors import InvalidInput, MeridianError, RemoteFault
from meridian.evaluate.own_functions import RunPython
from meridian.measure.epoch_log import stated_size
from meridian.measure.signed_note import NOTE_BYTES_MAX
from meridian.node.audit_chain import ContractChain
from meridian.node.chain.rpc import Rpc, RpcUnavailable
from meridian.node.job_store import MEMORY_MIB, JobStore
from meridian.node.measure.published_log import read_log_entries
from meridian.node.network_file import NetworkFile
from meridian.node.sandbox.runner import PythonSandbox
from meridian.primitives.cid import cid_text, parse_cid
from meridian.primitives.ids import parse_digest

INDEX_BYTES_MAX: Final = 1 << 16
OBJECT_BYTES_MAX: Final = 2 << 30
CHAIN_START_S: Final = 60.0
CHAIN_STOP_S: Final = 10.0
CHAIN_FILE: Final = Path("chain") / "chain.sqlite"


class PublishedSource:
    """An `EvidenceSource` over publication directories and any view of the chain.

    Args:
        root: The data directory.
        publications: The publication directories, relative to it.
        network: What the network file says.
        chain: The chain.
        memory_mib: How much memory an audit may need: the jobs of greater epochs lie in files meanwhile.
    """

    def __init__(
        self,
        root: Path,
        publications: Sequence[str],
        network: plain.Network,
        chain: plain.ChainView,
        memory_mib: int = MEMORY_MIB,
    ) -> None:
        self._root, self._memory_mib = root, memory_mib
        self._publications = [root / path for path in publications]
        self._network = network
        self._chain = chain

    @property
    def network(self) -> plain.Network:
        """What the network file says."""
        return self._network

    @property
    def chain(self) -> plain.ChainView:
        """The chain."""
        return self._chain

    @property
    def run_python(self) -> RunPython | None:
        """The sandbox for functions in Python."""
        return PythonSandbox()

    def job_store(self, columns: pa.Schema) -> JobStore:
        """Return an empty store for jobs."""
        return JobStore(columns, self._memory_mib)

    def object(self, digest: bytes) -> list[Copy]:
        """Return the copies of an object, one for each publication that has it."""
        paths = [folder / "objects" / cid_text(digest) for folder in self._publications]
        return [
            Copy(self._name(path), _read(path, OBJECT_BYTES_MAX))
            for path in paths
            if path.is_file()
        ]

    def manifests(self, epoch: int) -> list[Pointer]:
        """Return what the measure publications name for an epoch, but not what was voided."""
        history = self._chain.history(epoch)
        standing = {event.manifest for event in standing_commitments(history)}
        gone = {event.manifest for event in history if isinstance(event, Committed)} - standing
        pointers = self._pointers(f"{epoch:06d}.json", "manifest", epoch)
        return [one for one in pointers if one.digest not in gone]

    def outcomes(self, epoch: int) -> list[Pointer]:
        """Return what the evaluators' publications name for an epoch, but not what was voided."""
        stored = self._chain.report(epoch)
        gone = set(self._chain.voided_reports(epoch)) - ({stored.hash} if stored else set())
        pointers = self._pointers(f"{epoch:06d}.outcome.json", "outcome", epoch)
        return [one for one in pointers if one.report_hash not in gone]

    def results(self, epoch: int) -> list[Copy]:
        """Return the result file that a run leaves in its data directory, if any."""
        path = self._root / "results" / f"epoch-{epoch:06d}.json"
        return [Copy(self._name(path), _read(path, OBJECT_BYTES_MAX))] if path.is_file() else []

    def logs(self) -> list[LogCopy]:
        """Return the published epoch logs."""
        found = []
        for folder in self._publications:
            checkpoint = folder / "log" / "checkpoint"
            if checkpoint.is_file():
                note = _read(checkpoint, NOTE_BYTES_MAX)
                entries = _log_entries(folder / "log", note)
                found.append(LogCopy(self._name(checkpoint), note, entries))
        return found

    def _name(self, path: Path) -> str:
        return (
            path.relative_to(self._root) if path.is_relative_to(self._root) else path
        ).as_posix()

    def _pointers(self, file_name: str, key: str, epoch: int) -> list[Pointer]:
        paths = [folder / "epochs" / file_name for folder in self._publications]
        return [_pointer(path, self._name(path), key, epoch) for path in paths if path.is_file()]


def _read(path: Path, limit: int) -> bytes:
    """Return a file's bytes; one more than `limit` where it is longer, none where it cannot be read.

    Either way they are not what a digest names, and the audit names the file.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError:
        return b""


def _log_entries(folder: Path, note: bytes) -> tuple[bytes, ...]:
    """Return the entries of a published epoch log; none where they cannot be read, and the checkpoint will not fit."""
    try:
        return read_log_entries(folder, stated_size(note))
    except MeridianError:
        return ()


def _pointer(path: Path, name: str, key: str, epoch: int) -> Pointer:
    try:
        value = msgspec.json.decode(_read(path, INDEX_BYTES_MAX), type=dict[str, Any])
        if value["epoch"] != epoch:
            raise InvalidInput("epoch", f"is {value['epoch']}")
        report_hash = value.get("report_hash")
        return Pointer(
            name,
            parse_cid(value[key])[1],
            parse_digest(report_hash) if report_hash is not None else None,
            facts=value,
        )
    except (ValueError, InvalidInput, KeyError, TypeError, RecursionError) as error:
        return Pointer(name, None, problem=f"not the index of epoch {epoch} ({error})")


def network_values(network: NetworkFile) -> plain.Network:
    """Return what the audit compares with the chain."""
    return plain.Network(
        name=network.network,
        network_id=network.network_id,
        chain_id=network.chain_id,
        registry=network.contracts.registry,
        commitments=network.contracts.commitments,
        evaluations=network.contracts.evaluations,
        rewards=network.contracts.rewards,
        disputes=network.contracts.disputes,
        genesis_s=network.genesis_s,
        epoch_seconds=network.epoch_seconds,
        first_epoch=network.first_epoch,
        aggregator=network.aggregator,
        log_vkey=network.log_vkey,
        schema_digest=network.schema_digest,
    )


@contextlib.contextmanager
def open_source(data_dir: Path, memory_mib: int = MEMORY_MIB) -> Iterator[plain.EvidenceSource]:
    """Open the evidence of a data directory for as long as the context lasts.

    Raises:
        NotFound: If there is no network.
        RemoteFault: If the chain neither answers nor can be served from its file.
    """
    network = NetworkFile.load(data_dir)
    with contextlib.ExitStack() as stack:
        rpc = stack.enter_context(reachable_chain(data_dir, network.rpc_url, network.chain_id))
        yield source_on(data_dir, network, rpc, memory_mib)


def source_on(
    data_dir: Path, network: NetworkFile, rpc: Rpc, memory_mib: int = MEMORY_MIB
) -> plain.EvidenceSource:
    """Return the evidence of a data directory, with its chain at an endpoint that is open already."""
    chain = ContractChain(rpc, network)
    values = network_values(network)
    return PublishedSource(data_dir, network.publications, values, chain, memory_mib)


@contextlib.contextmanager
def reachable_chain(data_dir: Path, rpc_url: str, chain_id: int) -> Iterator[Rpc]:
    """Open a network's endpoint; where nothing listens, its embedded chain is served from its file meanwhile.

    Raises:
        RemoteFault: If the chain neither answers nor can be served from its file.
    """
    with contextlib.ExitStack() as stack:
        rpc = _reachable(rpc_url)
        if rpc is None:
            database = data_dir / CHAIN_FILE
            if not database.is_file():
                raise RemoteFault(
                    f"the chain at {rpc_url} does not answer, and there is no {database}"
                )
            rpc = Rpc(stack.enter_context(embedded_chain(database, chain_id)))
        stack.callback(rpc.close)
        yield rpc


def _reachable(url: str) -> Rpc | None:
    """Return a client if something listens there, else None."""
    rpc = Rpc(url)
    try:
        rpc.call("eth_chainId")
    except RpcUnavailable:
        rpc.close()
        return None
    return rpc


@contextlib.contextmanager
def embedded_chain(database: Path, chain_id: int) -> Iterator[str]:
    """Serve an embedded chain's file from a child process; yields its URL.

    Raises:
        RemoteFault: If it does not come up; its last words are in the message.
    """
    command = [
        sys.executable,
        "-m",
        "meridian.node.chain.embedded",
        "--db",
        str(database),
        "--unannounced",
    ]
    command += ["--port", "0", "--chain-id", str(chain_id)]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    words: list[bytes] = []
    reader = threading.Thread(target=_keep_last, args=(child.stderr, words), daemon=True)
    reader.start()
    guard = threading.Timer(CHAIN_START_S, child.kill)
    guard.start()
    try:
        url = _ready_url(child.stdout)
        guard.cancel()
        if url is None:
            child.wait(CHAIN_STOP_S)
            reader.join(1.0)
            reason = b"".join(words[-5:]).decode(errors="replace").strip()
            raise RemoteFault(f"{database}: the embedded chain does not start: {reason}")
        yield url
    finally:
        guard.cancel()
        child.terminate()
        try:
            child.wait(CHAIN_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        reader.join(1.0)
        child.stdout.close()
        child.stderr.close()


def _ready_url(lines: Any) -> str | None:
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            event = msgspec.json.decode(line)
            if isinstance(event, dict) and event.get("event") == "ready":
                return str(event["url"])
    return None


def _keep_last(lines: Any, words: list[bytes]) -> None:
    for line in lines:
        words.append(line)
        del words[:-20]
