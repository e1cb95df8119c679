"""Self-contained proof files: one job or one node under an epoch's committed root, one claim under a reward root.

A file is one JSON object with everything that is hashed; digests and rows are hex, amounts decimal text. It is checked
with SHA-256 and additions alone, and its root is the one that stands on chain.

    job     job row 100 B -> job tree -> node row 116 B -> node tree -> committed root
    node    node row 116 B -> node tree -> committed root
    claim   node key, payee, cumulative amount -> claim tree -> reward root and total
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from meridian.audit.proof_steps import Failed, ProofStep, Transcript
from meridian.audit.source import ChainView
from meridian.errors import InvalidInput
from meridian.primitives import hashing
from meridian.primitives.ids import address_text, job_key, network_id, node_key, parse_address
from meridian.primitives.sumtree import LaneKind, annotation, leaf_node
from meridian.reward.claims import ClaimProof

VERSION: Final = 1
FILE_BYTES_MAX: Final = 1 << 20
BRACKETS_MAX: Final = 500
JOB_ROW_BYTES: Final = 100
NODE_ROW_BYTES: Final = 116

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """One leaf's place in its tree."""

    row: bytes
    index: int
    size: int
    path: Sequence[bytes]

    def document(self) -> Document:
        """Return the JSON shape."""
        return {
            "row": self.row.hex(),
            "index": self.index,
            "size": self.size,
            "path": [node.hex() for node in self.path],
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking a proof file."""

    kind: str
    """``job``, ``node`` or ``claim``; empty where the file is no proof."""
    epoch: int
    statement: str
    """What the proof says, in a sentence."""
    root: bytes
    """The committed root or reward root that the steps lead to."""
    total: int
    """Claims: the cumulative total under the root, in atto."""
    network: str
    steps: tuple[ProofStep, ...]

    @property
    def failed(self) -> ProofStep | None:
        """The step that does not hold, if any."""
        return next((step for step in self.steps if not step.ok), None)


def _head(kind: str, network: str, epoch: int, node_id: str) -> Document:
    return {
        "meridian_proof": VERSION,
        "kind": kind,
        "network": network,
        "epoch": epoch,
        "node_id": node_id,
    }


def job_document(
    network: str,
    epoch: int,
    node_id: str,
    job_id: str,
    *,
    lanes: LaneKind,
    job: Place,
    node: Place,
    root: bytes,
) -> Document:
    """Return the proof that a job of a node was counted in an epoch."""
    return {
        **_head("job", network, epoch, node_id),
        "job_id": job_id,
        "lanes": lanes.value,
        "job": job.document(),
        "node": node.document(),
        "committed_root": root.hex(),
    }


def node_document(
    network: str, epoch: int, node_id: str, *, lanes: LaneKind, node: Place, root: bytes
) -> Document:
    """Return the proof of a node's job-tree root, its number of jobs and sums, in an epoch."""
    return {
        **_head("node", network, epoch, node_id),
        "lanes": lanes.value,
        "node": node.document(),
        "committed_root": root.hex(),
    }


def claim_document(
    network: str, epoch: int, node_id: str, proof: ClaimProof, reward_root: bytes, total: int
) -> Document:
    """Return the proof with which a node collects what it earned up to an epoch's report."""
    return {
        **_head("claim", network, epoch, node_id),
        "node_key": proof.node_key.hex(),
        "payee": address_text(proof.payee),
        "cumulative_atto": str(proof.cumulative),
        "index": proof.index,
        "size": proof.size,
        "path": [node.hex() for node in proof.path],
        "total_atto": str(total),
        "reward_root": reward_root.hex(),
    }


def encode_document(document: Document) -> bytes:
    """Return a proof file's bytes."""
    return json.dumps(document, indent=2).encode() + b"\n"


def check_proof(data: bytes) -> Checked:
    """Check a proof file step by step; whatever the file holds, the answer is a transcript."""
    transcript = Transcript()
    reader = _Reader({}, transcript)
    kind, epoch, network, statement, root, total = "", 0, "", "", b"", 0
    try:
        reader = _Reader(_parse(data, transcript), transcript)
        kind, epoch, network = reader.text("kind"), reader.number("epoch"), reader.text("network")
        if kind == "job":
            statement, root = _check_job(reader, transcript, epoch)
        elif kind == "node":
            statement, root = _check_node(reader, transcript, epoch)
        elif kind == "claim":
            statement, root, total = _check_claim(reader, transcript)
        else:
            transcript.fail("document", "kind is job, node or claim", repr(kind))
    except Failed:
        pass
    return Checked(kind, epoch, statement, root, total, network, tuple(transcript.steps))


def _parse(data: bytes, transcript: Transcript) -> Document:
    try:
        if len(data) > FILE_BYTES_MAX:
            raise InvalidInput("proof", f"more than {FILE_BYTES_MAX} bytes")
        if data.count(b"[") + data.count(b"{") > BRACKETS_MAX:  # deep nesting is the parser's stack
            raise InvalidInput("proof", f"more than {BRACKETS_MAX} lists and objects")
        value = json.loads(data)
    except (ValueError, InvalidInput) as error:
        transcript.fail("document", "a JSON object", str(error))
    if not isinstance(value, dict) or value.get("meridian_proof") != VERSION:
        transcript.fail("document", f"a proof of version {VERSION}", "it is not")
    return dict(value)


class _Reader:
    """Reads fields of a document; a missing or malformed one is the proof's failed step."""

    def __init__(
        self, document: Mapping[str, Any], transcript: Transcript, prefix: str = ""
    ) -> None:
        self._document = document
        self._transcript = transcript
        self._prefix = prefix

    def _get(self, name: str) -> Any:
        if name not in self._document:
            self._refuse(name, "is missing")
        return self._document[name]

    def _refuse(self, name: str, reason: str) -> NoReturn:
        self._transcript.fail("document", f"field {self._prefix}{name}", reason)

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            self._refuse(name, "is not text")
        return str(value)

    def number(self, name: str) -> int:
        value = self._get(name)
        if type(value) is not int or not 0 <= value < 1 << 63:
            self._refuse(name, "is not a number in 0..2^63")
        return int(value)

    def amount(self, name: str) -> int:
        value = self._get(name)
        if not isinstance(value, str) or not (
            value.isascii() and value.isdigit() and len(value) < 40
        ):
            self._refuse(name, "is not decimal digits")
        amount = int(value)
        if amount >= 1 << 128:
            self._refuse(name, "does not fit in 128 bits")
        return amount

    def hex(self, name: str, width: int) -> bytes:
        return self._hex(name, self._get(name), width)

    def _hex(self, name: str, value: Any, width: int) -> bytes:
        try:
            data = bytes.fromhex(value)
        except (TypeError, ValueError):
            data = b""
        if len(data) != width:
            self._refuse(name, f"is not {width} bytes of hex")
        return data

    def path(self) -> list[bytes]:
        value = self._get("path")
        if not isinstance(value, list) or len(value) > 64:
            self._refuse("path", "is not a list of at most 64 nodes")
        return [self._hex("path", item, 56) for item in value]

    def lanes(self) -> LaneKind:
        name = self.text("lanes")
        if name not in {kind.value for kind in LaneKind}:
            self._refuse("lanes", f"{name!r} is no kind of lanes")
        return LaneKind(name)

    def place(self, name: str, width: int) -> Place:
        value = self._get(name)
        if not isinstance(value, dict):
            self._refuse(name, "is not an object")
        inner = _Reader(value, self._transcript, f"{self._prefix}{name}.")
        return Place(
            inner.hex("row", width), inner.number("index"), inner.number("size"), inner.path()
        )


def _check_job(reader: _Reader, transcript: Transcript, epoch: int) -> tuple[str, bytes]:
    node_id, job_id, lanes = reader.text("node_id"), reader.text("job_id"), reader.lanes()
    job = reader.place("job", JOB_ROW_BYTES)
    node = reader.place("node", NODE_ROW_BYTES)
    transcript.equal(
        "job key", f"SHA-256 of the id {job_id!r}, in the job row", job_key(job_id), job.row[4:36]
    )
    digest = transcript.hash("job leaf", "job row 100", hashing.JOB_LEAF, job.row)
    leaf = leaf_node(digest, 1, job.row[52:68])
    top = transcript.climb("job tree", leaf, job.index, job.size, job.path, hashing.JOB_NODE, lanes)
    transcript.equal(
        "job count", "the job tree counts its leaves", annotation(top, lanes)[0], job.size
    )
    transcript.equal("job tree root", "stands in the node row", top, node.row[60:116])
    late = " (late)" if job.row[3] & 1 else ""
    said = f"job {job_id!r}{late} is number {job.index + 1} of the {job.size} jobs of node {node_id!r} in epoch {epoch}"
    return said, _check_node_row(reader, transcript, node_id, epoch, node, lanes)


def _check_node(reader: _Reader, transcript: Transcript, epoch: int) -> tuple[str, bytes]:
    node_id, lanes = reader.text("node_id"), reader.lanes()
    node = reader.place("node", NODE_ROW_BYTES)
    root = _check_node_row(reader, transcript, node_id, epoch, node, lanes)
    count, sums = annotation(node.row[60:116], lanes)
    said = (
        f"node {node_id!r} has {count} jobs in epoch {epoch} (sums {', '.join(map(str, sums))}) under "
        f"job tree root {node.row[60:92].hex()}, payee 0x{node.row[40:60].hex()}"
    )
    return said, root


def _check_node_row(
    reader: _Reader, transcript: Transcript, node_id: str, epoch: int, node: Place, lanes: LaneKind
) -> bytes:
    """Check the way from a node row to the committed root."""
    key = node_key(node_id)
    transcript.equal(
        "node key", f"SHA-256 of the id {node_id!r}, in the node row", key, node.row[8:40]
    )
    transcript.equal("epoch", "in the node row", int.from_bytes(node.row[4:8], "big"), epoch)
    digest = transcript.hash("node leaf", "node row 116", hashing.NODE_LEAF, node.row)
    leaf = digest + node.row[92:116]
    top = transcript.climb(
        "node tree", leaf, node.index, node.size, node.path, hashing.NODE_NODE, lanes
    )
    root = transcript.hash(
        "committed root",
        f"epoch {epoch} u64 | nodes {node.size} u64 | node tree root 56",
        hashing.COMMITTED_ROOT,
        epoch.to_bytes(8, "big"),
        node.size.to_bytes(8, "big"),
        top,
    )
    transcript.equal(
        "root", "is the one that the file names", root, reader.hex("committed_root", 32)
    )
    return root


def _check_claim(reader: _Reader, transcript: Transcript) -> tuple[str, bytes, int]:
    node_id, key = reader.text("node_id"), reader.hex("node_key", 32)
    try:
        payee = parse_address(reader.text("payee"))
    except InvalidInput as error:
        transcript.fail("document", "field payee", error.reason)
    cumulative, total = reader.amount("cumulative_atto"), reader.amount("total_atto")
    index, size, path = reader.number("index"), reader.number("size"), reader.path()
    transcript.equal("node key", f"SHA-256 of the id {node_id!r}", node_key(node_id), key)
    amount = cumulative.to_bytes(16, "big")
    digest = transcript.hash(
        "claim leaf",
        "node key 32 | payee 20 | cumulative u128",
        hashing.CLAIM_LEAF,
        key,
        payee,
        amount,
    )
    lanes = LaneKind.U128
    leaf = leaf_node(digest, 1, amount)
    top = transcript.climb("claim tree", leaf, index, size, path, hashing.CLAIM_NODE, lanes)
    count, (summed,) = annotation(top, lanes)
    transcript.equal("claim count", "the claim tree counts its leaves", count, size)
    transcript.equal("total", "the claims add up to the report's total", summed, total)
    root = transcript.hash(
        "reward root",
        f"claims {size} u64 | claim tree root 56",
        hashing.REWARD_ROOT,
        size.to_bytes(8, "big"),
        top,
    )
    transcript.equal("root", "is the one that the file names", root, reader.hex("reward_root", 32))
    said = f"node {node_id!r} earned {cumulative} atto in all, payable to {address_text(payee)}"
    return said, root, total


def chain_step(checked: Checked, chain: ChainView, network: bytes) -> ProofStep:
    """Compare a proof's root with the chain: the last step of a proof that is to be believed."""
    if network_id(checked.network) != network:
        return ProofStep(
            "network",
            "the proof is about this network",
            f"{checked.network!r} is another",
            ok=False,
        )
    if checked.kind == "claim":
        stored = chain.report(checked.epoch)
        rule = f"reward root and total of the report of epoch {checked.epoch} on chain"
        if stored is None:
            return ProofStep("chain", rule, "there is no report", ok=False)
        same = (stored.reward_root, stored.total) == (checked.root, checked.total)
        return ProofStep(
            "chain", rule, f"{stored.reward_root.hex()}, total {stored.total}", ok=same
        )
    roots = [event.root for event in chain.commitments(checked.epoch)]
    rule = f"committed root of epoch {checked.epoch} on chain"
    value = ", ".join(root.hex() for root in roots) or "there is no commitment"
    return ProofStep("chain", rule, value, ok=checked.root in roots)
