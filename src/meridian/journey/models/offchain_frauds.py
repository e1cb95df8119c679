"""The ten frauds against the model `offchain-store`, each played on a chain and a store of its own.

The cheat is node 0. What it gains is what the contract paid its account, less its share by the honest jobs alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meridian.errors import NotFound, Reverted
from meridian.journey.models import offchain_network
from meridian.journey.models.model import Ending, FraudOutcome
from meridian.journey.models.offchain_network import claim_arguments
from meridian.journey.models.offchain_world import (
    CHEAT,
    EPOCH,
    FUNDS_ATTO,
    JOBS,
    VICTIM,
    Job,
    World,
    honest_jobs,
    segment,
    world,
)
from meridian.models.offchain import StoreOutcome
from meridian.models.offchain_statements import location, result_words
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, NodeKey, node_key
from meridian.primitives.keys import PrivateKey
from meridian.reward.claims import ClaimsState


def play(name: str, root: Path) -> FraudOutcome:
    """Play a fraud of `frauds.FRAUDS`; see `Model.fraud`."""
    if name not in _PLAYS:
        raise NotFound(f"no fraud {name!r}")
    with world(root) as here:
        return _PLAYS[name](name, here)


# -- what a node may do ---------------------------------------------------------------------------


def _bad_object(
    change: Callable[[list[Job]], list[Job]], node: str = CHEAT
) -> Callable[[str, World], FraudOutcome]:
    """Return a play in which the cheat's object should not count."""

    def run(name: str, here: World) -> FraudOutcome:
        here.put_honest()
        jobs = change(honest_jobs(0))
        here.put(CHEAT, segment(node, jobs), len(jobs))
        here.locate()
        return _excluded(name, here)

    return run


def _excluded(name: str, here: World) -> FraudOutcome:
    """Settle, and tell whether the cheat's object counted."""
    outcome = here.settle()
    reason = outcome.excluded.get(node_key(CHEAT))
    link = here.broken()
    if reason is None or link is not None:
        return _unnoticed(name, here, "the object was counted")
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED,
        by="evaluators",
        how=f"the whole object does not count: {reason}",
        gain_atto=here.gain_atto(),
    )


def _counted(
    change: Callable[[list[Job]], list[Job]], what: str
) -> Callable[[str, World], FraudOutcome]:
    """Return a play in which the cheat's object counts."""

    def run(name: str, here: World) -> FraudOutcome:
        here.put_honest()
        jobs = change(honest_jobs(0))
        here.put(CHEAT, segment(CHEAT, jobs), len(jobs))
        here.locate()
        here.settle()
        return _unnoticed(name, here, what)

    return run


def _unnoticed(name: str, here: World, what: str) -> FraudOutcome:
    link = here.broken()
    if link is not None:
        how = f"{what}; link {link.name} breaks: {link.detail}"
        return FraudOutcome(
            fraud=name, ending=Ending.CAUGHT, by="verify", how=how, gain_atto=here.gain_atto()
        )
    how = f"{what}; the evaluators count it, and verify holds"
    return FraudOutcome(
        fraud=name, ending=Ending.UNNOTICED, by="nobody", how=how, gain_atto=here.gain_atto()
    )


def _impossible_times(jobs: list[Job]) -> list[Job]:
    return [replace(jobs[0], started_s=jobs[0].ended_s + 1), *jobs[1:]]


def _invented(jobs: list[Job]) -> list[Job]:
    return jobs + [replace(job, name=f"never-{job.name}") for job in jobs]


def _stolen_job(name: str, here: World) -> FraudOutcome:
    """The victim's job ids in an object of the cheat's own; and, the second play, the victim's object as it is."""
    here.put_honest()
    jobs = honest_jobs(0) + honest_jobs(1)
    here.put(CHEAT, segment(CHEAT, jobs), len(jobs))
    here.locate()
    here.settle()
    first = _unnoticed(name, here, f"{JOBS} job ids of {VICTIM} in an object of the cheat's own")
    with world(here.root / "second") as second:
        second.put_honest()
        second.put(CHEAT, segment(VICTIM, honest_jobs(1)))
        second.locate()
        reason = second.settle().excluded.get(node_key(CHEAT), "it counted")
    return replace(first, otherwise=f"{VICTIM}'s object as it is under the cheat's key: {reason}")


def _inflated(name: str, here: World) -> FraudOutcome:
    here.put_honest()
    here.told[CHEAT] = replace(here.told[CHEAT], count=1_000)
    here.locate()
    return _excluded(name, here)


def _withheld(name: str, here: World) -> FraudOutcome:
    """Withheld from the beginning; and, the second play, once the result is paid."""
    here.put_honest()
    here.store.withdraw(here.keys[CHEAT].address, here.told[CHEAT].object)
    here.locate()
    first = _excluded(name, here)
    victim = here.told[VICTIM]
    here.store.withdraw(here.keys[VICTIM].address, victim.object)
    link = here.broken()
    assert link is not None, "an object that was counted is gone"
    otherwise = f"withdrawn after it was counted: link {link.name} breaks, {', '.join(link.items)}"
    return replace(first, otherwise=otherwise)


# -- what others may do ---------------------------------------------------------------------------


def _censored(name: str, here: World) -> FraudOutcome:
    """The relayer keeps a node's location to itself; the node has anybody else send it."""
    here.put_honest()
    here.locate(without=VICTIM)
    refusal = here.send("mallory", "locate_many", EPOCH, [here.signed(VICTIM)])
    outcome = here.settle()
    if refusal or node_key(VICTIM) not in outcome.weights:
        return _unnoticed(name, here, "the node's location did not come through")
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED,
        by="contract",
        how="the relayer left the location out; it counts, as anybody may send it before the cut-off",
        gain_atto=here.gain_atto(),
        otherwise="evaluators: see wrong-weights; a quorum that calls an object unavailable is believed,"
        " and named by verify",
    )


def _friend(name: str, here: World) -> FraudOutcome:
    """The relayer tells a location of its own for a friend."""
    here.put_honest()
    jobs = _invented(honest_jobs(0))
    told = here.put(CHEAT, segment(CHEAT, jobs), len(jobs))
    forged = location(
        here.network.domain,
        here.network.network,
        PrivateKey(sha256(b"offchain", b"relayer")),
        EPOCH,
        told,
    )
    reason = here.send("relayer", "locate_many", EPOCH, [forged])
    here.put(CHEAT, segment(CHEAT, honest_jobs(0)))
    here.locate()
    here.settle()
    return _refused(name, here, reason, "a location that the node did not sign")


def _refused(name: str, here: World, reason: str, what: str, otherwise: str = "") -> FraudOutcome:
    gain = here.gain_atto()
    if not reason or gain > 0:
        return _unnoticed(name, here, f"{what} was taken")
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED,
        by="contract",
        how=f"{what} reverted: {reason}",
        gain_atto=gain,
        otherwise=otherwise,
    )


def _favoured(outcome: StoreOutcome) -> StoreOutcome:
    """Return an outcome in which the cheat gets everything."""
    key = node_key(CHEAT)
    payee = outcome.claims.claims[key].payee
    return replace(
        outcome,
        weights={**outcome.weights, key: 10**6},
        amounts={**dict.fromkeys(outcome.amounts, 0), key: FUNDS_ATTO},
        claims=ClaimsState.empty().advance({key: (payee, FUNDS_ATTO)}),
    )


def _wrong_weights(name: str, here: World) -> FraudOutcome:
    """Two of four evaluators sign a wrong result; and, the second play, all do, and the referee looks."""
    here.put_honest()
    here.locate()
    honest = here.found()
    wrong = _favoured(honest)
    reason = ""
    try:
        here.report(wrong, 2)
    except Reverted as refusal:
        reason = refusal.reason
    here.report(wrong)
    link = here.broken()
    assert link is not None, "wrong weights were reported"
    vetoed = here.send("referee", "veto", EPOCH)
    again = here.send("relayer", "report", *_arguments(here, wrong))
    here.report(honest)
    here.pay(honest)
    assert not vetoed, "the window is open"
    otherwise = (
        f"signed by all: link {link.name} breaks, the referee vetoes in the window, the same again"
        f" reverts: {again}"
    )
    return _refused(name, here, reason, "a wrong result with 2 of 4 signatures", otherwise)


def _arguments(here: World, outcome: StoreOutcome) -> tuple[Any, ...]:
    located = offchain_network.located_in(here.network.contract, EPOCH)
    result = outcome.result(located, here.rules)
    digest = result.digest(here.network.domain, here.network.network)
    signatures = {key.address: key.sign(digest) for key in here.evaluators}
    words = result_words(signatures, here.network.evaluators)
    return result.arguments, words


def _stolen_claim(name: str, here: World) -> FraudOutcome:
    """Somebody claims a node's share for the cheat's account."""
    here.put_honest()
    here.locate()
    outcome = here.found()
    here.report(outcome)
    here.wait(here.network.contract.read("unlock_at", EPOCH))
    epoch, key, _, *rest = claim_arguments(outcome, NodeKey(node_key(VICTIM)))
    account: Address = here.keys[CHEAT].address
    reason = here.send("mallory", "claim_many", [(epoch, key, account, *rest)])
    here.pay(outcome)
    return _refused(name, here, reason, "a claim to another account")


_PLAYS: Final[Mapping[str, Callable[[str, World], FraudOutcome]]] = {
    "double-report": _bad_object(lambda jobs: [*jobs, jobs[0]]),
    "invented-jobs": _counted(_invented, f"{JOBS} jobs that never happened"),
    "impossible-times": _bad_object(_impossible_times),
    "stolen-job": _stolen_job,
    "censored-node": _censored,
    "friend-jobs": _friend,
    "wrong-weights": _wrong_weights,
    "withheld-data": _withheld,
    "inflated-summary": _inflated,
    "stolen-claim": _stolen_claim,
}
