"""What is to be brought before the contracts, and what follows from their verdicts."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from meridian.disputes.accusation import Accusation
from meridian.errors import Overloaded, RemoteFault
from meridian.node.chain.contract import Event
from meridian.node.chain_news import ChainNews
from meridian.node.chain_view import ChainView, Commitment
from meridian.node.watch.court import ACCEPTED, DRY, LATER, TOO_DEAR, Court, Verdict
from meridian.node.watch.published import accused_of
from meridian.primitives.quorum import quorum

SAID_MAX: Final = 1 << 16
"""Things said once that are remembered."""
CLOCKS_S: Final = 2
"""How far the next block's time may be behind our clock."""

Tell = Callable[[str, dict[str, Any]], None]
"""Called with the name of an event and its fields."""


class Docket:
    """Accusations that wait, and the steps after a verdict.

    Args:
        court: Sends.
        view: The chain.
        tell: Hears what happens.
    """

    def __init__(self, court: Court, view: ChainView, tell: Tell) -> None:
        self._court, self._view, self._tell = court, view, tell
        self._waiting: list[list[Accusation]] = []
        self._said: set[str] = set()

    def bring_waiting(self) -> None:
        """Bring what could not be sent before.

        Raises:
            RemoteFault: If the chain cannot be reached; nothing is lost.
            Overloaded: The same, if its pool is full.
        """
        waiting, self._waiting = self._waiting, []
        for place, accusations in enumerate(waiting):
            try:
                self.accuse(accusations)
            except (RemoteFault, Overloaded):
                self._waiting += waiting[place + 1 :]
                raise

    def accuse(self, accusations: Iterable[Accusation]) -> bool:
        """Bring accusations of one thing until one is accepted; return whether one was.

        Raises:
            RemoteFault: If the chain cannot be reached; the next round goes on with the accusations that are left.
            Overloaded: The same, if its pool is full.
        """
        left = list(accusations)
        for place, accusation in enumerate(left):
            try:
                verdict = self._court.bring(accusation)
            except (RemoteFault, Overloaded):
                # What they are about is marked as looked at, so nothing else would bring them again.
                self._waiting.append(left[place:])
                raise
            fields = _fields(accusation, verdict)
            if verdict.what in LATER:
                self._waiting.append(left[place:])
                self.say_once("accusation", **fields)
                return False
            self._tell("accusation", fields)
            if verdict.what in ACCEPTED:
                return True
            if verdict.what in {TOO_DEAR, DRY}:  # behind a challenge there are only challenges
                return False
        return False

    def renew(self, news: ChainNews) -> None:
        """Have the members of unreported epochs replaced where too few of them are left."""
        slashed = {address for address, one in news.evaluators.items() if one.is_slashed}
        if not slashed:
            return
        reported = {report.epoch for report in news.reports}
        for number in sorted(news.commitments.keys() - reported - news.abandoned):
            members = self._view.committee(number)
            # An epoch may be committed before it is open, without members.
            if members and len(set(members) - slashed) < quorum(len(members)):
                # The same epoch may need it again, when its new members have lied too: that is another term.
                again = f"/{news.term}"
                verdict = self._court.call("Evaluations", "renew", (number,), again=again)
                self.say_once(
                    "renewed",
                    epoch=number,
                    term=news.term,
                    result=verdict.what,
                    detail=verdict.detail,
                )

    def resolve(self, now_s: float) -> None:
        """End challenges that nobody answered in time: anybody may, and its challenger wins.

        Args:
            now_s: Seconds since the Unix epoch.
        """
        self._court.bonds.read()
        for event in list(self._court.bonds.challenges.values()):
            if now_s < event.args["until"] + CLOCKS_S:
                continue
            wanted = event.args["epoch"], event.args["aggregator"]
            for commitment in self._view.committed():
                if (commitment.epoch, commitment.aggregator) == wanted:
                    self._end(commitment, event.args)

    def _end(self, commitment: Commitment, challenge: dict[str, Any]) -> None:
        place = (challenge["node_index"], challenge["job_index"], challenge["of_job"])
        arguments = (accused_of(commitment).words, *place)
        verdict = self._court.call("Disputes", "resolve", arguments)
        self.say_once(
            "resolved",
            epoch=commitment.epoch,
            aggregator=commitment.aggregator,
            result=verdict.what,
            detail=verdict.detail,
            gas=verdict.gas,
            stake_atto=verdict.stake_atto,
        )

    def follow_cases(self, now_s: float) -> None:
        """Tell how our cases ended, and have the bonds of those given back about which nobody ruled in time.

        Args:
            now_s: Seconds since the Unix epoch.
        """
        bonds, own = self._court.bonds, self._court.address
        for event, upheld in bonds.closed.values():
            if event.args["escalator"] == own:
                result = "upheld" if upheld else "not upheld"
                self.say_once("ruled", **_case(event), result=result)
        for event in list(bonds.cases.values()):
            if event.args["escalator"] != own:
                continue
            grace_s = int(self._court.disputes.read("response_seconds"))
            if now_s >= event.args["until"] + grace_s + CLOCKS_S:
                verdict = self._court.call("Disputes", "expire", (event.args["case_id"],))
                self.say_once("expired", **_case(event), result=verdict.what, detail=verdict.detail)

    def say_once(self, event: str, **fields: Any) -> None:
        """Tell something that is the same in every round."""
        key = f"{event} {fields}"
        if key not in self._said and len(self._said) < SAID_MAX:
            self._said.add(key)
            self._tell(event, fields)


def _case(event: Event) -> dict[str, Any]:
    return {"epoch": event.args["epoch"], "case": event.args["case_id"]}


def _fields(accusation: Accusation, verdict: Verdict) -> dict[str, Any]:
    fields = {
        "epoch": accusation.epoch,
        "kind": accusation.function,
        "guilty": list(accusation.guilty),
        "reason": accusation.reason,
        "result": verdict.what,
        "detail": verdict.detail,
        "gas": verdict.gas,
        "stake_atto": verdict.stake_atto,
    }
    if verdict.file is None:
        return fields
    return fields | {"file": verdict.file, "next": verdict.advice}
