"""The ten frauds against the model `subnet`, each played on two chains of its own: ten nodes, thirty jobs each, four validators.

The cheat is node 0. What it gains is what the gateway paid it, less its share by the honest jobs alone.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from meridian.audit.evidence import Link, first_broken
from meridian.contracts.calldata import ascending_words
from meridian.errors import RemoteFault
from meridian.journey.models import subnet_network
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.model import Ending, FraudOutcome
from meridian.journey.models.node_jobs import NodeJob
from meridian.journey.models.small_world import (
    CHAIN_ID,
    CHEAT,
    EPOCH,
    FUNDS_ATTO,
    HONEST_ATTO,
    JOBS,
    VICTIM,
    attempt,
    honest_jobs,
    impossible,
    job,
    node_keys,
    refused,
    world_file,
)
from meridian.journey.models.subnet_chains import ChildView, ParentView
from meridian.journey.models.subnet_evidence import read_epochs
from meridian.journey.models.subnet_network import SubnetNetwork, claim_arguments
from meridian.journey.models.subnet_validator import Validator, replay
from meridian.models.subnet import Checkpoint, next_checkpoint
from meridian.models.subnet_audit import verify
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.primitives.amounts import format_fil
from meridian.primitives.hashing import sha256
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum
from meridian.reward.claims import ClaimsState

VALIDATORS: Final = 4
CHILD_CHAIN_ID: Final = 31338


@dataclass
class World:
    """The network of a play."""

    parent: EmbeddedChain
    child: EmbeddedChain
    network: SubnetNetwork
    file: ModelFile
    keys: Mapping[str, PrivateKey]
    validator_keys: list[PrivateKey]

    def submit_honest(self, without: Collection[str] = ()) -> None:
        """Let the nodes send their jobs."""
        jobs = {node: own for node, own in honest_jobs().items() if node not in without}
        self.network.submit(EPOCH, jobs, self.keys, {}, lambda _done: None)

    def close(self) -> None:
        """Close the epoch on the child and add it up."""
        self.network.close_and_evaluate(EPOCH, lambda _done: None)

    def settle(self) -> None:
        """Close, add up, checkpoint and pay."""
        self.close()
        self.network.settle(EPOCH)
        self.network.pay(None)

    def gain_atto(self) -> int:
        """Return what the cheat was paid beyond its share by honest jobs."""
        account = self.keys[CHEAT].address
        paid = sum(one[1] for one in self.network.parent.paid("Claimed") if one[0] == account)
        return paid - HONEST_ATTO

    def broken(self, *, shown: bool = True) -> Link | None:
        """Return the first broken link that `verify` finds, with the child chain or without it."""
        child = self.network.child if shown else None
        [case] = read_epochs(self.network.parent, child, self.file, [EPOCH])
        return first_broken(verify(case))

    def on_child(self, function: str, *arguments: object) -> str:
        """Send a call of the cheat's; returns why it reverted, or an empty text."""
        contract = self.network.child.contract
        key = self.keys[CHEAT]
        return attempt(self.child, CHILD_CHAIN_ID, key, contract, function, *arguments)

    def on_parent(self, function: str, *arguments: object) -> str:
        """Send a call of the cheat's; returns why it reverted, or an empty text."""
        gateway = self.network.parent.gateway
        return attempt(self.parent, CHAIN_ID, self.keys[CHEAT], gateway, function, *arguments)


@contextlib.contextmanager
def world(root: Path) -> Iterator[World]:
    """Set a network up: ten nodes with stake on the child, one epoch funded; both chains in this process."""
    nodes = node_keys()
    names = ("sponsor", "operator", "keeper", *(f"validator-{i}" for i in range(VALIDATORS)))
    own = {name: PrivateKey(sha256(b"subnet fraud", name.encode())) for name in names}
    signing = [own[f"validator-{i}"] for i in range(VALIDATORS)]
    rich = 10**24
    with contextlib.ExitStack() as stack:
        alloc = {own["sponsor"].address: rich, nodes[CHEAT].address: rich}
        parent = stack.enter_context(contextlib.closing(EmbeddedChain(None, CHAIN_ID, alloc)))
        alloc = {own[name].address: rich for name in ("operator", "keeper")}
        child = stack.enter_context(contextlib.closing(EmbeddedChain(None, CHILD_CHAIN_ID, alloc)))
        sponsor, operator = (
            stack.enter_context(
                contextlib.closing(Sender(client, own[name], root / "senders" / f"{name}.sqlite"))
            )
            for client, name in ((parent, "sponsor"), (child, "operator"))
        )
        file = world_file("subnet")
        file = replace(file, contracts=subnet_network.deploy_parent(sponsor, file))
        view = ParentView(parent, file)
        links = [sha256(b"link", one.address) for one in signing]
        subnet_network.register(sponsor, view, file, signing, links)
        members = view.committee(EPOCH)
        address = subnet_network.deploy_child(operator, file, members, len(nodes))
        child_view = ChildView(child, CHILD_CHAIN_ID, address)
        network = SubnetNetwork(
            file,
            view,
            child_view,
            sponsor=sponsor,
            operator=operator,
            keeper=own["keeper"],
            validators=[
                Validator(key, root / "validators" / str(i), view, child_view, EPOCH)
                for i, key in enumerate(signing)
            ],
            root=root,
        )
        network.fund(EPOCH, FUNDS_ATTO)
        network.deposit([key.address for key in nodes.values()])
        network.mint()
        yield World(parent, child, network, file, nodes, signing)


def play(name: str, root: Path) -> FraudOutcome:
    """Play a fraud of `frauds.FRAUDS`; see `Model.fraud`."""
    if name in _IMPOSSIBLE:
        return impossible(name, _IMPOSSIBLE[name])
    with world(root) as here:
        return _PLAYS[name](name, here)


_IMPOSSIBLE: Final = {
    "friend-jobs": "whoever makes the child's blocks cannot sign for the friend: a job counts for the account that sends it",
}
"""Fraud -> why nobody is in the place to commit it."""


def _taken(name: str, here: World, how: str) -> FraudOutcome:
    """Return the outcome of what the contracts took, when all is settled."""
    link, gain = here.broken(), here.gain_atto()
    if link is not None:
        how = f"link {link.name} breaks: {link.detail}"
        return FraudOutcome(fraud=name, ending=Ending.CAUGHT, by="verify", how=how, gain_atto=gain)
    how = f"{how}; verify holds"
    return FraudOutcome(fraud=name, ending=Ending.UNNOTICED, by="nobody", how=how, gain_atto=gain)


def _one_refused_job(extra: NodeJob, what: str) -> Callable[[str, World], FraudOutcome]:
    def run(name: str, here: World) -> FraudOutcome:
        here.submit_honest()
        reason = here.on_child("submit_many", [extra.arguments])
        here.settle()
        return refused(name, here.gain_atto(), reason, what)

    return run


def _more_jobs(jobs: list[NodeJob], what: str) -> Callable[[str, World], FraudOutcome]:
    def run(name: str, here: World) -> FraudOutcome:
        here.submit_honest()
        here.on_child("submit_many", [one.arguments for one in jobs])
        here.settle()
        return _taken(name, here, f"{what} were stored, summed and paid like all others")

    return run


def _censored(name: str, here: World) -> FraudOutcome:
    here.submit_honest(
        without=[VICTIM]
    )  # whoever makes the child's blocks leaves its transactions out
    here.settle()
    return _taken(
        name, here, f"the child's blocks hold no job of {VICTIM}, and the others shared its money"
    )


def _wrong_weights(name: str, here: World) -> FraudOutcome:
    """One validator proposes wrong sums alone; then a quorum of them does."""
    here.submit_honest()
    here.close()
    wrong, rewards = _wrong(here)
    refusal = ""
    try:
        here.network.commit(wrong)
    except RemoteFault as error:
        refusal = str(error)
    lies = {
        key.address: key.sign(wrong.digest(here.network.parent.domain))
        for key in here.validator_keys
    }
    alone = here.on_parent("commit", wrong.arguments, ascending_words(dict(list(lies.items())[:1])))
    gain_alone = max(here.gain_atto(), 0)
    enough = quorum(VALIDATORS)
    here.on_parent("commit", wrong.arguments, ascending_words(dict(list(lies.items())[:enough])))
    account = here.keys[CHEAT].address
    here.on_parent("claim", [claim_arguments(rewards, account)])
    link = here.broken()
    found = "holds" if link is None else f"finds link {link.name} broken"
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED if refusal and alone and not gain_alone else Ending.UNNOTICED,
        by="validators",
        how=f"{refusal}; with the liar's signature alone the gateway reverts: {alone}",
        gain_atto=gain_alone,
        otherwise=f"{enough} of {VALIDATORS} validators sign it: the gateway pays "
        f"{format_fil(here.gain_atto())} too much, verify {found}",
    )


def _wrong(here: World) -> tuple[Checkpoint, ClaimsState]:
    """Return a checkpoint that gives the victim's weight to the cheat, and the claims behind it."""
    network, child = here.network, here.network.child
    before, previous, books = replay([], child, EPOCH)
    honest = network.propose(settling=True)
    epoch = child.settled(EPOCH, honest.budget, honest.height)
    cheat, victim = here.keys[CHEAT].address, here.keys[VICTIM].address
    weights = {**epoch.weights, cheat: 2 * JOBS, victim: 0}
    state = child.state(honest.height, replace(epoch, weights=weights))
    wrong, wrong_books = next_checkpoint(before, previous, books, state)
    return wrong, wrong_books.rewards


def _withheld(name: str, here: World) -> FraudOutcome:
    here.submit_honest()
    here.settle()
    link = here.broken(shown=False)
    gain = here.gain_atto()
    if link is None:
        return FraudOutcome(
            fraud=name, ending=Ending.UNNOTICED, by="nobody", how="verify holds", gain_atto=gain
        )
    how = f"the gateway pays by signatures alone; link {link.name} breaks: {link.detail}"
    return FraudOutcome(fraud=name, ending=Ending.CAUGHT, by="verify", how=how, gain_atto=gain)


def _stolen_claim(name: str, here: World) -> FraudOutcome:
    here.submit_honest()
    here.close()
    here.network.settle(EPOCH)
    _, _, books = replay(here.network.parent.committed(), here.network.child, EPOCH)
    proof = claim_arguments(books.rewards, here.keys[VICTIM].address)
    reason = here.on_parent("claim", [(here.keys[CHEAT].address, *proof[1:])])
    here.network.pay(None)
    return refused(name, here.gain_atto(), reason, "the victim's claim with another account")


_PLAYS: Final[Mapping[str, Callable[[str, World], FraudOutcome]]] = {
    "double-report": _one_refused_job(job(0, 0), "the second report of a job"),
    "invented-jobs": _more_jobs(
        [replace(job(0, i), job_id=sha256(b"invented", bytes([i]))) for i in range(JOBS)],
        f"{JOBS} jobs that never happened",
    ),
    "impossible-times": _one_refused_job(
        replace(job(0, 0), job_id=bytes(32), started_s=job(0, 0).ended_s + 1),
        "a job that ends before it starts",
    ),
    "stolen-job": _more_jobs(
        [job(1, i) for i in range(JOBS)], f"{JOBS} of {VICTIM}'s job ids, read from the child,"
    ),
    "censored-node": _censored,
    "wrong-weights": _wrong_weights,
    "withheld-data": _withheld,
    "inflated-summary": _one_refused_job(
        replace(job(0, 0), job_id=bytes(32), value=1_000), "a job worth 1,000"
    ),
    "stolen-claim": _stolen_claim,
}
