"""The file form of proofs: one JSON object, digests and rows in hex, amounts in decimal text.

Law: one value has one spelling. A file is read into typed values and written again; if that is another object, the file
is refused. So a proof file cannot carry anything that is not checked. (Free are the order of keys, the space between
values, and escapes in strings.)
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn

from meridian.errors import InvalidInput
from meridian.measure.manifest import NODE_ROW_BYTES
from meridian.measure.nesting import too_deep
from meridian.measure.proof import (
    AbsentJobProof,
    AbsentNodeProof,
    JobProof,
    Leaf,
    NodeProof,
    Proof,
    Subject,
)
from meridian.measure.row import ROW_BYTES
from meridian.primitives.hashing import DIGEST_BYTES
from meridian.primitives.ids import (
    Address,
    NodeKey,
    address_text,
    job_key,
    node_key,
    parse_address,
)
from meridian.primitives.sumtree import NODE_BYTES, PATH_MAX, LaneKind
from meridian.reward.claims import ClaimProof

VERSION: Final = 1
FILE_BYTES_MAX: Final = 1 << 20

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CountedFile:
    """A proof about what an epoch counted."""

    network: str
    subject: Subject
    proof: Proof

    @property
    def kind(self) -> str:
        """The kind of proof."""
        return self.proof.kind

    def document(self) -> Document:
        """Return the JSON object."""
        subject, proof = self.subject, self.proof
        about: Document = {}
        if isinstance(proof, JobProof | AbsentJobProof):
            about |= {"job_id": subject.job_id}
        if isinstance(proof, AbsentJobProof):
            about |= {"job_key": job_key(subject.job_id or "").hex()}
        if isinstance(proof, AbsentNodeProof):
            about |= {"node_key": node_key(subject.node_id).hex()}
        leaves: dict[str, Leaf | None] = {}
        if isinstance(proof, JobProof):
            leaves |= {"job": proof.job}
        if isinstance(proof, AbsentJobProof | AbsentNodeProof):
            leaves |= {"left": proof.left, "right": proof.right}
        if not isinstance(proof, AbsentNodeProof):
            leaves |= {"node": proof.node}
        return {
            **_head(proof.kind, self.network, subject.epoch, subject.node_id),
            **about,
            "lanes": subject.lanes.value,
            **{name: None if leaf is None else _leaf(leaf) for name, leaf in leaves.items()},
            "committed_root": subject.root.hex(),
        }


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """A proof of what a node had earned in all by an epoch's report."""

    network: str
    epoch: int
    node_id: str
    proof: ClaimProof
    reward_root: bytes
    total: int
    """All claims under the root, in atto."""
    kind: ClassVar[str] = "claim"

    def document(self) -> Document:
        """Return the JSON object."""
        proof = self.proof
        return {
            **_head(self.kind, self.network, self.epoch, self.node_id),
            "node_key": proof.node_key.hex(),
            "payee": address_text(proof.payee),
            "cumulative_atto": str(proof.cumulative),
            "index": proof.index,
            "size": proof.size,
            "path": [node.hex() for node in proof.path],
            "total_atto": str(self.total),
            "reward_root": self.reward_root.hex(),
        }


ProofFile = CountedFile | ClaimFile


def _head(kind: str, network: str, epoch: int, node_id: str) -> Document:
    return {
        "meridian_proof": VERSION,
        "kind": kind,
        "network": network,
        "epoch": epoch,
        "node_id": node_id,
    }


def _leaf(leaf: Leaf) -> Document:
    return {
        "row": leaf.row.hex(),
        "index": leaf.index,
        "size": leaf.size,
        "path": [node.hex() for node in leaf.path],
    }


def encode_file(file: ProofFile) -> bytes:
    """Return a proof file's bytes."""
    return json.dumps(file.document(), indent=2).encode() + b"\n"


def decode_file(data: bytes) -> ProofFile:
    """Read a proof file.

    Raises:
        InvalidInput: With the key that is not acceptable; the field is empty where the file is no proof at all.
    """
    value = _parse(data)
    if value.get("meridian_proof") != VERSION:
        raise InvalidInput("meridian_proof", f"is not {VERSION}")
    reader = _Reader(value)
    kind = reader.text("kind")
    if kind not in _READERS:
        raise InvalidInput("kind", f"{kind!r} is none of {', '.join(_READERS)}")
    file = _READERS[kind](reader)
    if _canonical(file.document()) != _canonical(value):
        raise InvalidInput("", "it holds more than a proof, or spells it in another way")
    return file


def _canonical(value: Document) -> str:
    return json.dumps(value, sort_keys=True)


def _parse(data: bytes) -> Document:
    if len(data) > FILE_BYTES_MAX:
        raise InvalidInput("", f"it is longer than {FILE_BYTES_MAX} bytes")
    if too_deep(data):
        raise InvalidInput("", "it is nested too deeply")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once)
    except ValueError as error:
        raise InvalidInput("", f"it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput("", "it is not a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> Document:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


class _Reader:
    """Reads the keys of a document; a missing or malformed one is an `InvalidInput` with the key's name."""

    def __init__(self, document: Mapping[str, Any], prefix: str = "") -> None:
        self._document, self._prefix = document, prefix

    def _get(self, name: str) -> Any:
        if name not in self._document:
            self._refuse(name, "is missing")
        return self._document[name]

    def _refuse(self, name: str, reason: str) -> NoReturn:
        raise InvalidInput(self._prefix + name, reason)

    def key(self, name: str, key: bytes) -> None:
        """Require the key of an id: between two leaves there is room for many ids, so the file says twice which it means."""
        if self.hex(name, DIGEST_BYTES) != key:
            self._refuse(name, "is not the SHA-256 of the id")

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            self._refuse(name, "is not text")
        try:
            value.encode()
        except UnicodeEncodeError:
            self._refuse(name, "is not Unicode text")
        return str(value)

    def number(self, name: str) -> int:
        value = self._get(name)
        if type(value) is not int or not 0 <= value < 1 << 63:
            self._refuse(name, "is not a number in 0..2^63")
        return int(value)

    def amount(self, name: str) -> int:
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) < 40):
            self._refuse(name, "is not decimal digits")
        amount = int(text)
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

    def path(self) -> tuple[bytes, ...]:
        value = self._get("path")
        if not isinstance(value, list) or len(value) > PATH_MAX:
            self._refuse("path", f"is not a list of at most {PATH_MAX} nodes")
        return tuple(self._hex("path", item, NODE_BYTES) for item in value)

    def lanes(self) -> LaneKind:
        name = self.text("lanes")
        if name not in {kind.value for kind in LaneKind}:
            self._refuse("lanes", f"{name!r} is no kind of lanes")
        return LaneKind(name)

    def leaf(self, name: str, width: int) -> Leaf:
        value = self._get(name)
        if not isinstance(value, dict):
            self._refuse(name, "is not an object")
        inner = _Reader(value, f"{self._prefix}{name}.")
        return Leaf(
            inner.hex("row", width), inner.number("index"), inner.number("size"), inner.path()
        )

    def neighbours(self, width: int) -> tuple[Leaf | None, Leaf | None]:
        left = None if self._get("left") is None else self.leaf("left", width)
        return left, None if self._get("right") is None else self.leaf("right", width)

    def subject(self, job_id: str | None = None) -> Subject:
        return Subject(
            epoch=self.number("epoch"),
            root=self.hex("committed_root", DIGEST_BYTES),
            lanes=self.lanes(),
            node_id=self.text("node_id"),
            job_id=job_id,
        )

    def payee(self) -> Address:
        return parse_address(self.text("payee"), "payee")


def _job_file(reader: _Reader) -> ProofFile:
    subject = reader.subject(reader.text("job_id"))
    proof = JobProof(reader.leaf("job", ROW_BYTES), reader.leaf("node", NODE_ROW_BYTES))
    return CountedFile(reader.text("network"), subject, proof)


def _node_file(reader: _Reader) -> ProofFile:
    proof = NodeProof(reader.leaf("node", NODE_ROW_BYTES))
    return CountedFile(reader.text("network"), reader.subject(), proof)


def _absent_job_file(reader: _Reader) -> ProofFile:
    job_id = reader.text("job_id")
    reader.key("job_key", job_key(job_id))
    subject = reader.subject(job_id)
    left, right = reader.neighbours(ROW_BYTES)
    proof = AbsentJobProof(left, right, reader.leaf("node", NODE_ROW_BYTES))
    return CountedFile(reader.text("network"), subject, proof)


def _absent_node_file(reader: _Reader) -> ProofFile:
    reader.key("node_key", node_key(reader.text("node_id")))
    left, right = reader.neighbours(NODE_ROW_BYTES)
    return CountedFile(reader.text("network"), reader.subject(), AbsentNodeProof(left, right))


def _claim_file(reader: _Reader) -> ProofFile:
    proof = ClaimProof(
        node_key=NodeKey(reader.hex("node_key", DIGEST_BYTES)),
        payee=reader.payee(),
        cumulative=reader.amount("cumulative_atto"),
        index=reader.number("index"),
        size=reader.number("size"),
        path=reader.path(),
    )
    return ClaimFile(
        network=reader.text("network"),
        epoch=reader.number("epoch"),
        node_id=reader.text("node_id"),
        proof=proof,
        reward_root=reader.hex("reward_root", DIGEST_BYTES),
        total=reader.amount("total_atto"),
    )


_READERS: Final[dict[str, Callable[[_Reader], ProofFile]]] = {
    JobProof.kind: _job_file,
    NodeProof.kind: _node_file,
    AbsentJobProof.kind: _absent_job_file,
    AbsentNodeProof.kind: _absent_node_file,
    ClaimFile.kind: _claim_file,
}
