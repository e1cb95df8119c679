"""Many old epochs evaluated again: each by itself, its result kept in a file, so that a second run goes on from there.

A result's file is named by its epoch and by what it answers to: function, parameters, the epoch's digest on chain and its
report. So another question, or an epoch that was committed or reported anew, never meets an old answer. Only publications
and the chain are read; nothing is sent anywhere.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from meridian.audit.difference import EpochDifference
from meridian.audit.evidence import Broken
from meridian.audit.reevaluated import Question, key_of, reevaluate
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput, NotFound
from meridian.node.audit_sources import open_source, reachable_chain, source_on
from meridian.node.chain.rpc import Rpc
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.job_store import MEMORY_MIB
from meridian.node.network_file import NetworkFile
from meridian.node.private_layers import load_private_layers
from meridian.node.published_url import open_published

RESULT_BYTES_MAX: Final = 4 << 30
KEY_DIGITS: Final = 16
FOLDER: Final = "epochs"


@dataclass(frozen=True, slots=True)
class Published:
    """Where publications and chain are; it can be sent to another process."""

    data_dir: Path | None
    url: str | None
    """In place of `data_dir`."""
    rpc_url: str | None = None
    """The chain's endpoint that is believed; None: the network file's."""
    memory_mib: int = MEMORY_MIB

    def open(self) -> contextlib.AbstractContextManager[EvidenceSource]:
        """Open the evidence for as long as the context lasts.

        Raises:
            NotFound: If there is no network.
            RemoteFault: If server or chain do not answer.
        """
        if self.data_dir is None:
            return open_published(self.url or "", self.rpc_url, self.memory_mib)
        if self.rpc_url is None:
            return open_source(self.data_dir, self.memory_mib)
        return _at_endpoint(self.data_dir, self.rpc_url, self.memory_mib)

    @contextlib.contextmanager
    def served(self) -> Iterator["Published"]:
        """Return the same with a chain that answers for as long as the context lasts: an embedded one is started once.

        Raises:
            NotFound: If there is no network.
            RemoteFault: If the chain neither answers nor can be served from its file.
        """
        if self.data_dir is None or self.rpc_url is not None:
            yield self
            return
        network = NetworkFile.load(self.data_dir)
        with reachable_chain(self.data_dir, network.rpc_url, network.chain_id) as rpc:
            yield replace(self, rpc_url=rpc.url)


@contextlib.contextmanager
def _at_endpoint(data_dir: Path, rpc_url: str, memory_mib: int) -> Iterator[EvidenceSource]:
    with contextlib.closing(Rpc(rpc_url)) as rpc:
        yield source_on(data_dir, NetworkFile.load(data_dir), rpc, memory_mib)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one epoch."""

    epoch: int
    difference: EpochDifference | None
    problem: str = ""
    """Why there is none."""
    items: tuple[str, ...] = ()
    """What the problem is made of: files, nodes, members."""
    is_kept: bool = False
    """It was there from an earlier run."""


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """Evaluates one epoch again; the call is what a pool's workers run."""

    published: Published
    question: Question
    out: Path | None = None
    """Where results are kept; workers on other machines must have it too."""
    private_layers: Path | None = None
    """Directory with private bundles of sealed fraud layers."""

    def __call__(self, epoch: int) -> Answer:
        """Return the answer, kept durably before that where it says something.

        Raises:
            RemoteFault: If the chain cannot be read: that says nothing about the epoch.
            StorageFailure: If the result cannot be kept.
        """
        with self.published.open() as source:
            return self.answer(source, epoch)

    def answer(self, source: EvidenceSource, epoch: int) -> Answer:
        """Return the answer from evidence that is open already."""
        key = key_of(source, epoch, self.question)
        if key is None:
            return Answer(epoch, None, "no report of it is accepted on chain")
        path = self._path(epoch, key)
        kept = None if path is None else _read(path, epoch)
        if kept is not None:
            return Answer(epoch, kept, is_kept=True)
        try:
            found = reevaluate(
                source, epoch, self.question, load_private_layers(self.private_layers)
            )
        except Broken as broken:
            return Answer(epoch, None, broken.detail, broken.items)
        except (InvalidInput, NotFound) as error:
            return Answer(epoch, None, str(error))
        if path is not None:
            write_durably(path, msgspec.json.encode(found.encode()))
        return Answer(epoch, found)

    def _path(self, epoch: int, key: bytes) -> Path | None:
        if self.out is None:
            return None
        folder = self.out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{epoch:06d}-{key.hex()[:KEY_DIGITS]}.json"


def _read(path: Path, epoch: int) -> EpochDifference | None:
    """Return a kept result; None where there is none that can be read, and it is made again."""
    try:
        found = EpochDifference.decode(msgspec.json.decode(read_whole(path, RESULT_BYTES_MAX)))
    except (NotFound, InvalidInput, msgspec.DecodeError):
        return None
    return found if found.epoch == epoch else None


def reported_epochs(source: EvidenceSource, wanted: range) -> list[int]:
    """Return the epochs of a range that have an accepted report, ascending.

    Raises:
        NotFound: If none has.
    """
    found = sorted({report.epoch for report in source.chain.reports()} & set(wanted))
    if not found:
        raise NotFound(f"no epoch of {wanted.start}..{wanted.stop - 1} has an accepted report")
    return found
