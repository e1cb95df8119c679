"""A network as its publications and its chain show it; what is read of an epoch was recomputed first.

Nothing that is published is believed: an epoch is audited as `meridian verify` does it, once, and its tables come from what
that recomputed. A link that does not hold is no error here; `Epoch.verification` names it, and a table that would need it
is refused with its name.
"""

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.audit.case import Case
from meridian.audit.epoch import audit_epoch
from meridian.audit.evidence import Link, State, first_broken
from meridian.audit.node_account import GoodCopies, NodeAccount, account_of
from meridian.audit.proof_building import claim_proof, job_proof, node_proof
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.evaluate.row import Row
from meridian.library.frames import Form, coins, in_form, shares, table, whole
from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.proof_form import encode_json
from meridian.node.audit_chain import ContractChain
from meridian.node.audit_sources import open_source
from meridian.node.chain_status import EPOCHS_MAX
from meridian.node.published_url import open_published
from meridian.primitives.ids import address_text


@dataclass(frozen=True, slots=True)
class Verification:
    """The chain of evidence of one epoch, as `meridian verify` prints it."""

    epoch: int
    """The epoch."""
    links: tuple[Link, ...]
    """Each with `name`, `state` (holds, broken, sealed, unchecked), `detail` and `items`."""

    @property
    def ok(self) -> bool:
        """Whether no link is broken."""
        return first_broken(self.links) is None

    @property
    def broken(self) -> str | None:
        """The name of the first broken link."""
        link = first_broken(self.links)
        return None if link is None else link.name

    def table(self, form: Form = "arrow") -> Any:
        """Return the links as a table: link, state, detail.

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.
        """
        return in_form(
            table(
                {
                    "link": [link.name for link in self.links],
                    "state": [link.state.value for link in self.links],
                    "detail": [link.detail for link in self.links],
                }
            ),
            form,
        )


class Epoch:
    """One epoch of a network; `Network.epoch` makes it. Its first use audits it, which takes as long as `meridian verify`."""

    def __init__(self, source: EvidenceSource, number: int) -> None:
        self._source = source
        self.number = number
        """The epoch's number."""

    @cached_property
    def _audit(self) -> tuple[Case, dict[str, Link]]:
        case, links = audit_epoch(GoodCopies(self._source), self.number)
        return case, {link.name: link for link in links}

    @property
    def verification(self) -> Verification:
        """The chain of evidence, recomputed."""
        return Verification(self.number, tuple(self._audit[1].values()))

    def _needs(self, *links: str) -> Case:
        case, found = self._audit
        for name in links:
            if found[name].state not in {State.HOLDS, State.SEALED}:
                reason = next(
                    (one for one in found.values() if one.state is State.BROKEN), found[name]
                )
                raise MeridianError(
                    f"epoch {self.number} does not show this: {reason.name}: {reason.detail}"
                )
        return case

    def jobs(self, form: Form = "arrow") -> Any:
        """Return the epoch's jobs, one row each, with their fields and what became of them.

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.

        Returns:
            node_id, job_id, started_us, ended_us (microseconds since the Unix epoch), late, the network's own fields, and once
            the epoch is decided verdict: ``ok``, or why the job does not count.

        Raises:
            MeridianError: If the jobs cannot be recomputed; the broken link is named.
        """
        case = self._needs("jobs")
        found = pa.Table.from_batches(list(case.jobs.to_batches()), case.jobs.schema)
        late = (column_values(found, "flags") & LATE_FLAG) != 0
        found = found.drop_columns(["flags", "batch_seed", "node"])
        found = found.set_column(0, "node_id", found.column("node_id").cast(pa.string()))
        found = found.add_column(4, "late", pa.array(late))
        evaluation = vars(case).get("evaluation")
        if evaluation is not None:
            reasons = pa.array(evaluation.reasons)
            codes = pa.array(list(evaluation.verdicts), pa.int32())
            verdict = pa.DictionaryArray.from_arrays(codes, reasons).cast(pa.string())
            found = found.append_column("verdict", verdict)
        return in_form(found, form)

    def nodes(self, form: Form = "arrow") -> Any:
        """Return the epoch's nodes, one row each: jobs, weight, share and reward.

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.

        Returns:
            node_id, payee, jobs; once the epoch is decided also succeeded, weight (null: deferred), share (float), reward_atto
            (exact) and reward (float, coins).

        Raises:
            MeridianError: If the jobs cannot be recomputed; the broken link is named.
        """
        case = self._needs("jobs")
        place = column_values(case.jobs, "node")
        counts = _count(place, len(case.nodes.ids))
        columns: dict[str, Any] = {
            "node_id": list(case.nodes.ids),
            "payee": [address_text(one) for one in case.nodes.payees],
            "jobs": pa.array(counts, pa.int64()),
        }
        known = vars(case)  # what is missing was not decided yet, or hangs on a broken link
        evaluation, outcome = known.get("evaluation"), known.get("outcome")
        if evaluation is not None:
            good = pa.array(list(evaluation.verdicts), pa.uint8()).to_numpy() == 0
            columns["succeeded"] = pa.array(_count(place[good], len(counts)), pa.int64())
        if outcome is not None:
            columns["weight"] = whole(outcome.weights)
            columns["share"] = shares(outcome.weights)
            columns["reward_atto"] = whole(outcome.amounts)
            columns["reward"] = coins(outcome.amounts)
        return in_form(table(columns), form)

    def matrix(self, form: Form = "arrow") -> Any:
        """Return the evaluators' rows of the decided block: one row for each evaluator and node.

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.

        Returns:
            evaluator, node_id, weight (null: it abstains), decided (the weight that the committee's average gave).

        Raises:
            MeridianError: If the epoch is not decided, or its block does not hold.
        """
        case = self._needs("aggregation")
        evaluators: list[str] = []
        nodes: list[str] = []
        weights: list[int | None] = []
        decided: list[int | None] = []
        for member, body in case.rows:
            row = Row.decode(body)
            evaluators += [address_text(member)] * len(case.nodes.ids)
            nodes += case.nodes.ids
            weights += row.weights
            decided += case.weights
        columns = {
            "evaluator": evaluators,
            "node_id": nodes,
            "weight": whole(weights),
            "decided": whole(decided),
        }
        return in_form(table(columns), form)

    def node(self, node_id: str) -> NodeAccount:
        """Return what became of one node: jobs, failures by reason, weight, reward, and whether it can claim.

        Raises:
            NotFound: If the epoch is not committed or has no such node; the nearest ids are named.
        """
        return account_of(self._source, self.number, node_id)

    def prove_node(self, node_id: str) -> bytes:
        """Return the proof, a JSON file, that the node with its jobs stands under the committed root.

        Raises:
            NotFound: If the epoch has no such node.
        """
        return encode_json(node_proof(self._source, self.number, node_id))

    def prove_job(self, node_id: str, job_id: str) -> bytes:
        """Return the proof, a JSON file, that a job was counted.

        Raises:
            NotFound: If the epoch has no such node or job.
        """
        return encode_json(job_proof(self._source, self.number, node_id, job_id))

    def prove_claim(self, node_id: str) -> bytes:
        """Return the proof, a JSON file, of what a node had earned in all by this epoch.

        Raises:
            NotFound: If the epoch is not reported, or the node never earned anything by then.
        """
        return encode_json(claim_proof(self._source, self.number, node_id).file)


class Network:
    """A network that is open for reading; `open_network` gives it. It closes at the end of a `with` block, or by `close`."""

    def __init__(self, source: EvidenceSource, opened: contextlib.ExitStack) -> None:
        chain = source.chain
        assert isinstance(chain, ContractChain), "both kinds of source have one"
        self._source, self._chain, self._opened = source, chain, opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and the chain where it was served from its file."""
        self._opened.close()

    @property
    def name(self) -> str:
        """The network's name."""
        return self._source.network.name

    def epochs(self, form: Form = "arrow", *, last: int = 100) -> Any:
        """Return the newest epochs as the chain has them, one row each.

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.
            last: How many, at most 1,000.

        Returns:
            epoch, state (funded, open, committed, reported, unlocked, abandoned), members, standing_commitments, budget_atto,
            paid_atto (exact), budget, paid (float, coins).

        Raises:
            InvalidInput: If `last` is out of range.
            RemoteFault: If the chain does not answer.
        """
        if not 1 <= last <= EPOCHS_MAX:
            raise InvalidInput("last", f"{last} is not in 1..{EPOCHS_MAX}")
        rows = self._chain.status(last)["epochs"]
        budgets = [None if one["budget_atto"] is None else int(one["budget_atto"]) for one in rows]
        paid = [int(one["paid_atto"]) for one in rows]
        columns: dict[str, Any] = {
            name: pa.array([one[name] for one in rows], kind)
            for name, kind in (
                ("epoch", pa.int64()),
                ("state", pa.string()),
                ("members", pa.int64()),
                ("standing_commitments", pa.int64()),
            )
        }
        columns |= {"budget_atto": whole(budgets), "paid_atto": whole(paid)}
        columns |= {"budget": coins(budgets), "paid": coins(paid)}
        return in_form(table(columns), form)

    def epoch(self, number: int) -> Epoch:
        """Return an epoch; nothing is read before it is asked for something.

        Raises:
            NotFound: If nothing is committed for it.
        """
        if not self._source.chain.commitments(number):
            raise NotFound(f"nothing is committed for epoch {number}")
        return Epoch(self._source, number)


def open_network(place: str | Path, *, rpc_url: str | None = None) -> Network:
    """Open a network for reading.

    Args:
        place: Its data directory (with network.json), or the URL under which any web server publishes one.
        rpc_url: The endpoint of the chain that you trust, with a URL; by default the one that the network file names.

    Raises:
        NotFound: If there is no network.
        InvalidInput: If the network file or the URL is none.
        RemoteFault: If server or chain do not answer.
    """
    with contextlib.ExitStack() as stack:
        if "://" in str(place):
            source = stack.enter_context(open_published(str(place), rpc_url))
        else:
            source = stack.enter_context(open_source(Path(place)))
        return Network(source, stack.pop_all())
    raise AssertionError("unreachable")


def verify_epoch(place: str | Path, epoch: int, *, rpc_url: str | None = None) -> Verification:
    """Recompute an epoch from public artefacts and the chain; what `meridian verify` does.

    Args:
        place: A data directory or a URL, as for `open_network`.
        epoch: The epoch's number.
        rpc_url: The endpoint of the chain that you trust.

    Raises:
        NotFound: If there is no network, or nothing is committed for the epoch.
        RemoteFault: If server or chain do not answer.
    """
    with open_network(place, rpc_url=rpc_url) as network:
        return network.epoch(epoch).verification


def _count(places: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    return np.bincount(places, minlength=size).astype(np.int64)
