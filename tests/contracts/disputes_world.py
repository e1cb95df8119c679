"""All eight contracts, with epochs whose jobs exist: who commits, promises, reports, accuses."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract_world import (
    DISPUTE_TERMS,
    EPOCH_S,
    FIRST,
    GENESIS_S,
    NETWORK,
    Outcome,
    World,
    account,
    key,
)
from eth_abi import encode

from meridian.contracts.calldata import ascending_words, signature_words
from meridian.contracts.deployment import Terms
from meridian.contracts.statements import RULING
from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.measure.epoch import Calendar
from meridian.primitives.eip712 import digest, keccak
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

sys.path.append(str(Path(__file__).resolve().parents[1] / "disputes"))
from published_epochs import Batch, batch, job_row, published, tree_hash

AGGREGATOR_STAKE = 10_000
BURN_PPM = 100_000
BOND = 50
RESPONSE_S = 600
VOTING_S = 500
REFEREES = tuple(sorted((key(f"referee {i}") for i in range(4)), key=lambda k: k.address))
BURN = Address(b"\xdd" * 20)
CALENDAR = Calendar(GENESIS_S, EPOCH_S, FIRST)


def us(epoch: int, offset: int = 0) -> int:
    """An instant in an epoch."""
    return CALENDAR.start_us(epoch) + (10 + offset) * 10**6


def jobs_of(epoch: int, nodes: int) -> dict[str, list[bytes]]:
    """Of node i `i % 5 + 1` jobs."""
    return {
        f"n{i}": [job_row(f"j{epoch}-{i}-{k}", us(epoch, k)) for k in range(i % 5 + 1)]
        for i in range(nodes)
    }


class DisputesWorld(World):
    """A network with disputes: aggregators with stakes, four members, four referees with deposits."""

    def __init__(self, aggregators: int = 1, members: int = 4, **changes: Any) -> None:
        terms = replace(
            DISPUTE_TERMS,
            bond_atto=BOND,
            response_seconds=RESPONSE_S,
            burn_ppm=BURN_PPM,
            burn_address=BURN,
            referees=tuple(k.address for k in REFEREES),
            referee_stake_min_atto=7,
            voting_seconds=VOTING_S,
        )
        self.dispute_terms = changes.pop("dispute_terms", terms)
        changes.setdefault("aggregator_stake_min_atto", AGGREGATOR_STAKE)
        changes.setdefault("terms", Terms(rule=1))
        super().__init__(aggregators, disputes=self.dispute_terms, **changes)
        self.deploy_judges()
        self.by_name = {contract.name: contract for contract in self.by_address.values()}
        self.hunter = account("hunter")
        self.give(self.hunter, 10**18)
        for aggregator in self.aggregators:
            if self.parameters.aggregator_stake_min_atto:
                self.commitments.send("join", sender=aggregator, value=AGGREGATOR_STAKE)
        if members:
            self.join_members(members)
        for referee in REFEREES:
            self.give(referee.address, 10**18)
            self.referees.send("deposit", sender=referee.address, value=7)

    def aggregator_key(self, at: int = 0) -> PrivateKey:
        return key(f"aggregator {at}")

    def published(self, epoch: int, jobs: Mapping[str, Sequence[bytes]], at: int = 0) -> Any:
        return published(epoch, jobs, self.aggregators[at])

    def publish(
        self, epoch: PublishedEpoch, hashed: bytes | None = None, at: int = 0
    ) -> PublishedEpoch:
        """Commit to a published epoch; the epochs before it that are missing are empty."""
        number = epoch.commitment.epoch
        aggregator = self.aggregators[at]
        for each in range(self.commitments.read("next_epoch", aggregator), number):
            self._commit(published(each, {}, aggregator), None, at)
        return self._commit(epoch, hashed, at)

    def _commit(self, epoch: PublishedEpoch, hashed: bytes | None, at: int) -> PublishedEpoch:
        c = epoch.commitment
        self.now_s = max(self.now_s, GENESIS_S + (c.epoch - FIRST + 1) * EPOCH_S)
        words = (c.epoch, hashed or tree_hash(epoch), c.n_nodes, c.annotation, c.manifest)
        (event,) = self.commitments.send("commit", *words, sender=self.aggregators[at]).events
        assert event.args["root"] == c.root
        return epoch

    def promise(
        self, jobs: Mapping[str, Sequence[bytes]], deadline: int, sequence: int = 0, at: int = 0
    ) -> Batch:
        domain = self.commitments.domain
        return batch(jobs, self.aggregator_key(at), domain, NETWORK, deadline, sequence)

    def accuse(
        self, accusation: Accusation, sender: Address | None = None, **options: Any
    ) -> Outcome:
        contract = self.by_name[accusation.contract]
        if accusation.takes_bond:
            options.setdefault("value", BOND)
        return contract.send(
            accusation.function, *accusation.arguments, sender=sender or self.hunter, **options
        )

    def lists_hash(self, guilty: Sequence[Address], wrong: Sequence[Any]) -> tuple[bytes, bytes]:
        """The hashes of a ruling's two lists."""
        commitment = "(uint64,address,bytes32,uint64,bytes24,bytes32)[]"
        return (
            keccak(encode(["address[]"], [list(guilty)])),
            keccak(encode([commitment], [list(wrong)])),
        )

    def ruling_signatures(
        self,
        case: int,
        guilty: Sequence[Address],
        wrong: Sequence[Any],
        voids: bool,
        voters: Sequence[PrivateKey],
    ) -> list[tuple[int, int]]:
        epoch, _, accusation = self.referees.read("cases", case)
        hashes = self.lists_hash(guilty, wrong)
        ruling = RULING.hash(NETWORK, case, epoch, accusation, *hashes, int(voids))
        digest_ = digest(self.referees.domain, ruling)
        return [signature_words(voter.sign(digest_)) for voter in voters]

    def votes(
        self,
        case: int,
        guilty: Sequence[Address],
        wrong: Sequence[Any],
        voids: bool,
        voters: int,
    ) -> list[tuple[int, int]]:
        return self.ruling_signatures(case, guilty, wrong, voids, REFEREES[:voters])

    def signatures(self, report_hash: bytes, members: Sequence[PrivateKey]) -> Any:
        return ascending_words({m.address: m.sign(report_hash) for m in members})

    def verdicts(self, outcome: Outcome) -> list[dict[str, Any]]:
        return [event.args for event in outcome.events if event.name == "Verdict"]
