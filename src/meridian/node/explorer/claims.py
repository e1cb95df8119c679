"""Claim trees that somebody may still claim under, and which epochs' money has been claimed."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from meridian.explorer.chain_history import ChainFacts, EpochChain, Happened, unlock_at_s
from meridian.explorer.columns import read_columns
from meridian.explorer.epoch_files import claim_files
from meridian.explorer.paid_epochs import paid_of
from meridian.node.explorer.site_files import SiteFiles
from meridian.primitives.ids import NodeKey
from meridian.reward.claims import ClaimsState

CLAIMS: Final = "data/claims"


def epoch_folder(epoch: int) -> str:
    """Return the directory of an epoch's files, relative to the site."""
    return f"data/epoch/{epoch:06}"


class Claims:
    """The claim trees in one site, and what was paid of each epoch.

    Args:
        files: The site.
    """

    def __init__(self, files: SiteFiles) -> None:
        self._files = files
        self._fresh: dict[int, int] = {}
        self._kept = {int(name) for name in files.folders(CLAIMS)}

    def put(self, epoch: int, claims: ClaimsState, owed: int) -> None:
        """Write the claim tree of an epoch's report, by which its nodes earned `owed` atto."""
        for name, data in claim_files(claims).items():
            self._files.write(f"{CLAIMS}/{epoch:06}/{name}", data)
        self._fresh[epoch] = owed
        self._kept.add(epoch)

    def write(self, facts: ChainFacts, chains: Mapping[int, EpochChain]) -> bool:
        """Write which trees there are: of the newest report that pays, and of those after it; delete the others.

        Returns:
            Whether anything has changed.
        """
        reports = [
            (report, chain) for chain in chains.values() if (report := chain.report) is not None
        ]
        reports.sort(key=lambda one: (one[0].block, one[0].index))
        paying = [
            at for at, (_, chain) in enumerate(reports) if unlock_at_s(chain, facts) <= facts.now_s
        ]
        found = []
        for report, chain in reports[paying[-1] if paying else 0 :]:
            top = self._files.read(f"{CLAIMS}/{chain.epoch:06}/top.col")
            if top is not None:
                found.append(
                    {
                        "epoch": chain.epoch,
                        "rewardRoot": report.args["reward_root"].hex(),
                        "total": str(report.args["total"]),
                        "size": read_columns(top).facts["size"],
                        "unlockAtS": unlock_at_s(chain, facts),
                    }
                )
        changed = self._files.write_json("data/claims.json", {"reports": found})
        wanted = {one["epoch"] for one in found}
        for epoch in self._kept - wanted:
            self._files.remove(f"{CLAIMS}/{epoch:06}", lambda _: True)
        self._kept = wanted
        return changed

    def settle(
        self, facts: ChainFacts, state: dict[str, Any], nodes: Collection[NodeKey]
    ) -> tuple[dict[int, int], dict[NodeKey, int]]:
        """Attribute claims that are new to the epochs that they paid.

        Args:
            facts: The chain.
            state: ``claims``: how many events were attributed, and the last one; ``paid``: epoch -> what its nodes
                earned and were paid. Brought up to date.
            nodes: All nodes of the site; other claims are the members' own pay.

        Returns:
            Epoch -> atto paid of it, of the epochs that may have changed; and node -> atto claimed, of those that did.
        """
        events = facts.of("Claimed")
        paid: dict[str, list[int]] = state.setdefault("paid", {})
        paid |= {str(epoch): [owed, 0] for epoch, owed in self._fresh.items()}
        fresh, self._fresh = set(self._fresh), {}
        count, last = state.get("claims", [0, ""])
        if count > len(events) or (count and events[count - 1].tx_hash.hex() != last):
            count, fresh = 0, {int(epoch) for epoch in paid}  # the chain has gone another way
            for one in paid.values():
                one[1] = 0
        state["claims"] = [len(events), events[-1].tx_hash.hex() if events else ""]
        before, after = _claimed(events[:count], nodes), _claimed(events[count:], nodes)
        touched = fresh | {event.args["epoch"] for event in events[count:]}
        newest = max((event.args["epoch"] for event in events[count:]), default=-1)
        for text, one in paid.items():
            epoch = int(text)
            if epoch in fresh:
                one[1] = self._more(epoch, {}, before | after)
            elif epoch <= newest and one[1] < one[0]:
                one[1] += self._more(epoch, before, after)
                touched.add(epoch)
        members: dict[int, int] = {}
        for event in events:
            if event.args["epoch"] in touched and event.args["node_key"] not in nodes:
                epoch = event.args["epoch"]
                members[epoch] = members.get(epoch, 0) + event.args["amount"]
        found = {
            epoch: paid.get(str(epoch), [0, 0])[1] + members.get(epoch, 0) for epoch in touched
        }
        return found, after

    def _more(self, epoch: int, before: Mapping[NodeKey, int], after: Mapping[NodeKey, int]) -> int:
        folder, total = epoch_folder(epoch), 0
        for name in sorted(self._files.names(folder)):
            if name.startswith("nodes-"):
                data = self._files.read(f"{folder}/{name}")
                table = read_columns(data or b"")
                if "amount" not in table.columns:
                    return 0
                keys = [NodeKey(key.tobytes()) for key in table.fixed("key")]
                amounts = [value or 0 for value in table.numbers("amount").values()]
                cumulative = [value or 0 for value in table.numbers("cumulative").values()]
                total += paid_of(keys, amounts, cumulative, before, after)
        return total


def _claimed(events: Collection[Happened], nodes: Collection[NodeKey]) -> dict[NodeKey, int]:
    return {
        NodeKey(event.args["node_key"]): event.args["cumulative"]
        for event in events
        if event.args["node_key"] in nodes
    }
