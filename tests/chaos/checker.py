"""The judge of a chaos run: reads what the nodes wrote, and nothing else, and says what is wrong.

Safety: one decision per epoch; every block and certificate verifies, every attestation has its signatures; nobody is
accused who was not hostile; no member's statements contradict each other; nothing is signed in epochs that a node
only observes. Liveness: a node to which nothing has been done for the bound has decided every epoch that has begun.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.ephemera.block import Block, Certificate, verify_block, verify_certificate
from meridian.ephemera.evidence import denies, verify_evidence
from meridian.errors import InvalidInput
from meridian.primitives.keys import recover

from .failpoint import read_lines
from .hostile import BACK
from .roster import Committee, RunConfig
from .world import FaultRecord, Sample

MEMORY_MINUTES_MIN: Final = 5.0
"""A process must have lived so long before its memory is judged."""
GROWTH_KIB_MAX: Final = 4096
"""Growth over the second half of a process's life that counts as flat."""
DESCRIPTORS_MAX: Final = 16
"""Descriptors more than in the first half that count as flat: a connection lost and one gained for each peer."""


@dataclass
class Memory:
    """How the memory and the descriptors of one long-lived process went, in the second half of its life."""

    node: int
    minutes: float
    rss_kib: tuple[int, int]
    """At the begin and at the end, by the fitted line."""
    slope_kib_per_min: float
    descriptors: tuple[int, int]
    """Most in the first half, most in the second."""


@dataclass
class Findings:
    """What the checker found."""

    violations: list[str] = field(default_factory=list)
    epochs: int = 0
    decisions: int = 0
    certificates: int = 0
    attestations: int = 0
    statements: int = 0
    evidence: Counter[str] = field(default_factory=Counter)
    views: Counter[int] = field(default_factory=Counter)
    clean_ms: list[int] = field(default_factory=list)
    """From the begin of an epoch to its decision, at nodes that no fault held meanwhile."""
    slowest_ms: int = 0
    """The longest that a node which no fault held (any more) needed for an epoch."""
    memory: list[Memory] = field(default_factory=list)


class Checker:
    """Judges one run."""

    def __init__(
        self, config: RunConfig, faults: Iterable[FaultRecord], samples: Iterable[Sample]
    ) -> None:
        self._config = config
        self._committee = Committee(config)
        self._faults = list(faults)
        self._samples = list(samples)
        self._found = Findings()
        self._results = [read_lines(config.results(i)) for i in range(config.n)]
        self._decided: list[dict[int, float]] = [{} for _ in range(config.n)]
        """By node: epoch -> when it was decided first."""
        self._attested: list[set[int]] = [set() for _ in range(config.n)]
        self._blocks: dict[int, Block] = {}

    def judge(self, last_epoch: int, ended_s: float, bound_s: float) -> Findings:
        """Judge everything.

        Args:
            last_epoch: The last epoch that must be decided.
            ended_s: When the nodes were stopped, on the monotonic clock.
            bound_s: How long a node may take for an epoch once nothing holds it.
        """
        for node, lines in enumerate(self._results):
            for line in lines:
                self._take(node, line)
        self._check_attestations()
        self._check_statements()
        self._check_budget()
        self._check_liveness(last_epoch, ended_s, bound_s)
        self._fit_memory()
        self._found.epochs = len(self._blocks)
        return self._found

    def _wrong(self, what: str) -> None:
        self._found.violations.append(what)

    # --- safety ----------------------------------------------------------------------------------

    def _take(self, node: int, line: dict[str, Any]) -> None:
        if line["what"] == "decided":
            self._take_decision(node, line)
        elif line["what"] == "misbehaviour":
            self._take_evidence(node, line)

    def _take_decision(self, node: int, line: dict[str, Any]) -> None:
        epoch = line["epoch"]
        context = self._committee.context(epoch)
        certificate = Certificate.decode(bytes.fromhex(line["certificate"]))
        try:
            verify_certificate(context, certificate)
            if "block" in line:
                block = Block.decode(bytes.fromhex(line["block"]))
                verify_block(context, block)
                if block.hash.hex() != line["hash"]:
                    raise InvalidInput("block", "has another hash")
                self._blocks.setdefault(epoch, block)
            if certificate.block_hash.hex() != line["hash"]:
                raise InvalidInput("certificate", "is of another block")
        except InvalidInput as error:
            self._wrong(f"epoch {epoch}: node {node} decided what does not verify: {error}")
        known = self._blocks.get(epoch)
        if known is not None and known.hash.hex() != line["hash"]:
            self._wrong(
                f"epoch {epoch}: node {node} decided {line['hash']}, not {known.hash.hex()}"
            )
        self._found.certificates += 1
        if epoch not in self._decided[node]:
            self._decided[node][epoch] = line["at_s"]
            self._found.decisions += 1
            self._found.views[line["view"]] += 1

    def _take_evidence(self, node: int, line: dict[str, Any]) -> None:
        epoch = line["epoch"]
        try:
            guilt = verify_evidence(self._committee.context(epoch), bytes.fromhex(line["evidence"]))
        except InvalidInput as error:
            self._wrong(f"epoch {epoch}: evidence of node {node} proves nothing: {error}")
            return
        self._found.evidence[guilt.kind] += 1
        if not self._was_hostile(guilt.member, epoch):
            self._wrong(f"epoch {epoch}: correct member {guilt.member} is accused: {guilt.kind}")

    def _was_hostile(self, member: int, epoch: int) -> bool:
        config = self._config
        return any(
            fault.kind == "hostile"
            and fault.node == member
            and config.epoch_at(fault.begin_s) - BACK <= epoch <= config.epoch_at(_end(fault))
            for fault in self._faults
        )

    def _check_attestations(self) -> None:
        for node, lines in enumerate(self._results):
            for line in lines:
                if line["what"] != "attested":
                    continue
                epoch, digest = line["epoch"], bytes.fromhex(line["digest"])
                block = self._blocks.get(epoch)
                signers = {
                    bytes.fromhex(member)
                    for member, signature in line["signatures"]
                    if recover(digest, bytes.fromhex(signature)).hex() == member
                }
                enough = len(signers) >= self._committee.context(epoch).quorum
                if not enough or not signers <= set(self._committee.members):
                    self._wrong(f"epoch {epoch}: the attestation at node {node} does not verify")
                if block is None or block.hash != digest:
                    self._wrong(f"epoch {epoch}: node {node} attests another block")
                self._found.attestations += 1
                self._attested[node].add(epoch)

    def _check_statements(self) -> None:
        for node in range(self._config.n):
            lines = read_lines(self._config.statements(node))
            self._found.statements += len(lines)
            said: dict[tuple[Any, ...], str] = {}
            by_epoch: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
            for line in lines:
                by_epoch[line["epoch"]].append(line)
                key = (line["epoch"], line["kind"], line["view"], line.get("attempt"))
                if said.setdefault(key, line["digest"]) != line["digest"]:
                    self._wrong(f"node {node} contradicts itself: {key}")
            for epoch, statements in by_epoch.items():
                self._check_amnesia(node, epoch, statements)
            self._check_observed(node, lines)

    def _check_amnesia(self, node: int, epoch: int, lines: list[dict[str, Any]]) -> None:
        votes = [line for line in lines if line["kind"] == "Vote"]
        for change in lines:
            if change["kind"] != "ViewChange":
                continue
            lock = change["lock"] and (change["lock"][0], bytes.fromhex(change["lock"][1]))
            for vote in votes:
                if denies(vote["view"], bytes.fromhex(vote["digest"]), change["view"], lock):
                    self._wrong(f"epoch {epoch}: node {node} denies its vote in {vote['view']}")

    def _check_observed(self, node: int, lines: list[dict[str, Any]]) -> None:
        """Where a process only observes, neither it nor a later one may sign; what it signed before it may repeat."""
        through: dict[int, int] = {}
        highest = -1
        for line in self._results[node]:
            if line["what"] == "started":
                highest = max(highest, line["observe_through"])
                through[line["run"]] = highest
        for line in lines:
            if line["new"] and line["epoch"] <= through.get(line["run"], -1):
                self._wrong(f"node {node} signs in epoch {line['epoch']}, which it only observes")

    # --- liveness --------------------------------------------------------------------------------

    def _check_budget(self) -> None:
        """The schedule itself must keep its promise: at most f nodes at a time."""
        moments = sorted(fault.begin_s for fault in self._faults)
        most = max((len(self._held(at_s)) for at_s in moments), default=0)
        allowed = self._committee.context(0).f
        if most > allowed:
            self._wrong(f"the schedule held {most} nodes at a time, {allowed} are allowed")

    def _held(self, at_s: float) -> set[int]:
        return {f.node for f in self._faults if f.begin_s <= at_s < _end(f)}

    def _check_liveness(self, last_epoch: int, ended_s: float, bound_s: float) -> None:
        for node in range(self._config.n):
            clean = self._clean(node, ended_s)
            for epoch in range(last_epoch + 1):
                self._check_epoch(node, epoch, clean, bound_s)
                if epoch not in self._attested[node]:
                    self._wrong(f"epoch {epoch}: node {node} has no attested report")

    def _clean(self, node: int, ended_s: float) -> list[tuple[float, float]]:
        """The times in which no fault held a node, in order."""
        times, since_s = [], self._config.genesis_monotonic_s
        for fault in sorted(self._faults, key=lambda fault: fault.begin_s):
            if fault.node == node:
                times.append((since_s, fault.begin_s))
                since_s = _end(fault)
        return [*times, (since_s, ended_s)]

    def _check_epoch(
        self, node: int, epoch: int, clean: list[tuple[float, float]], bound_s: float
    ) -> None:
        opened_s = self._config.opens_at_s(epoch)
        decided_s = self._decided[node].get(epoch)
        for begin_s, end_s in clean:
            from_s = max(begin_s, opened_s)
            if decided_s is not None and decided_s < from_s:
                return  # while a fault held it
            if decided_s is not None and decided_s <= end_s:
                took_ms = round((decided_s - from_s) * 1000)
                self._found.slowest_ms = max(self._found.slowest_ms, took_ms)
                if from_s == opened_s:
                    self._found.clean_ms.append(took_ms)
                if took_ms > bound_s * 1000:
                    self._wrong(f"epoch {epoch}: node {node} needed {took_ms} ms to decide")
                return
            if end_s - from_s > bound_s:
                self._wrong(f"epoch {epoch}: node {node} did not decide within {bound_s:g} s")
                return
        if decided_s is None:
            self._wrong(f"epoch {epoch}: node {node} never decided")

    # --- memory ----------------------------------------------------------------------------------

    def _fit_memory(self) -> None:
        lives: defaultdict[tuple[int, int], list[Sample]] = defaultdict(list)
        for sample in self._samples:
            lives[sample.node, sample.pid].append(sample)
        for (node, _), life in sorted(lives.items()):
            minutes = (life[-1].at_s - life[0].at_s) / 60
            if minutes < MEMORY_MINUTES_MIN:
                continue
            middle_s = (life[0].at_s + life[-1].at_s) / 2
            first = [s for s in life if s.at_s < middle_s]
            second = [s for s in life if s.at_s >= middle_s]
            slope, level = fit([(s.at_s, s.rss_kib) for s in second])
            begin = round(level + slope * second[0].at_s)
            end = round(level + slope * second[-1].at_s)
            most = (max(s.descriptors for s in first), max(s.descriptors for s in second))
            self._found.memory.append(
                Memory(node, round(minutes, 1), (begin, end), round(slope * 60, 1), most)
            )
            if end - begin > GROWTH_KIB_MAX:
                self._wrong(f"node {node}: memory grows by {slope * 60:.0f} KiB a minute")
            if most[1] > most[0] + DESCRIPTORS_MAX:
                self._wrong(f"node {node}: descriptors grow from {most[0]} to {most[1]}")


def _end(fault: FaultRecord) -> float:
    return float("inf") if fault.end_s is None else fault.end_s


def fit(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return slope and level of the line of least squares through points."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return slope, mean_y - slope * mean_x


def percentile(values: list[int], share: float) -> int:
    """Return the value below which a share of the values lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0
