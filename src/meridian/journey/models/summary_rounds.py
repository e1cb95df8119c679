"""An epoch of the summary model, step by step: commit, challenge, answer, settle. Every step does only what is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meridian.errors import InvalidInput, Reverted
from meridian.journey.models.metering import PartyClock
from meridian.journey.models.summary_commitments import Commitment
from meridian.journey.models.summary_network import SummaryNetwork
from meridian.journey.models.summary_store import NodeStore
from meridian.journey.models.summary_terms import asked_of
from meridian.journey.watching import Watcher
from meridian.models.summary import Summary
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import NodeKey


@dataclass(kw_only=True)
class Rounds:
    """All parties of a run at one contract."""

    network: SummaryNetwork
    kind: Commitment
    nodes: Mapping[str, NodeStore]
    relayer: Sender
    challenger: Sender
    own: Mapping[str, Sender] | None
    """Node id -> the node's own account; None: the relayer sends what nodes sign and show."""
    clock: PartyClock
    watcher: Watcher
    wait: Callable[[int], None]
    """Returns when a block can have this time, Unix seconds."""
    summaries: dict[int, dict[NodeKey, Summary]] = field(default_factory=dict)
    """Epoch -> what its nodes say."""
    asked: dict[int, list[NodeKey]] = field(default_factory=dict)
    """Epoch -> the nodes that are challenged."""
    unanswered: dict[int, list[NodeKey]] = field(default_factory=dict)

    def close(self) -> None:
        """Close the nodes' own journals."""
        for sender in (self.own or {}).values():
            sender.close()

    def commit(self, epoch: int) -> None:
        """Commit every node to its jobs."""
        said: dict[NodeKey, Summary] = {}
        entries = []
        with self.clock.spent_by("nodes"):
            for node in self.nodes.values():
                said[node.key] = self.kind.commit(node.rows(epoch)).summary
                if self.own is None:
                    entries.append(
                        self.network.sign(node.operator, epoch, node.key, said[node.key])
                    )
        if self.own is None:
            with self.clock.spent_by("relayer"):
                self.network.relay(self.relayer, epoch, entries)
        else:
            with self.clock.spent_by("nodes"):
                self._commit_by_themselves(epoch, said)
        self.watcher.progress(f"summaries of epoch {epoch}", len(said), len(said))
        self.summaries[epoch] = said

    def _commit_by_themselves(self, epoch: int, said: Mapping[NodeKey, Summary]) -> None:
        waiting = []
        for node_id, sender in (self.own or {}).items():
            node = self.nodes[node_id]
            sent = self.network.commit(sender, epoch, node.key, said[node.key])
            if sent is not None:
                waiting.append((sender, sent))
        for sender, sent in waiting:
            receipt = sender.wait(sent)
            if not receipt.status:
                raise Reverted(receipt.reason)

    def challenge(self, epoch: int) -> None:
        """Challenge some nodes that are committed, and have their points drawn."""
        said = self.summaries[epoch]
        with self.clock.spent_by("challenger"):
            count = asked_of(sum(1 for one in said.values() if one.weight))
            chosen = self.network.choose(epoch, said, count)
            wanted = {node: said[node] for node in chosen}
            asked = self.network.challenge(self.challenger, epoch, wanted)
            self.network.draw(self.challenger, epoch, asked, self.challenger.address)
        if len(asked) < len(chosen):
            late = len(chosen) - len(asked)
            self.watcher.note(f"epoch {epoch}: {late} challenges came too late for the window")
        self.asked[epoch] = asked

    def answer(self, epoch: int) -> None:
        """Let the nodes that were asked answer from what they keep."""
        by_key = {node.key: node for node in self.nodes.values()}
        challenger = self.challenger.address
        asked, missing = self.asked[epoch], self.unanswered.setdefault(epoch, [])
        for done, key in enumerate(asked):
            state = self.network.challenge_of(epoch, key, challenger)
            if state.over:
                continue
            node = by_key[key]
            sender = self.relayer if self.own is None else self.own[node.node_id]
            with self.clock.spent_by("nodes"):
                try:
                    jobs = self.kind.commit(node.rows(epoch))
                    shown = jobs.answer(state.seed, self.network.terms.samples)
                    summary = self.summaries[epoch][key]
                    self.network.answer(sender, epoch, key, challenger, summary, shown)
                except (InvalidInput, Reverted) as error:
                    self.watcher.note(f"epoch {epoch}: {node.node_id} cannot answer: {error}")
                    missing.append(key)
            self.watcher.progress(f"answers of epoch {epoch}", done + 1, len(asked))

    def settle(self, epoch: int, claims_max: int | None) -> None:
        """Let unanswered challenges run out, and have shares paid when nothing is open any more."""
        challenger, said = self.challenger.address, self.summaries[epoch]
        for key in self.unanswered.get(epoch, []):
            state = self.network.challenge_of(epoch, key, challenger)
            self.wait(state.deadline_s + 1)
            with self.clock.spent_by("challenger"):
                self.network.expire(self.challenger, epoch, key, challenger, said[key])
        state_ = self.network.epoch(epoch)
        self.wait(state_.closed_at + self.network.terms.challenge_seconds)
        with self.clock.spent_by("relayer"):
            standing = {key: one for key, one in said.items() if self.network.stands(epoch, key)}
            self.network.claim(self.relayer, epoch, standing, claims_max)
