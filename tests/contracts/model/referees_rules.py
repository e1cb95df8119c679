"""Referees: a pinned committee rules on what arithmetic cannot settle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_abi import encode
from model.rule_state import NO_DIGEST, NOBODY, Transaction, must, signer_of

from meridian.contracts.statements import RULING
from meridian.primitives.eip712 import digest, keccak
from meridian.primitives.ids import Address
from meridian.primitives.quorum import quorum

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

Words = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Case:
    """A case; `until` is 0 when it is over."""

    epoch: int = 0
    until: int = 0
    accusation: bytes = NO_DIGEST


@dataclass
class RefereesState:
    """What Referees remembers."""

    deposits: dict[Address, int] = field(default_factory=dict)
    cases: dict[int, Case] = field(default_factory=dict)
    busy_until: int = 0


class RefereesRules:
    """The calls and views of Referees."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = RefereesState()
        terms = network.parameters.disputes
        self.listed: tuple[Address, ...] = terms.referees if terms else ()
        self.least = terms.referee_stake_min_atto if terms else 0
        self.voting_seconds = terms.voting_seconds if terms else 0

    def deposit(self, tx: Transaction) -> None:
        must(tx.sender in self.listed, "referees: referee")
        must(tx.value, "referees: nothing")
        self.state.deposits[tx.sender] = self.deposits(tx.sender) + tx.value
        self.network.tell("Deposited", referee=tx.sender, amount=tx.value)

    def withdraw(self, tx: Transaction) -> None:
        must(self.network.now_s > self.state.busy_until, "referees: busy")
        amount = self.deposits(tx.sender)
        must(amount, "referees: nothing")
        self.state.deposits[tx.sender] = 0
        self._pay(tx.sender, amount)
        self.network.tell("Withdrawn", referee=tx.sender, amount=amount)

    def _pay(self, account: Address, amount: int) -> None:
        with self.network.locked("referees"):
            must(self.network.pay("referees", account, amount), "")

    def open_case(self, tx: Transaction, case_id: int, epoch: int, accusation: bytes) -> int:
        must(tx.sender == self.network.address("disputes"), "referees: sender")
        until = self.network.now_s + self.voting_seconds
        self.state.cases[case_id] = Case(epoch, until, accusation)
        self.state.busy_until = until + self.voting_seconds
        self.network.tell(
            "CaseOpened", case_id=case_id, epoch=epoch, accusation=accusation, until=until
        )
        return until

    def decide(
        self,
        tx: Transaction,
        case_id: int,
        guilty: Sequence[Address],
        wrong: Sequence[Any],
        voids: bool,
        signatures: Sequence[Words],
    ) -> None:
        case = self._waiting(case_id)
        must(self.network.now_s <= case.until, "referees: late")
        must(len(signatures) >= self.quorum(), "referees: quorum")
        ruling = self.ruling(case_id, *lists_digests(guilty, wrong), voids)
        last = NOBODY
        for words in signatures:
            signer = signer_of(ruling, *words)
            must(signer > last, "referees: signature")
            must(signer in self.listed, "referees: referee")
            must(self.deposits(signer) >= self.least, "referees: stake")
            last = signer
        self._end(case_id, case, guilty, wrong, voids, len(signatures))

    def _waiting(self, case_id: int) -> Case:
        case = self.state.cases.get(case_id, Case())
        must(case.until, "referees: no case")
        return case

    def _end(
        self,
        case_id: int,
        case: Case,
        guilty: Sequence[Address],
        wrong: Sequence[Any],
        voids: bool,
        votes: int,
    ) -> None:
        self.state.cases[case_id] = Case(case.epoch, 0, case.accusation)
        me = Transaction(self.network.address("referees"))
        with self.network.locked("referees"):
            self.network.disputes.rule(me, case_id, guilty, wrong, voids)
        self.network.tell("Decided", case_id=case_id, votes=votes)

    def dismiss(self, tx: Transaction, case_id: int) -> None:
        case = self._waiting(case_id)
        must(self.network.now_s > case.until, "referees: early")
        self._end(case_id, case, (), (), False, 0)

    def contradiction(
        self,
        tx: Transaction,
        case_id: int,
        guilty: Sequence[bytes],
        wrong: Sequence[bytes],
        voids: Sequence[bool],
        signatures: Sequence[Words],
    ) -> None:
        case = self.state.cases.get(case_id, Case())
        must(case.epoch or case.accusation != NO_DIGEST, "referees: no case")
        rulings = list(zip(guilty, wrong, voids, strict=True))
        must(rulings[0] != rulings[1], "referees: right")
        signers = {
            signer_of(self.ruling(case_id, *said), *words)
            for said, words in zip(rulings, signatures, strict=True)
        }
        must(len(signers) == 1 and NOBODY not in signers, "referees: signature")
        (signer,) = signers
        stake = self.deposits(signer)
        must(stake, "referees: stake")
        self.state.deposits[signer] = 0
        self.network.tell(
            "Contradicted", case_id=case_id, referee=signer, winner=tx.sender, stake=stake
        )
        self._pay(tx.sender, stake // 2)

    def ruling(self, case_id: int, guilty: bytes, wrong: bytes, voids: bool) -> bytes:
        """What a referee signs."""
        case = self.state.cases.get(case_id, Case())
        network = self.network.parameters.network
        words = (network, case_id, case.epoch, case.accusation, guilty, wrong, int(voids))
        return digest(self.network.domain("referees"), RULING.hash(*words))

    # ---- views

    def deposits(self, account: Address) -> int:
        return self.state.deposits.get(account, 0)

    def cases(self, case_id: int) -> tuple[int, int, bytes]:
        case = self.state.cases.get(case_id, Case())
        return case.epoch, case.until, case.accusation

    def busy_until(self) -> int:
        return self.state.busy_until

    def referees(self) -> tuple[Address, ...]:
        return self.listed

    def quorum(self) -> int:
        return quorum(len(self.listed))


def lists_digests(guilty: Sequence[Address], wrong: Sequence[Any]) -> tuple[bytes, bytes]:
    """The Keccak-256 of the encodings of a ruling's two lists."""
    commitment = "(uint64,address,bytes32,uint64,bytes24,bytes32)[]"
    return (
        keccak(encode(["address[]"], [list(guilty)])),
        keccak(encode([commitment], [list(wrong)])),
    )
