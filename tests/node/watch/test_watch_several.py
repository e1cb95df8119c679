"""Where a node committed itself no reward follows from a single row: the contracts judge none, and a watcher accuses nobody."""

from dataclasses import replace
from typing import Any

from watch_world import COIN, NODES, VICTIM, Heard, WatchWorld, shares

from meridian.node.chain_news import ChainNews
from meridian.node.chain_view import OwnCommitment
from meridian.primitives.ids import node_key


def test_a_reward_beside_a_nodes_own_commitment_is_not_disputed(
    world: WatchWorld, monkeypatch: Any
) -> None:
    """The sealing time of this network is 0, so the node's commitment is put into what the watcher has read."""
    world.commit(1)
    right = shares()
    world.report(1, right | {VICTIM: right[VICTIM] + COIN, NODES[0]: right[NODES[0]] - COIN})
    heard = Heard()
    watcher = world.watcher(heard)
    read = watcher._reader.news
    own = OwnCommitment(
        1, node_key(VICTIM), bytes(32), bytes(24), bytes(32), bytes(32), bytes(32), 1
    )

    def news() -> ChainNews:
        found = read()
        known = found.epochs[1]
        found.epochs[1] = replace(known, contributions=(own, *known.standing))
        return found

    monkeypatch.setattr(watcher._reader, "news", news)
    watcher.round()
    watcher.close()
    assert [one["faults"] for one in heard.of("commitment")] == [[]], "it is looked at as ever"
    assert heard.of("report") == []
    assert heard.results() == []
