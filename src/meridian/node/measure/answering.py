"""The thread that answers challenges: who committed to an epoch shows any row of it that somebody asks for, in time.

An aggregator that does not answer loses its stake, however honest it was, so the service that commits answers by
itself, from what it has published. The bond of the challenger is then the aggregator's; the gas comes from its account.

Law: an answer is sent once for each challenge, whatever crashes (`node.chain.sender`); what cannot be answered is tried
again until its time is over, because an operator may bring a lost file back.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from meridian.contracts.artefact import load
from meridian.disputes.accusation import Commitment
from meridian.disputes.answers import answer_words
from meridian.errors import MeridianError, NotFound, Reverted, StorageFailure
from meridian.measure.commitment import load_epoch
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.bonds import Bonds
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.node.measure.publication import Publication
from meridian.primitives.ids import ZERO_ADDRESS

LOOKS_PER_WINDOW: Final = 10
"""How often we look in the time that an answer may take."""
PAUSE_FIRST_S: Final = 0.2
PAUSE_LAST_S: Final = 30.0
ANSWERS_MAX: Final = 64
"""Answers that are sent before any of them is waited for."""

_log = logging.getLogger(__name__)


class Answering:
    """The thread.

    Args:
        commitments: The contract `Commitments`, through a client of this thread's own.
        deploy_block: Where the network begins.
        sender: The aggregator's.
        publication: What we published; read only.
        schema: The network's.
        on_event: Told what happened: ``answered`` and ``unanswered``, with fields.
        now_s: The clock, seconds since the Unix epoch.
    """

    def __init__(
        self,
        *,
        commitments: Contract,
        deploy_block: int,
        sender: Sender,
        publication: Publication,
        schema: NetworkSchema,
        on_event: Callable[[str, dict[str, Any]], None],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._commitments, self._deploy_block = commitments, deploy_block
        self._sender, self._publication, self._schema = sender, publication, schema
        self._on_event, self._now_s = on_event, now_s
        self._court: tuple[Contract, Bonds] | None = None
        self._pause_s = PAUSE_FIRST_S
        self._given_up: set[bytes] = set()
        self._told: set[tuple[bytes, str]] = set()
        self._loaded: tuple[bytes, Nodes, pa.Table] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
        self.failure: BaseException | None = None
        """Why the thread stopped, if it did by itself."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the look at work."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        problem = ""
        try:
            while not self._stopping.is_set():
                try:
                    if not self.look():
                        return
                    problem = ""
                except StorageFailure:
                    raise
                except MeridianError as error:
                    if str(error) != problem:
                        _log.warning("challenges cannot be looked for: %s", error)
                    problem = str(error)
                self._stopping.wait(self._pause_s)
        except BaseException as error:  # noqa: BLE001 - the process must end, with its reason.
            self.failure = error
            _log.critical("answering has stopped", exc_info=error)

    def look(self) -> bool:
        """Answer the challenges that are open now; return whether there will ever be any.

        Raises:
            RemoteFault: If the chain cannot be reached.
            StorageFailure: If the journal of transactions cannot be written.
        """
        if self._court is None:
            self._court = self._find_court()
            if self._court is None:
                return False
        disputes, bonds = self._court
        bonds.read()
        due = [
            event
            for event in bonds.challenges.values()
            if event.args["aggregator"] == self._sender.address
            and event.args["challenge_id"] not in self._given_up
        ]
        answers: list[tuple[Event, bytes]] = []
        for event in sorted(due, key=lambda one: int(one.args["until"])):
            data = self._answer(disputes, event) if len(answers) < ANSWERS_MAX else None
            if data is not None:
                answers.append((event, data))
        if answers:
            self._send(disputes, answers)
        return True

    def _find_court(self) -> tuple[Contract, Bonds] | None:
        address = self._commitments.read("disputes")
        if address == ZERO_ADDRESS:
            return None
        disputes = Contract(self._commitments.rpc, address, load("Disputes"))
        window_s = int(disputes.read("response_seconds"))
        self._pause_s = min(max(window_s / LOOKS_PER_WINDOW, PAUSE_FIRST_S), PAUSE_LAST_S)
        return disputes, Bonds(disputes, self._deploy_block)

    def _answer(self, disputes: Contract, event: Event) -> bytes | None:
        """Return the call that answers a challenge; None if that is not possible (now)."""
        challenge_id = event.args["challenge_id"]
        if self._now_s() > event.args["until"]:
            self._given_up.add(challenge_id)
            self._tell_unanswered(event, "its time is over")
            return None
        try:
            return disputes.encode("answer", *self._words(event))
        except MeridianError as error:
            self._tell_unanswered(event, str(error))
            return None

    def _words(self, event: Event) -> tuple[object, ...]:
        args = event.args
        commitment = self._committed(args["epoch"])
        manifest = Manifest.decode(self._publication.get(commitment.manifest))
        place, lanes = args["node_index"], self._schema.lanes.kind
        if not args["of_job"]:
            nodes = Nodes.decode(self._publication.get(manifest.nodes))
            return answer_words(commitment, lanes, nodes.rows, place)
        if self._loaded is None or self._loaded[0] != commitment.manifest:
            loaded = load_epoch(manifest, self._schema, self._publication.get)
            self._loaded = commitment.manifest, *loaded
        _, nodes, jobs = self._loaded
        own = rebuild_rows(self._schema, jobs.filter(pc.equal(jobs.column("node"), place)))
        return answer_words(commitment, lanes, nodes.rows, place, own, args["job_index"])

    def _committed(self, epoch: int) -> Commitment:
        where = {"epoch": epoch, "aggregator": self._sender.address}
        for event in self._commitments.events("Committed", self._deploy_block, where=where):
            args = event.args
            return Commitment(
                epoch,
                self._sender.address,
                args["root"],
                args["n_nodes"],
                args["annotation"],
                args["manifest"],
            )
        raise NotFound(f"we have not committed epoch {epoch}")

    def _send(self, disputes: Contract, answers: list[tuple[Event, bytes]]) -> None:
        """Send answers together, then wait for them: a window may be as short as a few blocks."""
        calls = [
            (f"answer/{event.args['challenge_id'].hex()}", Call(disputes.address, data, 0))
            for event, data in answers
        ]
        sent = []
        for (event, _), result in zip(answers, self._sender.submit_many(calls), strict=True):
            if isinstance(result, Reverted):
                self._tell_unanswered(event, str(result))
            else:
                sent.append((event, result))
        receipts = self._sender.wait_all([tx_hash for _, tx_hash in sent])
        for (event, _), receipt in zip(sent, receipts, strict=True):
            if receipt.status:
                self._tell("answered", event, gas=receipt.gas_used)
            else:
                self._tell_unanswered(event, receipt.reason)

    def _tell_unanswered(self, event: Event, reason: str) -> None:
        key = event.args["challenge_id"], reason
        if key not in self._told:
            self._told.add(key)
            _log.error("a challenge is not answered: %s", reason)
            self._tell("unanswered", event, reason=reason)

    def _tell(self, what: str, event: Event, **fields: Any) -> None:
        args = event.args
        place = {"node": args["node_index"]}
        if args["of_job"]:
            place["job"] = args["job_index"]
        self._on_event(what, {"epoch": args["epoch"], **place, "until": args["until"], **fields})
