"""An epoch of the model `offchain-store`, recomputed by an outsider: chain, store, jobs, weights, tree, claims."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.audit.evidence import Broken, Finding, Link, Step, require, run_steps
from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.function import EvaluationFunction
from meridian.evaluate.layered import runnable_layers
from meridian.evaluate.own_functions import RunPython
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import resolve
from meridian.evaluate.shipped_layers import resolve_layers
from meridian.measure.epoch import Calendar
from meridian.measure.schema import NetworkSchema
from meridian.models.offchain import Rules, StoreOutcome, evaluate_store
from meridian.models.offchain_statements import (
    UNAVAILABLE,
    Located,
    OutcomeArtefact,
    StoreResult,
    locations_chain,
)
from meridian.primitives.amounts import format_fil, proportions
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey, address_text
from meridian.primitives.keys import recover

CONTRACT: Final = "Locations"
_NOTHING: Final = Finding("nothing is granted")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the contract pins, read from it, or expected from the run's file."""

    network: bytes
    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    function_digest: bytes
    parameters_digest: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """A result that the contract took, with the signatures of its transaction."""

    result: StoreResult
    signatures: Sequence[bytes]
    transmitter: Address
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class Paid:
    """A claim that was paid."""

    node_key: NodeKey
    payee: Address
    amount: int


@dataclass(kw_only=True)
class StoreCase:
    """All that chain and store show of an epoch; checks leave what they found for later ones."""

    expected: Terms
    schema_digest: bytes
    terms: Terms
    code: bytes
    domain: Domain
    epoch: int
    located: Sequence[Located]
    chain_end: bytes
    """The contract's end of the chain of locations."""
    payees: Mapping[NodeKey, Address]
    evaluators: Sequence[Address]
    quorum: int
    budget_atto: int
    accepted: Accepted | None
    """The result that stands."""
    vetoed: int = 0
    claims: Sequence[Paid] = ()
    gas: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[NodeKey, str] = field(default_factory=dict)
    """Node ids as the run's file has them, for nodes whose jobs do not count."""
    fetch: Callable[[Located], bytes | None]
    """The jobs of a node, from the store."""
    artefact: Callable[[bytes], bytes | None]
    """What the sponsor and the evaluators put there: function, parameters, schema, layers, outcomes."""
    run_python: RunPython | None = None
    published: Any = None
    """The result that the run left; None where there is none."""

    rules: Rules | None = None
    function: EvaluationFunction | None = None
    outcome: OutcomeArtefact | None = None
    found: StoreOutcome | None = None

    def name(self, key: NodeKey) -> str:
        """Return how a node is called, its key where nobody knows."""
        return self.names.get(key, key.hex())

    def entry(self) -> dict[str, Any]:
        """Return the epoch's entry of the result document."""
        assert self.found is not None, "the evaluation was checked"
        found, accepted = self.found, self.accepted
        keys = sorted(found.weights, key=self.name)
        parts = proportions([found.weights[key] for key in keys])
        result = (
            None if accepted is None else accepted.result.digest(self.domain, self.terms.network)
        )
        return {
            "epoch": self.epoch,
            "jobs": found.jobs,
            "nodes": len(keys),
            "commitment_root": "0x" + self.chain_end.hex(),
            "report_hash": None if result is None else "0x" + result.hex(),
            "signers": sorted(address_text(one) for one in self.signers()),
            "transmitter": None if accepted is None else address_text(accepted.transmitter),
            "total_atto": str(self.budget_atto),
            "allocated_atto": str(sum(found.amounts.values())),
            "paid_atto": str(sum(one.amount for one in self.claims)),
            "gas": dict(self.gas),
            "payees": [
                {
                    "node_id": self.name(key),
                    "weight": str(found.weights[key]),
                    "proportion": part,
                    "amount_atto": str(found.amounts[key]),
                }
                for key, part in zip(keys, parts, strict=True)
            ],
        }

    def signers(self) -> list[Address]:
        """Return who signed the accepted result, as the signatures themselves say."""
        if self.accepted is None:
            return []
        digest = self.accepted.result.digest(self.domain, self.terms.network)
        return [recover(digest, signature) for signature in self.accepted.signatures]


def verify(case: StoreCase) -> list[Link]:
    """Recompute an epoch; see `meridian.audit.evidence`."""
    return run_steps(case, STEPS)


def _check_contracts(case: StoreCase) -> Finding:
    problems = []
    if not case.code.startswith(load(CONTRACT).runtime):
        problems.append(f"the deployed code is not the {CONTRACT} that this installation ships")
    for name in ("network", "genesis_s", "epoch_seconds", "first_epoch"):
        ours, theirs = getattr(case.expected, name), getattr(case.terms, name)
        if ours != theirs:
            problems.append(f"{name}: {theirs!r} on chain, {ours!r} in the file")
    require(problems, "the file and the chain disagree")
    return Finding(
        f"{CONTRACT} carries the shipped code; {case.quorum} of {len(case.evaluators)} evaluators sign"
    )


def _check_commitment(case: StoreCase) -> Finding:
    if locations_chain(case.located) != case.chain_end:
        raise Broken("the contract's locations are not those of its events")
    total = sum(one.count for one in case.located)
    return Finding(f"{len(case.located)} nodes told where {total} jobs are")


def _stored(case: StoreCase, digest: bytes, what: str) -> bytes:
    data = case.artefact(digest)
    if data is None or digest_of(data) != digest:
        raise Broken(f"the store does not hand out {what}", [cid_text(digest)])
    return data


def _check_function(case: StoreCase) -> Finding:
    digest = case.terms.function_digest
    if digest != case.expected.function_digest:
        raise Broken("the contract pins another function than the file names")
    try:
        case.function = resolve(
            digest, lambda wanted: _stored(case, wanted, "the function"), case.run_python
        )
    except NotFound as error:
        raise Broken("the function cannot be run here", [str(error)]) from None
    return Finding(f"{case.function.name} version {case.function.version}, code {digest.hex()}")


def _check_parameters(case: StoreCase) -> Finding:
    assert case.function is not None, "the function was checked"
    digest = case.terms.parameters_digest
    if digest != case.expected.parameters_digest:
        raise Broken("the contract pins other parameters than the file names")
    parameters = EvaluationParameters.decode(_stored(case, digest, "the parameters"))
    if parameters.schema != case.schema_digest:
        raise Broken("the parameters name another schema than the file")
    schema = NetworkSchema.decode(_stored(case, parameters.schema, "the schema"))
    layers = resolve_layers(parameters.layers, lambda one: _stored(case, one, "a fraud layer"))
    case.function.check(parameters.function)
    terms = case.terms
    calendar = Calendar(terms.genesis_s, terms.epoch_seconds, terms.first_epoch)
    case.rules = Rules(schema, calendar, case.function, parameters, runnable_layers(layers))
    return Finding(f"allocation {parameters.allocation}, {len(layers)} fraud layers")


def _check_manifest(case: StoreCase) -> Finding:
    if not case.located and case.accepted is None:
        case.outcome = OutcomeArtefact(case.epoch, {}, {})
        return Finding("nothing was told, so there is nothing to evaluate")
    if case.accepted is None:
        raise Broken(f"there is no result of epoch {case.epoch}")
    data = _stored(case, case.accepted.result.outcome, "the outcome that was signed")
    case.outcome = OutcomeArtefact.decode(data)
    told = {one.node_key for one in case.located}
    named = case.outcome.weights.keys() | case.outcome.excluded.keys()
    if case.outcome.epoch != case.epoch or named != told:
        raise Broken("the outcome is not about the nodes that told where their jobs are")
    return Finding(
        f"{len(case.outcome.weights)} nodes count, {len(case.outcome.excluded)} do not",
        tuple(f"{case.name(key)}: {why}" for key, why in case.outcome.excluded.items()),
    )


def _check_jobs(case: StoreCase) -> Finding:
    assert case.outcome is not None, "the manifest was checked"
    assert case.rules is not None, "the parameters were checked"
    given_up = {key for key, why in case.outcome.excluded.items() if why == UNAVAILABLE}
    case.found = evaluate_store(
        case.rules,
        case.epoch,
        case.located,
        case.payees,
        case.budget_atto,
        case.fetch,
        given_up,
    )
    lost = [key for key, why in case.found.excluded.items() if why == UNAVAILABLE]
    require(
        [case.name(key) for key in lost if key not in given_up],
        "the store does not hand out the jobs of nodes that were counted",
    )
    notes = [f"{case.name(key)}: a quorum found its jobs unavailable" for key in sorted(given_up)]
    return Finding(f"{case.found.jobs} jobs of {len(case.found.weights)} nodes", tuple(notes))


def _check_evaluation(case: StoreCase) -> Finding:
    assert case.outcome is not None, "the manifest was checked"
    assert case.found is not None, "the jobs were checked"
    theirs, ours = case.outcome, case.found
    problems = [
        f"{case.name(key)}: {theirs.weights.get(key, 'excluded')}, computed here"
        f" {ours.weights.get(key, 'excluded')}"
        for key in sorted(theirs.weights.keys() | ours.weights.keys())
        if theirs.weights.get(key) != ours.weights.get(key)
    ]
    if not problems and theirs.excluded != dict(ours.excluded):
        problems = ["other reasons for leaving nodes out"]
    require(problems, "the weights are not those of the jobs")
    return Finding(f"{len(ours.weights)} weights, {sum(ours.weights.values())} in all")


def _check_rewards(case: StoreCase) -> Finding:
    assert case.found is not None, "the jobs were checked"
    if case.accepted is None:
        return _NOTHING
    signed, ours = case.accepted.result, case.found.claims
    if signed.total > case.budget_atto:
        raise Broken(f"{signed.total} atto were granted, {case.budget_atto} were funded")
    if (signed.reward_root, signed.total) != (ours.reward_root, ours.total):
        raise Broken("the tree of claims does not follow from the weights")
    return Finding(f"{len(ours.claims)} claims of {format_fil(ours.total)} in all")


def _check_report(case: StoreCase) -> Finding:
    assert case.found is not None, "the jobs were checked"
    assert case.rules is not None, "the parameters were checked"
    if case.accepted is None:
        return _NOTHING
    if case.accepted.result != case.found.result(case.located, case.rules):
        raise Broken("the accepted result is not the one that follows")
    notes = [f"{case.vetoed} results were vetoed before"] * bool(case.vetoed)
    return Finding("the accepted result names this input, function and tree", tuple(notes))


def _check_signatures(case: StoreCase) -> Finding:
    if case.accepted is None:
        return _NOTHING
    try:
        signers = case.signers()
    except InvalidInput as error:
        raise Broken("a signature of the result is none", [str(error)]) from None
    require(
        [address_text(one) for one in signers if one not in case.evaluators],
        "somebody signed who is no evaluator",
    )
    if len(set(signers)) < case.quorum:
        raise Broken(f"{len(set(signers))} evaluators signed, {case.quorum} are needed")
    return Finding(f"{len(signers)} evaluators signed", tuple(map(address_text, signers)))


def _check_claims(case: StoreCase) -> Finding:
    assert case.found is not None, "the jobs were checked"
    due = case.found.claims.claims
    problems = []
    seen: set[NodeKey] = set()
    for paid in case.claims:
        claim = due.get(paid.node_key)
        if claim is None or (claim.payee, claim.cumulative) != (paid.payee, paid.amount):
            problems.append(f"{case.name(paid.node_key)} was paid {paid.amount}")
        if paid.node_key in seen:
            problems.append(f"{case.name(paid.node_key)} was paid twice")
        seen.add(paid.node_key)
    require(problems, "the payments are not the claims")
    if case.published is not None and case.published != case.entry():
        raise Broken("the published result does not follow")
    waiting = len(due) - len(seen)
    notes = [f"{waiting} nodes wait for their share"] * bool(waiting)
    paid_atto = sum(one.amount for one in case.claims)
    return Finding(f"{len(seen)} claims were paid, {format_fil(paid_atto)} in all", tuple(notes))


STEPS: Final[tuple[Step[StoreCase], ...]] = (
    Step("contracts", (), _check_contracts),
    Step("commitment", ("contracts",), _check_commitment),
    Step("function", ("contracts",), _check_function),
    Step("parameters", ("function",), _check_parameters),
    Step("manifest", ("commitment",), _check_manifest),
    Step("jobs", ("manifest", "parameters"), _check_jobs),
    Step("evaluation", ("jobs",), _check_evaluation),
    Step("rewards", ("jobs",), _check_rewards),
    Step("report", ("jobs",), _check_report),
    Step("signatures", ("manifest",), _check_signatures),
    Step("claims", ("jobs",), _check_claims),
)
