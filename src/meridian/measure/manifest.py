"""What an aggregator publishes for an epoch, as canonical DAG-CBOR under its content address.

Law: the manifest's digest stands on chain beside the root, and everything else hangs from the manifest by digest. A
document with other keys, other types or another order of bytes is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.primitives import cid, dagcbor
from meridian.primitives.codec import Reader
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix
from meridian.primitives.ids import Address, NodeKey, node_key
from meridian.primitives.sumtree import ANNOTATION_BYTES, NODE_BYTES

SEGMENTS_MAX: Final = 4096
INPUTS_MAX: Final = 64
INPUT_NAME_BYTES_MAX: Final = 64
NODES_MAX: Final = 1_000_000
NODE_ROW_BYTES: Final = 116

_KEYS: Final = frozenset(
    [
        "v",
        "network",
        "network_id",
        "epoch",
        "aggregator",
        "schema",
        "segments",
        "nodes",
        "inputs",
        "root",
        "n_nodes",
        "annotation",
        "late",
        "duplicates",
    ]
)


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """One Parquet segment."""

    digest: bytes
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class InputRef:
    """One auxiliary input of the epoch."""

    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class SelfCommittedRef:
    """A node that committed itself to the epoch before the aggregator did, as the chain said it."""

    node_key: NodeKey
    job_root: bytes
    """The root node of its job tree, 56 bytes."""
    segment: bytes
    """Digest of the segment with its jobs."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one epoch of one aggregator."""

    network: str
    network_id: bytes
    epoch: int
    aggregator: Address
    schema: bytes
    """Digest of the schema artefact."""
    segments: tuple[SegmentRef, ...]
    nodes: bytes
    """Digest of the nodes artefact."""
    inputs: tuple[InputRef, ...]
    """Sorted by name."""
    root: bytes
    """The committed root."""
    n_nodes: int
    annotation: bytes
    """The sums of the whole epoch, 24 bytes."""
    late: int
    """Jobs that ended in an earlier epoch."""
    duplicates: int
    """Submissions of a job that was already accepted; none of them is in the segments."""
    self_committed: tuple[SelfCommittedRef, ...] = ()
    """Sorted by node key. A manifest that has some is of version 2, one without of version 1, with the same bytes as ever."""

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return sum(segment.rows for segment in self.segments)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        listed = [
            {"node": item.node_key, "root": item.job_root, "segment": item.segment}
            for item in self.self_committed
        ]
        return dagcbor.encode(
            {
                **({"v": 2, "self_committed": listed} if listed else {"v": 1}),
                "network": self.network,
                "network_id": self.network_id,
                "epoch": self.epoch,
                "aggregator": bytes(self.aggregator),
                "schema": self.schema,
                "segments": [
                    {"digest": item.digest, "rows": item.rows, "bytes": item.bytes}
                    for item in self.segments
                ],
                "nodes": self.nodes,
                "inputs": [{"name": item.name, "digest": item.digest} for item in self.inputs],
                "root": self.root,
                "n_nodes": self.n_nodes,
                "annotation": self.annotation,
                "late": self.late,
                "duplicates": self.duplicates,
            }
        )

    @property
    def digest(self) -> bytes:
        """The 32 bytes that stand on chain."""
        return cid.digest_of(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            InvalidInput: With the key that is not acceptable.
        """
        document = dagcbor.decode(data)
        if not isinstance(document, dict) or set(document) != _keys(document.get("v")):
            raise InvalidInput("manifest", "it does not have the keys of a manifest")
        segments = _list(document, "segments", SEGMENTS_MAX)
        inputs = _list(document, "inputs", INPUTS_MAX)
        manifest = cls(
            network=_text(document, "network"),
            network_id=_bytes(document, "network_id", DIGEST_BYTES),
            epoch=_integer(document, "epoch"),
            aggregator=Address(_bytes(document, "aggregator", 20)),
            schema=_bytes(document, "schema", DIGEST_BYTES),
            segments=tuple(
                SegmentRef(
                    _bytes(item, "digest", DIGEST_BYTES),
                    _integer(item, "rows"),
                    _integer(item, "bytes"),
                )
                for item in segments
            ),
            nodes=_bytes(document, "nodes", DIGEST_BYTES),
            inputs=tuple(
                InputRef(_text(item, "name"), _bytes(item, "digest", DIGEST_BYTES))
                for item in inputs
            ),
            root=_bytes(document, "root", DIGEST_BYTES),
            n_nodes=_integer(document, "n_nodes"),
            annotation=_bytes(document, "annotation", ANNOTATION_BYTES),
            late=_integer(document, "late"),
            duplicates=_integer(document, "duplicates"),
            self_committed=tuple(
                SelfCommittedRef(
                    NodeKey(_bytes(item, "node", DIGEST_BYTES)),
                    _bytes(item, "root", NODE_BYTES),
                    _bytes(item, "segment", DIGEST_BYTES),
                )
                for item in _list({"self_committed": [], **document}, "self_committed", NODES_MAX)
            ),
        )
        listed = [item.node_key for item in manifest.self_committed]
        if listed != sorted(set(listed)):
            raise InvalidInput("self_committed", "they are not sorted by node key, each once")
        names = [item.name for item in manifest.inputs]
        if names != sorted(set(names)):
            raise InvalidInput("inputs", "they are not sorted by name, each once")
        if manifest.encode() != data:
            raise InvalidInput("manifest", "it holds more than a manifest of its version")
        return manifest


def _keys(version: Any) -> frozenset[str]:
    return _KEYS | {"self_committed"} if version == 2 else _KEYS


def _bytes(document: Mapping[str, Any], key: str, width: int) -> bytes:
    value = _member(document, key)
    if not isinstance(value, bytes) or len(value) != width:
        raise InvalidInput(key, f"{width} bytes are needed")
    return value


def _integer(document: Mapping[str, Any], key: str) -> int:
    value = _member(document, key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput(key, "an unsigned integer is needed")
    return value


def _text(document: Mapping[str, Any], key: str) -> str:
    value = _member(document, key)
    if not isinstance(value, str):
        raise InvalidInput(key, "a text is needed")
    return value


def _list(document: Mapping[str, Any], key: str, limit: int) -> list[Any]:
    value = _member(document, key)
    if not isinstance(value, list) or len(value) > limit:
        raise InvalidInput(key, f"a list of at most {limit} is needed")
    return value


def _member(document: Any, key: str) -> Any:
    if not isinstance(document, dict) or key not in document:
        raise InvalidInput(key, "it is missing")
    return document[key]


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node's leaf row in the epoch's node tree, 116 bytes.

    Layout: schema u16 | flags u16 | epoch u32 | node key 32 | payee 20 | root node of its job tree 56.
    """

    schema: int
    flags: int
    epoch: int
    node_key: NodeKey
    payee: Address
    job_root: bytes

    @classmethod
    def decode(cls, data: bytes) -> "NodeRow":
        """Read 116 bytes.

        Raises:
            InvalidInput: If they are not 116.
        """
        reader = Reader(data)
        row = cls(
            schema=reader.u16(),
            flags=reader.u16(),
            epoch=reader.u32(),
            node_key=NodeKey(reader.fixed(DIGEST_BYTES)),
            payee=Address(reader.fixed(20)),
            job_root=reader.fixed(NODE_BYTES),
        )
        reader.finish()
        return row


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of an epoch, sorted by node key."""

    ids: tuple[str, ...]
    rows: ByteMatrix
    """Shape (n, 116)."""

    @property
    def keys(self) -> tuple[NodeKey, ...]:
        """The node keys, ascending."""
        return tuple(NodeKey(key.tobytes()) for key in self.rows[:, 8:40])

    @property
    def payees(self) -> tuple[Address, ...]:
        """Who is paid for each node."""
        return tuple(Address(payee.tobytes()) for payee in self.rows[:, 40:60])

    @property
    def job_counts(self) -> tuple[int, ...]:
        """How many jobs each node has."""
        counts = np.ascontiguousarray(self.rows[:, 92:100]).view(">u8").ravel()
        return tuple(counts.tolist())

    def job_root(self, place: int) -> bytes:
        """Return the 56-byte root node of the job tree of the node at `place`."""
        return self.rows[place, 60:].tobytes()

    def encode(self) -> bytes:
        """Return the canonical bytes of the nodes artefact."""
        return dagcbor.encode({"ids": list(self.ids), "rows": self.rows.tobytes()})

    @classmethod
    def decode(cls, data: bytes) -> "Nodes":
        """Read a nodes artefact; every id must have the key of its row, and keys must ascend.

        Raises:
            InvalidInput: If it is anything else.
        """
        document = dagcbor.decode(data)
        if not isinstance(document, dict) or set(document) != {"ids", "rows"}:
            raise InvalidInput("nodes", "it does not have the keys of a nodes artefact")
        ids, rows = _list(document, "ids", NODES_MAX), _member(document, "rows")
        if not isinstance(rows, bytes) or len(rows) != len(ids) * NODE_ROW_BYTES:
            raise InvalidInput("rows", f"{NODE_ROW_BYTES} bytes for each id are needed")
        if not all(isinstance(item, str) for item in ids):
            raise InvalidInput("ids", "they are texts")
        matrix = np.frombuffer(rows, dtype=np.uint8).reshape(len(ids), NODE_ROW_BYTES)
        nodes = cls(tuple(ids), matrix)
        keys = nodes.keys
        if any(key != node_key(name) for key, name in zip(keys, ids, strict=True)):
            raise InvalidInput("ids", "an id does not have the key of its row")
        if any(a >= b for a, b in pairwise(keys)):
            raise InvalidInput("rows", "node keys do not ascend")
        return nodes
