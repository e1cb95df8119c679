"""Disputes: verdicts and their money, challenges, cases."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_abi import encode
from model.rule_state import NO_DIGEST, NOBODY, Transaction, must
from model.tree_rules import (
    JOBS,
    NODES,
    job_count,
    must_be_job_root,
    must_be_root,
    row_root,
)

from meridian.contracts.deployment import DisputeTerms
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

WITHHELD, RULING = 6, 7
PPM = 10**6


@dataclass(frozen=True, slots=True)
class Challenge:
    """A demand to show something; `is_open` until it is answered or resolved."""

    challenger: Address
    until: int
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """What waits for the arbiter."""

    escalator: Address
    epoch: int
    until: int


@dataclass
class DisputesState:
    """What Disputes remembers."""

    challenges: dict[bytes, Challenge] = field(default_factory=dict)
    cases: dict[int, Case] = field(default_factory=dict)
    case_count: int = 0
    convicted: frozenset[tuple[int, int, Address]] = frozenset()


class DisputesRules:
    """The calls and views of Disputes."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = DisputesState()

    @property
    def terms(self) -> DisputeTerms:
        terms = self.network.parameters.disputes
        assert terms is not None
        return terms

    def _me(self) -> Transaction:
        return Transaction(self.network.address("disputes"))

    # ---- verdicts

    def convict_aggregator(
        self, tx: Transaction, kind: int, commitment: Any, winner: Address, harmed: Address
    ) -> None:
        must(tx.sender == self.network.address("commitment_proofs"), "disputes: sender")
        must(self._convict_aggregator(kind, commitment, winner, harmed), "disputes: convicted")

    def _convict_aggregator(
        self, kind: int, commitment: Any, winner: Address, harmed: Address
    ) -> bool:
        """Void what can still be kept back, and take the author's stake."""
        epoch, guilty, *_ = commitment
        paid = self.network.evaluations.unlocked(epoch)
        if not paid:
            self.network.commitments.void(self._me(), *commitment)
            if not self.network.evaluations.is_abandoned(epoch):
                self.network.evaluations.void(self._me(), epoch)
        stake = self.network.commitments.slash(self._me(), guilty)
        if paid and not self._is_news(kind, epoch, guilty, stake):
            return False
        self._share(stake, winner, harmed)
        self._tell_verdict(epoch, kind, guilty, winner, stake)
        return True

    def _tell_verdict(
        self, epoch: int, kind: int, guilty: Address, winner: Address, stake: int
    ) -> None:
        self.network.tell(
            "Verdict", epoch=epoch, kind=kind, guilty=guilty, winner=winner, stake=stake
        )

    def convict_signer(
        self, tx: Transaction, kind: int, aggregator: Address, winner: Address
    ) -> None:
        must(tx.sender == self.network.address("commitment_proofs"), "disputes: sender")
        stake = self.network.commitments.slash(self._me(), aggregator)
        must(self._is_news(kind, 0, aggregator, stake), "disputes: convicted")
        self._share(stake, winner)
        self._tell_verdict(0, kind, aggregator, winner, stake)

    def convict_evaluators(
        self,
        tx: Transaction,
        kind: int,
        epoch: int,
        wrong_report: bytes,
        guilty: Sequence[Address],
        winner: Address,
    ) -> None:
        must(tx.sender == self.network.address("report_proofs"), "disputes: sender")
        evaluations = self.network.evaluations
        stands = wrong_report != NO_DIGEST and evaluations.report_hash(epoch) == wrong_report
        if stands and not evaluations.unlocked(epoch):
            evaluations.void(self._me(), epoch)
        self._convict_evaluators(kind, epoch, guilty, winner)

    def _convict_evaluators(
        self, kind: int, epoch: int, guilty: Sequence[Address], winner: Address
    ) -> None:
        total = 0
        for account in guilty:
            stake = self.network.registry.slash_evaluator(self._me(), account)
            if self._is_news(kind, epoch, account, stake):
                total += stake
                self._tell_verdict(epoch, kind, account, winner, stake)
        self._share(total, winner)

    def _is_news(self, kind: int, epoch: int, guilty: Address, stake: int) -> bool:
        """Whether a verdict takes something, or says what none said before."""
        said = (kind, epoch, guilty)
        if stake == 0 and said in self.state.convicted:
            return False
        self.state.convicted |= {said}
        return True

    def _share(self, stake: int, winner: Address, harmed: Address = NOBODY) -> None:
        """A part is burned; of the rest half goes to who was harmed, the other half or all to the winner."""
        rest = stake - stake * self.terms.burn_ppm // PPM
        half = rest // 2 if harmed != NOBODY else 0
        self._pay(harmed, half)
        self._pay(winner, rest - half)

    def _pay(self, account: Address, amount: int) -> None:
        """Who refuses the money leaves it here, to be burned."""
        if amount:
            with self.network.locked("disputes"):
                self.network.pay("disputes", account, amount)

    def sweep(self, tx: Transaction) -> int:
        amount = self.network.balance(self.network.address("disputes")) - self.locked()
        must(amount, "disputes: nothing")
        self.network.pay("disputes", self.terms.burn_address, amount)
        return amount

    # ---- challenges

    def challenge(
        self,
        tx: Transaction,
        commitment: Any,
        node_index: int,
        row: bytes,
        path: Any,
        job_index: int,
    ) -> bytes:
        must(tx.value == self.terms.bond_atto, "disputes: bond")
        if row:
            must_be_root(commitment, row_root(NODES, row, node_index, commitment[3], path))
            must(job_index < job_count(row), "disputes: index")
        else:
            must(not path and job_index == 0, "disputes: index")
            must(node_index < commitment[3], "disputes: index")
        must(self.network.commitments.is_commitment(*commitment), "disputes: commitment")
        epoch, aggregator, *_ = commitment
        self._must_be_locked(epoch)
        name = challenge_id(commitment, node_index, job_index, bool(row))
        must(name not in self.state.challenges, "disputes: challenged")
        until = self.network.now_s + self.terms.response_seconds
        self.state.challenges[name] = Challenge(tx.sender, until)
        self._hold(epoch, until + self.terms.response_seconds)
        self.network.tell(
            "Opened",
            epoch=epoch,
            challenge_id=name,
            challenger=tx.sender,
            aggregator=aggregator,
            node_index=node_index,
            job_index=job_index,
            of_job=bool(row),
            until=until,
        )
        return name

    def _must_be_locked(self, epoch: int) -> None:
        must(not self.network.evaluations.unlocked(epoch), "disputes: unlocked")
        must(not self.network.evaluations.is_abandoned(epoch), "disputes: abandoned")

    def _hold(self, epoch: int, until: int) -> None:
        if self.network.evaluations.report_hash(epoch) != NO_DIGEST:
            self.network.rewards.hold(self._me(), epoch, until)

    def answer(
        self,
        tx: Transaction,
        commitment: Any,
        node_index: int,
        row: bytes,
        path: Any,
        job_index: int,
        job_row: bytes,
        job_path: Any,
    ) -> None:
        must_be_root(commitment, row_root(NODES, row, node_index, commitment[3], path))
        if job_row:
            top = row_root(JOBS, job_row, job_index, job_count(row), job_path)
            must_be_job_root(row, top)
        else:
            must(not job_path and job_index == 0, "disputes: index")
        name = challenge_id(commitment, node_index, job_index, bool(job_row))
        known = self._open(name)
        must(self.network.now_s <= known.until, "disputes: late")
        self._close(name, known)
        self._pay(commitment[1], self.terms.bond_atto)
        self.network.tell("Answered", epoch=commitment[0], challenge_id=name)

    def resolve(
        self, tx: Transaction, commitment: Any, node_index: int, job_index: int, of_job: bool
    ) -> None:
        name = challenge_id(commitment, node_index, job_index, of_job)
        known = self._open(name)
        stands = self.network.commitments.is_commitment(*commitment)
        must(not stands or self.network.now_s > known.until, "disputes: early")
        self._close(name, known)
        if stands:
            self._convict_aggregator(WITHHELD, commitment, known.challenger, NOBODY)
        self._pay(known.challenger, self.terms.bond_atto)
        self.network.tell("Resolved", epoch=commitment[0], challenge_id=name, guilty=stands)

    def _open(self, name: bytes) -> Challenge:
        known = self.state.challenges.get(name)
        must(known is not None and known.is_open, "disputes: no challenge")
        assert known
        return known

    def _close(self, name: bytes, known: Challenge) -> None:
        self.state.challenges[name] = Challenge(known.challenger, known.until, is_open=False)

    # ---- cases

    def escalate(self, tx: Transaction, epoch: int, accusation: bytes, uri: str) -> int:
        must(tx.value == self.terms.bond_atto, "disputes: bond")
        must(self.network.registry.epoch_set(epoch), "disputes: epoch")
        self._must_be_locked(epoch)
        case = self.state.case_count = self.state.case_count + 1
        until = self.network.referees.open_case(self._me(), case, epoch, accusation)
        self.state.cases[case] = Case(tx.sender, epoch, until)
        self._hold(epoch, until + self.terms.response_seconds)
        self.network.tell(
            "Escalated",
            case_id=case,
            epoch=epoch,
            escalator=tx.sender,
            accusation=accusation,
            uri=uri,
            until=until,
        )
        return case

    def rule(
        self,
        tx: Transaction,
        case_id: int,
        guilty: Sequence[Address],
        wrong: Sequence[Any],
        voids: bool,
    ) -> None:
        must(tx.sender == self.network.address("referees"), "disputes: sender")
        case = self._case(case_id)
        del self.state.cases[case_id]
        pledge = self.terms.bond_atto
        upheld = bool(voids or guilty or wrong)
        if upheld:
            self._carry_out(case, guilty, wrong, voids)
        else:
            pledge -= pledge * self.terms.burn_ppm // PPM
        self._pay(case.escalator, pledge)
        self.network.tell("Ruled", case_id=case_id, upheld=upheld)

    def _carry_out(
        self, case: Case, guilty: Sequence[Address], wrong: Sequence[Any], voids: bool
    ) -> None:
        for commitment in wrong:
            must(commitment[0] == case.epoch, "disputes: epoch")
            if self.network.commitments.is_commitment(*commitment):
                self._convict_aggregator(RULING, commitment, case.escalator, NOBODY)
        if voids and not self.network.evaluations.unlocked(case.epoch):
            self.network.evaluations.void(self._me(), case.epoch)
        members = self.network.registry.committee(case.epoch)
        must(all(account in members for account in guilty), "disputes: member")
        if guilty:
            self._convict_evaluators(RULING, case.epoch, guilty, case.escalator)

    def _case(self, case_id: int) -> Case:
        must(case_id in self.state.cases, "disputes: no case")
        return self.state.cases[case_id]

    def expire(self, tx: Transaction, case_id: int) -> None:
        case = self._case(case_id)
        over = self.network.now_s > case.until + self.terms.response_seconds
        must(over, "disputes: early")
        del self.state.cases[case_id]
        self._pay(case.escalator, self.terms.bond_atto)
        self.network.tell("Ruled", case_id=case_id, upheld=False)

    # ---- views

    def locked(self) -> int:
        """Bonds of what is open."""
        challenges = sum(1 for known in self.state.challenges.values() if known.is_open)
        return self.terms.bond_atto * (challenges + len(self.state.cases))

    def open_challenge(self, name: bytes) -> tuple[Address, int]:
        known = self.state.challenges.get(name)
        return (known.challenger, known.until) if known and known.is_open else (NOBODY, 0)

    def cases(self, case_id: int) -> tuple[Address, int, int]:
        case = self.state.cases.get(case_id, Case(NOBODY, 0, 0))
        return case.escalator, case.epoch, case.until

    def case_count(self) -> int:
        return self.state.case_count


def challenge_id(commitment: Any, node_index: int, job_index: int, of_job: bool) -> bytes:
    """The name of a demand."""
    types = ["(uint64,address,bytes32,uint64,bytes24,bytes32)", "uint64", "uint64", "bool"]
    return keccak(encode(types, [commitment, node_index, job_index, of_job]))
