"""The ten frauds against the model `naive`, each played on a chain of its own: ten nodes with thirty jobs each.

The cheat is node 0. What it gains is what the contract paid it, less its share by the honest jobs alone.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from meridian.audit.evidence import first_broken
from meridian.journey.models import naive_network
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.model import Ending, FraudOutcome
from meridian.journey.models.naive_network import CONTRACT, NaiveNetwork
from meridian.journey.models.node_jobs import NodeJob
from meridian.journey.models.small_world import (
    CHAIN_ID,
    CHEAT,
    EPOCH,
    FUNDS_ATTO,
    HONEST_ATTO,
    JOBS,
    attempt,
    honest_jobs,
    impossible,
    job,
    node_keys,
    refused,
    world_file,
)
from meridian.journey.models.sums_network import JOBS_PER_CALL
from meridian.models.naive import verify
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.primitives.hashing import sha256
from meridian.primitives.keys import PrivateKey


@dataclass
class World:
    """The network of a play."""

    client: EmbeddedChain
    network: NaiveNetwork
    file: ModelFile
    keys: Mapping[str, PrivateKey]

    def submit_honest(self) -> None:
        """Let every node send its jobs."""
        self.network.submit(EPOCH, honest_jobs(), self.keys, {}, JOBS_PER_CALL, lambda _done: None)

    def settle(self) -> None:
        """Close, add up and pay."""
        self.network.close_epoch(EPOCH)
        self.network.evaluate(EPOCH, lambda _done: None)
        self.network.pay(EPOCH, None)

    def gain_atto(self) -> int:
        """Return what the cheat was paid beyond its share by honest jobs."""
        [case] = naive_network.read_epochs(self.client, self.file, [EPOCH])
        account = self.keys[CHEAT].address
        paid = sum(one.amount for one in case.payments if one.node == account)
        return paid - HONEST_ATTO

    def broken(self) -> str | None:
        """Return what `verify` finds: the name of the first broken link, if any."""
        [case] = naive_network.read_epochs(self.client, self.file, [EPOCH])
        link = first_broken(verify(case))
        return None if link is None else link.name

    def attempt(self, key: PrivateKey, function: str, *arguments: object) -> str:
        """Send a call into a block whatever an estimate says of it; returns why it reverted, or an empty text."""
        contract = self.network.chain.contract
        return attempt(self.client, CHAIN_ID, key, contract, function, *arguments)


@contextlib.contextmanager
def world(root: Path) -> Iterator[World]:
    """Deploy a network with ten nodes, funded for one epoch, on a chain in this process."""
    own = {
        name: PrivateKey(sha256(b"naive fraud", name.encode())) for name in ("sponsor", "keeper")
    }
    nodes = node_keys()
    client = EmbeddedChain(None, CHAIN_ID, {key.address: 10**24 for key in own.values()})
    sponsor = Sender(client, own["sponsor"], root / "senders" / "sponsor.sqlite")
    with contextlib.closing(client), contextlib.closing(sponsor):
        file = world_file("naive")
        address = naive_network.deploy(sponsor, file)
        file = replace(file, contracts={CONTRACT: address})
        network = NaiveNetwork(client, file, sponsor, own["keeper"])
        network.give_coins([key.address for key in nodes.values()])
        network.fund(EPOCH, FUNDS_ATTO)
        yield World(client, network, file, nodes)


def play(name: str, root: Path) -> FraudOutcome:
    """Play a fraud of `frauds.FRAUDS`; see `Model.fraud`."""
    if name in _IMPOSSIBLE:
        return impossible(name, _IMPOSSIBLE[name])
    with world(root) as play_world:
        return _PLAYS[name](name, play_world)


_IMPOSSIBLE: Final = {
    "censored-node": "nobody collects: each node sends its jobs itself, and anyone may send transactions",
    "friend-jobs": "nobody collects: a job counts for the account that sends it, and the friend's key is the friend's",
    "withheld-data": "nothing is committed to: a job's data is the transaction itself",
}
"""Fraud -> why nobody is in the place to commit it."""


def _taken(name: str, here: World, what: str) -> FraudOutcome:
    """Return the outcome of a report that should have been taken, when all is settled."""
    link = here.broken()
    gain = here.gain_atto()
    if link is not None:
        return FraudOutcome(
            fraud=name, ending=Ending.CAUGHT, by="verify", how=f"link {link} breaks", gain_atto=gain
        )
    how = f"{what} were stored, summed and paid like all others; verify holds"
    return FraudOutcome(fraud=name, ending=Ending.UNNOTICED, by="nobody", how=how, gain_atto=gain)


def _one_refused_job(
    extra: Callable[[], NodeJob], what: str
) -> Callable[[str, World], FraudOutcome]:
    def run(name: str, here: World) -> FraudOutcome:
        here.submit_honest()
        reason = here.attempt(here.keys[CHEAT], "submit", extra().arguments)
        here.settle()
        return refused(name, here.gain_atto(), reason, what)

    return run


def _invented(name: str, here: World) -> FraudOutcome:
    here.submit_honest()
    made_up = [replace(job(0, i), job_id=sha256(b"invented", bytes([i]))) for i in range(JOBS)]
    here.attempt(here.keys[CHEAT], "submit_many", [one.arguments for one in made_up])
    here.settle()
    return _taken(name, here, f"{JOBS} jobs that never happened")


def _stolen_job(name: str, here: World) -> FraudOutcome:
    here.submit_honest()
    seen = [job(1, i).arguments for i in range(JOBS)]
    here.attempt(here.keys[CHEAT], "submit_many", seen)
    here.settle()
    return _taken(name, here, f"{JOBS} of node-1's job ids, read from the chain,")


def _wrong_weights(name: str, here: World) -> FraudOutcome:
    here.submit_honest()
    here.network.close_epoch(EPOCH)
    here.network.evaluate(EPOCH, lambda _done: None)
    reason = here.attempt(here.keys[CHEAT], "evaluate", EPOCH, JOBS)
    here.network.pay(EPOCH, None)
    return refused(name, here.gain_atto(), reason, "adding jobs up a second time")


def _stolen_claim(name: str, here: World) -> FraudOutcome:
    here.submit_honest()
    here.settle()
    reason = here.attempt(here.keys[CHEAT], "collect")
    return refused(name, here.gain_atto(), reason, "collecting what was pushed to others")


_PLAYS: Final[Mapping[str, Callable[[str, World], FraudOutcome]]] = {
    "double-report": _one_refused_job(lambda: job(0, 0), "the second report of a job"),
    "invented-jobs": _invented,
    "impossible-times": _one_refused_job(
        lambda: replace(job(0, 0), job_id=bytes(32), started_s=job(0, 0).ended_s + 1),
        "a job that ends before it starts",
    ),
    "stolen-job": _stolen_job,
    "wrong-weights": _wrong_weights,
    "inflated-summary": _one_refused_job(
        lambda: replace(job(0, 0), job_id=bytes(32), value=1_000), "a job worth 1,000"
    ),
    "stolen-claim": _stolen_claim,
}
