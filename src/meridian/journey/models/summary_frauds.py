"""The ten frauds against the model `summary`, each played on a chain of its own: ten nodes with thirty jobs each.

The cheat is node 0. It and an honest node are challenged; in a run some nodes are, whom nobody knows before. What the cheat
gains is what it was paid, less its share by the honest jobs alone, less the stake that it lost.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from meridian.audit.evidence import first_broken
from meridian.contracts.artefact import load
from meridian.errors import Reverted
from meridian.journey.models.model import Ending, FraudOutcome
from meridian.journey.models.small_world import (
    CHAIN_ID,
    CHEAT,
    EPOCH,
    EPOCH_SECONDS,
    FUNDS_ATTO,
    GENESIS_S,
    HONEST_ATTO,
    JOBS,
    NODES,
    VICTIM,
    world_file,
)
from meridian.journey.models.summary_commitments import COMMITMENTS
from meridian.journey.models.summary_history import read_epoch
from meridian.journey.models.summary_network import SummaryNetwork
from meridian.journey.models.summary_terms import run_terms
from meridian.measure.row import JobRow
from meridian.models.summary import SignedSummary, Summary, Terms
from meridian.models.summary_epoch import SummaryEpoch, verify
from meridian.models.summary_tree import NodeJobs
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.primitives.amounts import format_fil
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import NodeKey, node_key
from meridian.primitives.keys import PrivateKey

WINDOW_SECONDS: Final = 600
"""To challenge and to answer: each transaction of the play takes a second of its chain."""
_FILE: Final = world_file("summary", nodes=[f"node-{at}" for at in range(NODES)])
_KIND: Final = COMMITMENTS["merkle"]


def row(node_id: str, number: int, **changes: Any) -> bytes:
    """Return the row of an honest job, or of one that is like it."""
    ended_us = (GENESIS_S + 60 + number) * 1_000_000
    return replace(
        JobRow(
            schema=1,
            flags=0,
            job_key=sha256(node_id.encode(), number.to_bytes(4, "big")),
            started_us=ended_us - 5_000,
            ended_us=ended_us,
            lanes=(1).to_bytes(16, "big"),
            private=sha256(b"private", node_id.encode(), number.to_bytes(4, "big")),
        ),
        **changes,
    ).encode()


def rows(node_id: str, count: int = JOBS) -> list[bytes]:
    """Return the rows of a node's honest jobs, in the order of their keys."""
    return sorted((row(node_id, number) for number in range(count)), key=lambda one: one[4:36])


def committed(own: Sequence[bytes]) -> NodeJobs:
    """Return rows as their node commits to them, in the order that it likes."""
    return NodeJobs(np.frombuffer(b"".join(own), dtype=np.uint8).reshape(len(own), -1))


@dataclass
class World:
    """The network of a play."""

    root: Path
    client: EmbeddedChain
    network: SummaryNetwork
    relayer: Sender
    challenger: Sender
    keys: Mapping[str, PrivateKey]
    clock: list[int]
    said: dict[str, Summary] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    """Node -> why the contract did not take its answer."""

    def signed(self, node_id: str, summary: Summary) -> SignedSummary:
        """Let a node sign a summary."""
        self.said[node_id] = summary
        return self.network.sign(self.keys[node_id], EPOCH, node_key(node_id), summary)

    def commit(self, jobs: Mapping[str, NodeJobs], **summaries: Summary) -> None:
        """Have the summaries of some nodes relayed; those that are named say something else than their jobs."""
        entries = [
            self.signed(node_id, summaries.get(node_id.replace("-", "_"), own.summary))
            for node_id, own in jobs.items()
        ]
        self.network.relay(self.relayer, EPOCH, entries)

    def challenge(self, jobs: Mapping[str, NodeJobs]) -> None:
        """Challenge the cheat and an honest node, and let those that have jobs answer."""
        account = self.challenger.address
        said = {node_key(node_id): self.said[node_id] for node_id in (CHEAT, VICTIM)}
        asked = self.network.challenge(self.challenger, EPOCH, said)
        self.network.draw(self.challenger, EPOCH, asked, account)
        for node_id in [one for one in (CHEAT, VICTIM) if one in jobs]:
            key, own, summary = node_key(node_id), jobs[node_id], self.said[node_id]
            seed = self.network.challenge_of(EPOCH, key, account).seed
            try:
                shown = own.answer(seed, self.network.terms.samples)
                self.network.answer(self.relayer, EPOCH, key, account, summary, shown)
            except Reverted as refusal:
                self.refusals[node_id] = refusal.reason

    def settle(self) -> None:
        """Let challenges run out, and have everybody paid."""
        account = self.challenger.address
        for node_id, summary in self.said.items():
            key = node_key(node_id)
            state = self.network.challenge_of(EPOCH, key, account)
            if not state.over and state.block:
                self.wait(state.deadline_s + 1)
                self.network.expire(self.challenger, EPOCH, key, account, summary)
        self.wait(self.network.epoch(EPOCH).closed_at + self.network.terms.challenge_seconds)
        standing = {
            node_key(node_id): one
            for node_id, one in self.said.items()
            if self.network.stands(EPOCH, node_key(node_id))
        }
        self.network.claim(self.relayer, EPOCH, standing, None)

    def wait(self, second: int) -> None:
        """Move the clock."""
        self.clock[0] = max(self.clock[0], second)

    def case(self) -> SummaryEpoch:
        """Return what an outsider sees."""
        return read_epoch(self.network, _FILE, _KIND, EPOCH)

    def gain_atto(self, node_id: str = CHEAT) -> int:
        """Return what a node got beyond the honest run."""
        key, case = node_key(node_id), self.case()
        paid = sum(one.amount for one in case.payments if one.node == key)
        lost = case.members[key].stake if key in case.voided() else 0
        return paid - HONEST_ATTO - lost


@contextlib.contextmanager
def world(root: Path) -> Iterator[World]:
    """Deploy a network with ten nodes, funded for one epoch that is over, on a chain in this process."""
    names = ("sponsor", "relayer", "challenger")
    own = {name: PrivateKey(sha256(b"summary fraud", name.encode())) for name in names}
    keys = {
        name: PrivateKey(sha256(b"summary node", name.encode())) for name in _FILE.more["nodes"]
    }
    clock = [GENESIS_S + 2 * EPOCH_SECONDS]
    accounts = {one.address: 10**24 for one in (*own.values(), *keys.values())}
    with contextlib.ExitStack() as stack:
        client = EmbeddedChain(None, CHAIN_ID, accounts, clock=lambda: clock[0])
        stack.callback(client.close)
        (root / "senders").mkdir(parents=True, exist_ok=True)
        senders = {
            name: Sender(client, key, root / "senders" / f"{name}.sqlite")
            for name, key in own.items()
        }
        for sender in senders.values():
            stack.callback(sender.close)
        terms: Terms = replace(
            run_terms(_FILE), challenge_seconds=WINDOW_SECONDS, answer_seconds=WINDOW_SECONDS
        )
        address = senders["sponsor"].deploy(
            load(_KIND.contract), *terms.arguments, purpose="deploy"
        )
        network = SummaryNetwork(client, CHAIN_ID, address, _KIND.contract, terms)
        members = {node_id: (key, key.address) for node_id, key in keys.items()}
        network.register(senders["relayer"], members, lambda _done, _total: None)
        network.fund(senders["sponsor"], EPOCH, FUNDS_ATTO)
        yield World(root, client, network, senders["relayer"], senders["challenger"], keys, clock)


def play(name: str, root: Path) -> FraudOutcome:
    """Play a fraud of `frauds.FRAUDS`; see `Model.fraud`."""
    with world(root) as here:
        return _PLAYS[name](name, here)


def honest() -> dict[str, NodeJobs]:
    """Return what all nodes have."""
    return {node_id: committed(rows(node_id)) for node_id in _FILE.more["nodes"]}


def _asked(
    name: str, here: World, what: str, jobs: Mapping[str, NodeJobs], **summaries: Summary
) -> FraudOutcome:
    """Commit, challenge all, settle, and look at what became of the cheat."""
    here.commit(honest() | dict(jobs), **summaries)
    here.challenge({VICTIM: committed(rows(VICTIM)), **jobs})
    here.settle()
    case, gain = here.case(), here.gain_atto()
    link = first_broken(verify(case))
    if link is not None:
        return FraudOutcome(
            fraud=name, ending=Ending.CAUGHT, by="verify", how=f"link {link.name} breaks",
            gain_atto=gain,
        )  # fmt: skip
    if node_key(CHEAT) in case.voided():
        reason = here.refusals.get(CHEAT)
        why = f"its answer reverted: {reason}" if reason else "it showed nothing"
        stake = format_fil(case.members[node_key(CHEAT)].stake)
        how = f"{what}: challenged, {why}; the summary is void, the stake of {stake} lost"
        return FraudOutcome(
            fraud=name, ending=Ending.CAUGHT, by="challenger", how=how, gain_atto=gain
        )
    how = f"{what}: the challenge was answered, rows for all of it are there; verify holds"
    return FraudOutcome(fraud=name, ending=Ending.UNNOTICED, by="nobody", how=how, gain_atto=gain)


def _double_report(name: str, here: World) -> FraudOutcome:
    twice = [one for one in rows(CHEAT) for _ in range(2)]
    found = _asked(name, here, f"{JOBS} jobs twice", {CHEAT: committed(twice)})
    return replace(found, otherwise="under new ids the copies are invented jobs, and unnoticed")


def _invented(name: str, here: World) -> FraudOutcome:
    return _asked(
        name, here, f"{JOBS} jobs that never happened", {CHEAT: committed(rows(CHEAT, 2 * JOBS))}
    )


def _impossible_times(name: str, here: World) -> FraudOutcome:
    late = GENESIS_S * 1_000_000 + 3_000_000_000
    wrong = [row(CHEAT, JOBS + number, started_us=late) for number in range(JOBS)]
    own = sorted(rows(CHEAT) + wrong, key=lambda one: one[4:36])
    return _asked(name, here, f"{JOBS} jobs that end before they start", {CHEAT: committed(own)})


def _stolen_job(name: str, here: World) -> FraudOutcome:
    own = sorted(rows(CHEAT) + rows(VICTIM), key=lambda one: one[4:36])
    found = _asked(name, here, f"{JOBS} jobs of {VICTIM}", {CHEAT: committed(own)})
    return replace(found, otherwise="it must have been told of them: nothing of a job is public")


def _withheld(name: str, here: World) -> FraudOutcome:
    return _asked(name, here, "data that is not handed out", {})


def _inflated(name: str, here: World) -> FraudOutcome:
    jobs = committed(rows(CHEAT))
    said = replace(jobs.summary, jobs=2 * JOBS, weight=2 * JOBS)
    return _asked(
        name, here, f"a weight of {2 * JOBS} with {JOBS} jobs", {CHEAT: jobs}, node_0=said
    )


def _refused(
    name: str, here: World, call: Callable[[], object], what: str, honest_end: str
) -> FraudOutcome:
    """Try what the contract should refuse, then let the epoch end honestly."""
    try:
        call()
    except Reverted as refusal:
        reason = refusal.reason
    else:
        reason = ""
    if not here.said.keys() >= here.keys.keys():
        here.commit({node: own for node, own in honest().items() if node not in here.said})
    here.settle()
    gain = here.gain_atto()
    if not reason or gain > 0:
        return FraudOutcome(
            fraud=name, ending=Ending.UNNOTICED, by="nobody", how=f"{what} was taken",
            gain_atto=gain,
        )  # fmt: skip
    how = f"{what} reverted: {reason}; {honest_end}"
    return FraudOutcome(fraud=name, ending=Ending.PREVENTED, by="contract", how=how, gain_atto=gain)


def _friend_jobs(name: str, here: World) -> FraudOutcome:
    own = committed(rows(CHEAT))
    signed = here.network.sign(here.keys[CHEAT], EPOCH, node_key(CHEAT), own.summary)
    more = replace(signed, summary=replace(own.summary, jobs=2 * JOBS, weight=2 * JOBS))
    return _refused(
        name, here, lambda: here.network.relay(here.relayer, EPOCH, [more]),
        "a relay's larger weight for a friend", "the friend's own signature stands for the rest",
    )  # fmt: skip


def _censored(name: str, here: World) -> FraudOutcome:
    own = honest()
    victim = own.pop(VICTIM)
    here.commit(own)
    here.said[VICTIM] = victim.summary
    with contextlib.closing(_sender(here, VICTIM)) as sender:
        sent = here.network.commit(sender, EPOCH, node_key(VICTIM), victim.summary)
        stood = sent is not None and sender.wait(sent).status == 1
    here.settle()
    paid = {one.node: one.amount for one in here.case().payments}
    fair = HONEST_ATTO
    if not stood or paid.get(node_key(VICTIM)) != fair:
        return FraudOutcome(
            fraud=name, ending=Ending.UNNOTICED, by="nobody", how=f"{VICTIM} was not paid",
            gain_atto=here.gain_atto(),
        )  # fmt: skip
    how = f"the epoch waits; {VICTIM} committed by its own transaction and was paid its share"
    return FraudOutcome(
        fraud=name, ending=Ending.PREVENTED, by="contract", how=how, gain_atto=here.gain_atto()
    )


def _sender(here: World, node_id: str) -> Sender:
    return Sender(here.client, here.keys[node_id], here.root / "senders" / f"{node_id}.sqlite")


def _claims_after_all(name: str, here: World, wrong: Summary | None, what: str) -> FraudOutcome:
    """Settle, then try a claim that nobody is owed."""
    here.commit(honest())
    here.challenge(honest())
    state = here.network.epoch(EPOCH)
    here.wait(state.closed_at + here.network.terms.challenge_seconds)
    key = node_key(CHEAT)
    claims: dict[NodeKey, Summary] = {key: wrong or here.said[CHEAT]}
    if wrong is None:  # the thief draws the victim's share, to wherever the contract sends it
        claims = {node_key(VICTIM): here.said[VICTIM]}
        here.network.claim(here.challenger, EPOCH, claims, None)
        victim = here.case().payments[0]
        if victim.payee != here.keys[VICTIM].address:
            return FraudOutcome(
                fraud=name, ending=Ending.UNNOTICED, by="nobody", how=f"{what} was taken",
                gain_atto=victim.amount,
            )  # fmt: skip
        data = here.network.contract.encode(
            "claim", EPOCH, node_key(VICTIM), here.said[VICTIM].words
        )
        return _refused(
            name, here,
            lambda: here.challenger.transact(here.network.address, data, purpose="again"),
            what, f"the first one, by a stranger, paid {VICTIM}'s own payee",
        )  # fmt: skip
    return _refused(
        name, here, lambda: here.network.claim(here.relayer, EPOCH, claims, None), what,
        "shares follow from the sums that the contract has kept",
    )  # fmt: skip


def _wrong_weights(name: str, here: World) -> FraudOutcome:
    said = replace(committed(rows(CHEAT)).summary, jobs=2 * JOBS, weight=2 * JOBS)
    return _claims_after_all(name, here, said, "a claim by twice the weight")


def _stolen_claim(name: str, here: World) -> FraudOutcome:
    return _claims_after_all(name, here, None, f"a second claim of {VICTIM}'s share")


_PLAYS: Final[Mapping[str, Callable[[str, World], FraudOutcome]]] = {
    "double-report": _double_report,
    "invented-jobs": _invented,
    "impossible-times": _impossible_times,
    "stolen-job": _stolen_job,
    "censored-node": _censored,
    "friend-jobs": _friend_jobs,
    "wrong-weights": _wrong_weights,
    "withheld-data": _withheld,
    "inflated-summary": _inflated,
    "stolen-claim": _stolen_claim,
}
