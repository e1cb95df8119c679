"""What a data directory shows to anybody: results, findings and evidence, read only, while processes run or not."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from meridian.audit.evidence import Link, State, first_broken
from meridian.errors import NotFound
from meridian.measure.epoch import Calendar
from meridian.nym import api_store, contract_store
from meridian.nym.acceptance import Mode
from meridian.nym.api_store import Finding
from meridian.nym.contract_store import Accepted
from meridian.nym.database import ReadOnlyDatabase
from meridian.nym.evidence import Case, check_case
from meridian.nym.network import MEMBER_SET, NymLayout, NymNetwork
from meridian.nym.rewards import Submission
from meridian.nym.rows import Row
from meridian.primitives.ids import Address

PRESENT: Final = "stored copies"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One epoch: the links of one copy, and a link for every other copy of the evidence."""

    links: tuple[Link, ...]
    signers: tuple[Address, ...]
    """Of the block's certificate."""
    senders: tuple[Address, ...]
    """Of the messages in the block."""

    @property
    def broken(self) -> Link | None:
        """The first link that does not hold."""
        return first_broken(self.links)


class StoredSystem:
    """A data directory, opened to look at it; a context manager.

    Raises:
        NotFound: If there is no simulation.
        InvalidInput: If `nym.json` is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.network = NymNetwork.load(root)
        self._layout = NymLayout(root)
        self._stack = contextlib.ExitStack()
        self._apis: dict[int, ReadOnlyDatabase] = {}
        for number in self.network.numbers:
            with contextlib.suppress(NotFound):
                database = ReadOnlyDatabase(self._layout.api_store(number), api_store.APPLICATION)
                self._stack.callback(database.close)
                self._apis[number] = database
        self._contract: ReadOnlyDatabase | None = None
        with contextlib.suppress(NotFound):
            self._contract = ReadOnlyDatabase(self._layout.contract, contract_store.APPLICATION)
            self._stack.callback(self._contract.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def calendar(self) -> Calendar | None:
        """The contract's epochs; None if it never ran."""
        genesis_s = None if self._contract is None else contract_store.genesis(self._contract)
        return None if genesis_s is None else Calendar(genesis_s, self.network.epoch_seconds)

    def settled(self) -> list[int]:
        """Return the settled epochs, ascending."""
        found: list[int] = []
        while self._contract is not None:
            page = contract_store.settled_epochs(self._contract, found[-1] + 1 if found else 0)
            if not page:
                break
            found += page
        return found

    def pending(self) -> set[int]:
        """Return the epochs that some Nym-Api saw and has found nothing about."""
        return {epoch for api in self._apis.values() for epoch in api_store.unsettled_epochs(api)}

    def seen(self) -> set[int]:
        """Return the epochs in which some Nym-Api ran."""
        return set().union(*(api_store.seen_epochs(api) for api in self._apis.values()))

    def findings(self) -> dict[int, dict[int, Finding]]:
        """Return what every Nym-Api found: number -> epoch -> finding."""
        return {number: api_store.read_findings(api) for number, api in self._apis.items()}

    def accepted(self, epoch: int) -> Accepted:
        """Return an accepted result; raises NotFound if there is none."""
        if self._contract is None:
            raise NotFound("the contract has stored nothing")
        return contract_store.read_accepted(self._contract, epoch)

    def row(self, number: int, epoch: int) -> Row:
        """Return a Nym-Api's average, made again from its readings."""
        calendar = self.calendar
        if number not in self._apis or calendar is None:
            raise NotFound(f"Nym-Api {number} has stored nothing")
        start_ms, end_ms = calendar.start_us(epoch) // 1000, calendar.end_us(epoch) // 1000
        return api_store.read_average(self._apis[number], epoch, start_ms, end_ms)

    def verify(self, epoch: int) -> Evidence:
        """Check an epoch from stored data alone: every copy of the evidence that there is.

        Raises:
            NotFound: If the epoch has no accepted result.
        """
        submission = self.accepted(epoch).submission
        cases = dict(self._cases(epoch, submission))
        if not cases:
            lacking = Link(PRESENT, State.BROKEN, f"nobody holds evidence of epoch {epoch}")
            bare = self._case(epoch, submission)
            return Evidence((*check_case(bare)[:1], lacking), (), ())
        checked = {number: check_case(case) for number, case in cases.items()}
        whole = [number for number, links in checked.items() if first_broken(links) is None]
        chosen = whole[0] if whole else next(iter(cases))
        case, links = cases[chosen], list(checked[chosen])
        if self.network.mode is not Mode.STANDALONE:
            others = {number: found for number, found in checked.items() if number != chosen}
            links.append(_copies(chosen, others))
        return Evidence(tuple(links), tuple(sorted(case.signers)), tuple(sorted(case.rows)))

    def _case(self, epoch: int, submission: Submission, **evidence: Any) -> Case:
        network = self.network
        context = network.context(MEMBER_SET if network.mode is Mode.RACE else epoch)
        return Case(network.terms, epoch, network.aggregate, context, submission, **evidence)

    def _cases(self, epoch: int, submission: Submission) -> Iterator[tuple[int, Case]]:
        """Yield a case for every Nym-Api that holds evidence."""
        if self.network.mode is Mode.STANDALONE:
            with contextlib.suppress(NotFound):
                number = self.network.number(submission.sender)
                yield number, self._case(epoch, submission, own_row=self.row(number, epoch))
            return
        for number, database in self._apis.items():
            with contextlib.suppress(NotFound):
                held = api_store.read_decision(database, epoch)
                yield (
                    number,
                    self._case(
                        epoch,
                        submission,
                        block_bytes=held.block,
                        certificate_bytes=held.certificate,
                        bodies=held.bodies,
                    ),
                )


def _copies(chosen: int, others: dict[int, list[Link]]) -> Link:
    """Say what the other Nym-Apis' copies are worth."""
    wrong = {number: first_broken(links) for number, links in others.items()}
    items = tuple(
        f"nym-api-{number}: {broken.name}: {broken.detail}"
        for number, broken in wrong.items()
        if broken is not None
    )
    if items:
        return Link(PRESENT, State.BROKEN, items[0], items)
    return Link(PRESENT, State.HOLDS, f"nym-api-{chosen} and {len(others)} others hold the same")
