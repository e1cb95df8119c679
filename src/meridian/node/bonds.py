"""What is at stake before the contract Disputes: open challenges and open cases, whoever brought them."""

from typing import Final

from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.follower import Anchor, block_at
from meridian.primitives.ids import Address

_KINDS: Final = ("Opened", "Answered", "Resolved", "Escalated", "Ruled")


class Bonds:
    """Follows the bonds of a network; reads only new blocks, and everything again after a reorganisation.

    Args:
        disputes: The contract.
        deploy_block: Where the network begins.
    """

    def __init__(self, disputes: Contract, deploy_block: int) -> None:
        self._disputes, self._deploy_block = disputes, deploy_block
        self._anchor: Anchor | None = None
        self._forget()

    def _forget(self) -> None:
        self.challenges: dict[bytes, Event] = {}
        """Open challenges by id: the events `Opened`."""
        self.cases: dict[int, Event] = {}
        """Open cases by id: the events `Escalated`."""
        self.closed: dict[int, tuple[Event, bool]] = {}
        """Closed cases by id, and whether the accusation was upheld."""

    def read(self) -> None:
        """Read what happened since the last call; raises `RemoteFault` as the chain does."""
        client = self._disputes.rpc
        anchor = self._anchor
        if anchor is not None and block_at(client, hex(anchor.number)) != anchor:
            self._forget()
            self._anchor = anchor = None
        first = self._deploy_block if anchor is None else anchor.number + 1
        head = block_at(client, "latest")
        if head is None or head.number < first:
            return
        events = [
            event for kind in _KINDS for event in self._disputes.events(kind, first, head.number)
        ]
        for event in sorted(events, key=lambda one: (one.block, one.log_index)):
            self._take(event)
        self._anchor = head

    def _take(self, event: Event) -> None:
        match event.name:
            case "Opened":
                self.challenges[event.args["challenge_id"]] = event
            case "Answered" | "Resolved":
                self.challenges.pop(event.args["challenge_id"], None)
            case "Escalated":
                self.cases[event.args["case_id"]] = event
            case _:
                case = self.cases.pop(event.args["case_id"], None)
                if case is not None:
                    self.closed[event.args["case_id"]] = case, bool(event.args["upheld"])

    def count_of(self, account: Address) -> int:
        """Return how many bonds of an account are at stake."""
        challengers = [one.args["challenger"] for one in self.challenges.values()]
        escalators = [one.args["escalator"] for one in self.cases.values()]
        return sum(one == account for one in (*challengers, *escalators))
