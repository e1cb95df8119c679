"""Check Meridian proof files with this file and Python alone: SHA-256, additions and comparisons.

    python verifier.py PROOF [--root HEX]

It prints every step and exits with 0 if the proof holds, else with 1. A proof that holds leads to a root: it is to be
believed if that root is the one on chain (committed root, reward root) or in the log's signed checkpoint. ``--root``
compares it; get it from a chain that you trust, not from who gave you the proof. The file has three parts: what a proof
may be (`KINDS`), what must hold (`check`), and the two forms of a file (`decode`), JSON and binary.

    job           job row -> job tree -> node row -> node tree -> committed root
    node          node row -> node tree -> committed root
    absent_job    the node's row as above; the two job rows between which the job's key would stand
    absent_node   the two node rows between which the node's key would stand
    claim         claim -> claim tree -> reward root and total
    log_inclusion     entry of an epoch -> log root (RFC 6962)
    log_consistency   an older log root -> a newer one (RFC 6962)

Law: it imports nothing of Meridian, and Meridian itself checks proofs with it.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

FILE_BYTES_MAX = 1 << 20
TEXT_BYTES_MAX = (1 << 16) - 1
PATH_MAX = 64
BRACKETS_MAX = 512
"""A proof has eleven at most; ids may hold some. More would only serve to exhaust the reader's stack."""
NUMBER_END = 1 << 63
VERSION = 1
MAGIC = b"MPF\x01"
"""The first bytes of a binary proof; the last of them is the version."""

LOG_LEAF, LOG_NODE, JOB_LEAF, JOB_NODE, NODE_LEAF, NODE_NODE, CLAIM_LEAF, CLAIM_NODE = range(8)
COMMITTED_ROOT, REWARD_ROOT, EPOCH_RECORD = 0x12, 0x13, 0x15
"""The first byte of whatever is hashed says what it is."""

HASH, NODE, JOB_ROW, NODE_ROW, ENTRY = 32, 56, 100, 116, 157
EMPTY_ROOT = hashlib.sha256(b"").digest() + bytes(24)
"""The root node of a tree without leaves."""
# Bits of a sum of two annotations into which nothing may be carried: count u64 | lanes u64, u64 or u128.
CARRIES = {"pair_u64": 1 << 192 | 1 << 128 | 1 << 64, "u128": 1 << 192 | 1 << 128}
LATE = 1


class Malformed(ValueError):
    """A file is not a proof; `field` says where."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason = field, reason


class Name(NamedTuple):
    """A node or job that a proof is about: its key, and its id unless it was asked for by the key."""

    key: bytes
    id: str | None

    @classmethod
    def of(cls, text: str) -> "Name":
        """Return the name of an id; its key is the SHA-256."""
        return cls(hashlib.sha256(text.encode()).digest(), text)

    def __str__(self) -> str:
        return f"with key {self.key.hex()}" if self.id is None else repr(self.id)

    @property
    def rule(self) -> str:
        """Where the key comes from."""
        return (
            "the key that is asked about" if self.id is None else f"SHA-256 of the id {self.id!r}"
        )


@dataclass(frozen=True, slots=True)
class Leaf:
    """A row, its place in its tree, and its siblings up to the root."""

    row: bytes
    index: int
    size: int
    path: tuple[bytes, ...]


class ProofFile(NamedTuple):
    """A kind of `KINDS`, and the value of each of its fields."""

    kind: str
    fields: Mapping[str, Any]


class Step(NamedTuple):
    """One step of a check; `rule` and `value` say it in words."""

    name: str
    how: str
    """``hash``, ``climb``, ``equal``, ``below`` or ``form``."""
    parts: tuple[Any, ...]
    ok: bool = True

    @property
    def rule(self) -> str:
        """What was computed, or compared."""
        if self.how == "hash":
            layout, tag, _ = self.parts
            return str(layout) if tag is None else f"SHA-256(0x{tag:02x} | {layout})"
        if self.how == "climb":
            tag, lanes, sibling, on_left, _ = self.parts
            side = "left" if on_left else "right"
            width = len(sibling)
            head = (
                f"SHA-256(0x{tag:02x} | left {width} | right {width}), sibling {sibling[:32].hex()}"
            )
            return f"{head}{sums_text(sibling, lanes)} on the {side}"
        return str(self.parts[0])

    @property
    def value(self) -> str:
        """What came out."""
        if self.how == "hash":
            return str(self.parts[2].hex())
        if self.how == "climb":
            node = self.parts[4]
            return f"{node[:32].hex()}{sums_text(node, self.parts[1])}"
        if self.how == "form":
            return str(self.parts[1])
        one, other = (v.hex() if isinstance(v, bytes) else str(v) for v in self.parts[1:])
        if self.how == "below":
            return f"{one} {'<' if self.ok else 'is not below'} {other}"
        return f"{one} as stated" if self.ok else f"{one}, but stated is {other}"


def sums_of(node: bytes, lanes: str) -> tuple[int, tuple[int, ...]]:
    """Return the count and the sums that a node of 56 bytes carries."""
    parts = (node[40:56],) if lanes == "u128" else (node[40:48], node[48:56])
    return int.from_bytes(node[32:40], "big"), tuple(int.from_bytes(x, "big") for x in parts)


def sums_text(node: bytes, lanes: str | None) -> str:
    """Return them in words; nothing for nodes that carry none."""
    if lanes is None:
        return ""
    count, sums = sums_of(node, lanes)
    return f" (count {count}, sums {', '.join(map(str, sums))})"


def tagged(tag: int, *parts: bytes) -> bytes:
    """Return the SHA-256 of a tag and the parts."""
    return hashlib.sha256(bytes((tag,)) + b"".join(parts)).digest()


def parent(tag: int, left: bytes, right: bytes, lanes: str | None) -> bytes:
    """Return the parent of two nodes: its hash is over both, with their sums; its sums are theirs added."""
    digest = tagged(tag, left, right)
    if lanes is None:
        return digest
    a, b = int.from_bytes(left[HASH:], "big"), int.from_bytes(right[HASH:], "big")
    carries = a ^ b ^ (a + b)  # each at the bit that it enters
    if carries & CARRIES[lanes]:
        raise Malformed("sum", "it does not fit: no such tree exists")
    return digest + (a + b).to_bytes(24, "big")


# ------------------------------------------------------------------------------------- what must hold


class _Stopped(Exception):
    """The last step does not hold; nothing after it would mean anything."""


class _Check:
    """The steps of a check so far, and the checks of which the rules are made."""

    def __init__(self, lanes: str) -> None:
        self.steps: list[Step] = []
        self.lanes = lanes

    def hashed(self, name: str, layout: str, tag: int | None, digest: bytes) -> bytes:
        self.steps.append(Step(name, "hash", (layout, tag, digest)))
        return digest

    def equal(self, name: str, rule: str, found: bytes | int, stated: bytes | int) -> None:
        self._require(Step(name, "equal", (rule, found, stated), found == stated))

    def below(self, name: str, rule: str, low: bytes, high: bytes) -> None:
        self._require(Step(name, "below", (rule, low, high), low < high))

    def refuse(self, name: str, rule: str, reason: str) -> NoReturn:
        self._require(Step(name, "form", (rule, reason), False))
        raise AssertionError

    def _require(self, step: Step) -> None:
        self.steps.append(step)
        if not step.ok:
            raise _Stopped

    def row(self, leaf: Leaf, width: int) -> bytes:
        if len(leaf.row) != width:
            self.refuse("row", "has its form", f"{len(leaf.row)} bytes where {width} are needed")
        return leaf.row

    def climb(self, name: str, node: bytes, leaf: Leaf, tag: int, lanes: str | None) -> bytes:
        """Return the root node that a leaf's node and its path imply (RFC 9162 section 2.1.3.2)."""
        index, size, path = leaf.index, leaf.size, leaf.path
        rule = f"leaf {index} of {size}, a path of {len(path)} nodes"
        if not 0 <= index < size < NUMBER_END:
            self.refuse(name, rule, f"index: {index} is outside a tree of {size} leaves")
        if len(path) > PATH_MAX or any(len(sibling) != len(node) for sibling in path):
            self.refuse(name, rule, "path: the nodes do not have the form of this tree")
        at, last = index, size - 1
        for number, sibling in enumerate(path, 1):
            if last == 0:
                self.refuse(name, rule, "path: it is longer than the tree is deep")
            on_left = bool(at & 1) or at == last
            pair = (sibling, node) if on_left else (node, sibling)
            try:
                node = parent(tag, *pair, lanes)
            except Malformed as error:
                self.refuse(name, rule, str(error))
            parts = (tag, lanes, sibling, on_left, node)
            self.steps.append(Step(f"{name}, level {number}", "climb", parts))
            while (
                on_left and not at & 1 and at
            ):  # an odd last node was promoted: no sibling on these levels
                at, last = at >> 1, last >> 1
            at, last = at >> 1, last >> 1
        if last != 0:
            self.refuse(name, rule, "path: it is shorter than the tree is deep")
        return node

    def under_node(self, prefix: str, leaf: Leaf, node_row: bytes) -> None:
        """Lead a job row to the job tree of a node's row."""
        row = self.row(leaf, JOB_ROW)
        digest = self.hashed(f"{prefix}job leaf", "job row 100", JOB_LEAF, tagged(JOB_LEAF, row))
        node, name = digest + (1).to_bytes(8, "big") + row[52:68], f"{prefix}job tree"
        top = self.climb(name, node, leaf, JOB_NODE, self.lanes)
        count = int.from_bytes(top[32:40], "big")
        self.equal(f"{prefix}job count", "the job tree counts its leaves", count, leaf.size)
        self.equal(f"{name} root", "stands in the node row", top, node_row[60:])

    def under_root(self, prefix: str, leaf: Leaf, epoch: int, root: bytes) -> None:
        """Lead a node row to the committed root."""
        row = self.row(leaf, NODE_ROW)
        found = int.from_bytes(row[4:8], "big")
        self.equal(f"{prefix}epoch", "in the node row", found, epoch)
        digest = tagged(NODE_LEAF, row)
        self.hashed(f"{prefix}node leaf", "node row 116", NODE_LEAF, digest)
        node, name = digest + row[92:], f"{prefix}node tree"
        top = self.climb(name, node, leaf, NODE_NODE, self.lanes)
        self.root(prefix, epoch, leaf.size, top, root)

    def root(self, prefix: str, epoch: int, size: int, top: bytes, root: bytes) -> None:
        layout = f"epoch {epoch} u64 | nodes {size} u64 | node tree root 56"
        data = epoch.to_bytes(8, "big") + size.to_bytes(8, "big") + top
        found = tagged(COMMITTED_ROOT, data)
        self.hashed(f"{prefix}committed root", layout, COMMITTED_ROOT, found)
        self.equal(f"{prefix}root", "is the one that is asked about", found, root)

    def between(self, left: Leaf | None, right: Leaf | None, key: bytes, at: slice) -> None:
        """Check that a key would stand between two leaves, and that no leaf does."""
        if left is not None:
            self.below("left key", "the key before is lower", left.row[at], key)
        if right is not None:
            self.below("right key", "the key after is higher", key, right.row[at])
        if right is not None:
            before = -1 if left is None else left.index
            rule = "is the first leaf" if left is None else "stands directly behind the left leaf"
            self.equal("neighbours", f"the right leaf {rule}", right.index, before + 1)
        elif left is not None:
            self.equal("neighbours", "the left leaf is the last", left.index, left.size - 1)


def _job(c: _Check, f: Mapping[str, Any]) -> None:
    name, row = f["job_id"], c.row(f["job"], JOB_ROW)
    node_row = c.row(f["node"], NODE_ROW)
    c.equal("job key", f"{name.rule}, in the job row", name.key, row[4:36])
    c.under_node("", f["job"], node_row)
    _node(c, f)


def _node(c: _Check, f: Mapping[str, Any]) -> None:
    name, row = f["node_id"], c.row(f["node"], NODE_ROW)
    c.equal("node key", f"{name.rule}, in the node row", name.key, row[8:40])
    c.under_root("", f["node"], f["epoch"], f["committed_root"])


def _absent_job(c: _Check, f: Mapping[str, Any]) -> None:
    left, right, node_row = f["left"], f["right"], c.row(f["node"], NODE_ROW)
    key = c.hashed("job key", f["job_id"].rule, None, f["job_id"].key)
    sides = [
        (side, leaf) for side, leaf in (("left ", left), ("right ", right)) if leaf is not None
    ]
    for _, leaf in sides:
        c.row(leaf, JOB_ROW)
    c.between(left, right, key, slice(4, 36))
    for side, leaf in sides:
        c.under_node(side, leaf, node_row)
    if not sides:
        c.equal("no jobs", "the node row is over no jobs", node_row[60:], EMPTY_ROOT)
    _node(c, f)


def _absent_node(c: _Check, f: Mapping[str, Any]) -> None:
    left, right, epoch, root = f["left"], f["right"], f["epoch"], f["committed_root"]
    key = c.hashed("node key", f["node_id"].rule, None, f["node_id"].key)
    sides = [
        (side, leaf) for side, leaf in (("left ", left), ("right ", right)) if leaf is not None
    ]
    for _, leaf in sides:
        c.row(leaf, NODE_ROW)
    c.between(left, right, key, slice(8, 40))
    for side, leaf in sides:
        c.under_root(side, leaf, epoch, root)
    if not sides:
        c.root("", epoch, 0, EMPTY_ROOT, root)


def _claim(c: _Check, f: Mapping[str, Any]) -> None:
    name, amount = f["node_id"], f["cumulative_atto"].to_bytes(16, "big")
    c.hashed("node key", name.rule, None, name.key)
    layout = "node key 32 | payee 20 | cumulative u128"
    digest = tagged(CLAIM_LEAF, name.key, f["payee"], amount)
    c.hashed("claim leaf", layout, CLAIM_LEAF, digest)
    leaf = Leaf(b"", f["index"], f["size"], f["path"])
    node = digest + (1).to_bytes(8, "big") + amount
    top = c.climb("claim tree", node, leaf, CLAIM_NODE, "u128")
    count, (total,) = sums_of(top, "u128")
    c.equal("claim count", "the claim tree counts its leaves", count, leaf.size)
    c.equal("total", "the claims add up to the report's total", total, f["total_atto"])
    root = tagged(REWARD_ROOT, leaf.size.to_bytes(8, "big"), top)
    c.hashed("reward root", f"claims {leaf.size} u64 | claim tree root 56", REWARD_ROOT, root)
    c.equal("root", "is the one that the file names", root, f["reward_root"])


def _log_inclusion(c: _Check, f: Mapping[str, Any]) -> None:
    entry, network = f["entry"], b"meridian/network/1:" + f["network"].encode()
    c.equal("entry", "begins with the tag of an epoch's record", entry[0], EPOCH_RECORD)
    rule = "SHA-256 of 'meridian/network/1:' and the name, in the entry"
    c.equal("network", rule, hashlib.sha256(network).digest(), entry[1:33])
    c.equal("epoch", "in the entry", int.from_bytes(entry[33:41], "big"), f["epoch"])
    leaf = Leaf(entry, f["index"], f["size"], f["path"])
    node = c.hashed("log leaf", "entry 157", LOG_LEAF, tagged(LOG_LEAF, entry))
    top = c.climb("log tree", node, leaf, LOG_NODE, None)
    c.equal("root", "is the log root that the file names", top, f["log_root"])


def _log_consistency(c: _Check, f: Mapping[str, Any]) -> None:
    """RFC 9162 section 2.1.4.2: one path leads to both roots."""
    old_size, size, path = f["old_size"], f["size"], list(f["path"])
    rule = f"{old_size} of {size} entries, a path of {len(path)} nodes"
    if not 0 < old_size <= size:
        c.refuse("sizes", rule, "the older log has at least one entry and no more than the newer")
    at, last = old_size - 1, size - 1
    if at == last:
        c.equal("path", "two equal logs need none", len(path), 0)
        at, last = 0, 0
    if old_size & at == 0:
        path.insert(0, f["old_root"])  # the older log is one whole subtree of the newer
    if not path:
        c.refuse("log tree", rule, "path: it is shorter than the tree is deep")
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for number, sibling in enumerate(path[1:], 1):
        if last == 0:
            c.refuse("log tree", rule, "path: it is longer than the tree is deep")
        on_left, name = bool(at & 1) or at == last, f"level {number}"
        if on_left:
            old = parent(LOG_NODE, sibling, old, None)
            c.steps.append(Step(f"old log, {name}", "climb", (LOG_NODE, None, sibling, True, old)))
        pair = (sibling, new) if on_left else (new, sibling)
        new = parent(LOG_NODE, *pair, None)
        c.steps.append(Step(f"log, {name}", "climb", (LOG_NODE, None, sibling, on_left, new)))
        while on_left and not at & 1 and at:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    c.equal("depth", "the path ends at the root", last, 0)
    c.equal("old root", "is the older log root that the file names", old, f["old_root"])
    c.equal("root", "is the newer log root that the file names", new, f["log_root"])


def check(proof: ProofFile, root: bytes | None = None) -> list[Step]:
    """Check a proof.

    Args:
        proof: What `decode` gave.
        root: The root that it must lead to, from a source that is trusted; None: the one that it names.

    Returns:
        The steps, up to the first that does not hold.
    """
    run = _Check(proof.fields.get("lanes", ""))
    try:
        RULES[proof.kind](run, proof.fields)
        if root is not None:
            run.equal("your root", "is the one that was given", root_of(proof), root)
    except _Stopped:
        pass
    return run.steps


def holds(steps: Sequence[Step]) -> bool:
    """Tell whether a check went through."""
    return bool(steps) and steps[-1].ok


def root_of(proof: ProofFile) -> bytes:
    """Return the root that a proof names."""
    names = ("committed_root", "reward_root", "log_root")
    return next(bytes(proof.fields[name]) for name in names if name in proof.fields)


def statement(proof: ProofFile) -> str:
    """Return what a proof says if it holds."""
    f = proof.fields
    if proof.kind == "log_consistency":
        return (
            f"the log of {f['old_size']} entries with root {f['old_root'].hex()} is the beginning "
            f"of the log of {f['size']} entries with root {f['log_root'].hex()}"
        )
    if proof.kind == "log_inclusion":
        entry = f["entry"]
        return (
            f"epoch {f['epoch']} is entry {f['index']} of the log of {f['size']} entries: aggregator "
            f"0x{entry[41:61].hex()} committed root {entry[61:93].hex()}"
        )
    node, where = f"node {f['node_id']}", f"in epoch {f['epoch']}"
    if proof.kind == "claim":
        return f"{node} earned {f['cumulative_atto']} atto in all, payable to 0x{f['payee'].hex()}"
    if proof.kind == "absent_node":
        return f"{node} has no job {where}"
    row = f["node"].row
    count, sums = sums_of(row[60:], f["lanes"])
    if proof.kind == "absent_job":
        return f"job {f['job_id']} is none of the {count} jobs of {node} {where}"
    if proof.kind == "job":
        late = " (late)" if int.from_bytes(f["job"].row[2:4], "big") & LATE else ""
        number = f"number {f['job'].index + 1} of the {f['job'].size} jobs"
        return f"job {f['job_id']}{late} is {number} of {node} {where}"
    return (
        f"{node} has {count} jobs {where} ({f['lanes']} sums {', '.join(map(str, sums))}) under "
        f"job tree root {row[60:92].hex()}, payee 0x{row[40:60].hex()}"
    )


# ---------------------------------------------------------------------------------- the forms of a file

KINDS = {
    "job": "network text, epoch number, node_id name, job_id name, lanes lanes, job leaf 100, node leaf 116, committed_root data 32",
    "node": "network text, epoch number, node_id name, lanes lanes, node leaf 116, committed_root data 32",
    "absent_job": "network text, epoch number, node_id name, job_id both, lanes lanes, left maybe 100, right maybe 100, node leaf 116, committed_root data 32",
    "absent_node": "network text, epoch number, node_id both, lanes lanes, left maybe 116, right maybe 116, committed_root data 32",
    "claim": "network text, epoch number, node_id both, payee address, cumulative_atto amount, index number, size number, path path 56, total_atto amount, reward_root data 32",
    "log_inclusion": "network text, epoch number, index number, size number, entry data 157, path path 32, log_root data 32",
    "log_consistency": "network text, old_size number, size number, old_root data 32, path path 32, log_root data 32",
}
"""The fields of each kind: name, form, bytes. Binary: `MAGIC`, one byte for the kind (1 is the first), the fields in this
order. JSON: ``meridian_proof`` (1), ``kind``, and these keys, of which a ``name`` is ``node_id`` or, where the node was
asked for by its key, ``node_key``; ``both`` has the key in any case."""

RULES = dict(
    zip(
        KINDS,
        (_job, _node, _absent_job, _absent_node, _claim, _log_inclusion, _log_consistency),
        strict=True,
    )
)
FIELDS = {kind: tuple(one.split() for one in text.split(", ")) for kind, text in KINDS.items()}
LANES = ("pair_u64", "u128")


class _Reader:
    """Reads the binary form; whatever is not there or has another spelling is refused."""

    def __init__(self, data: bytes) -> None:
        self.bytes, self.at, self.field = data, 0, ""

    def refuse(self, reason: str) -> NoReturn:
        raise Malformed(self.field, reason)

    def data(self, width: int) -> bytes:
        self.at += width
        if self.at > len(self.bytes):
            self.refuse("the file ends here")
        return self.bytes[self.at - width : self.at]

    def uint(self, width: int, end: int) -> int:
        value = int.from_bytes(self.data(width), "big")
        if value >= end:
            self.refuse(f"{value} is not below {end}")
        return value

    def text(self, _: int) -> str:
        try:
            return self.data(self.uint(2, 1 << 16)).decode()
        except UnicodeDecodeError:
            self.refuse("is not UTF-8")

    def name(self, _: int) -> Name:
        return Name.of(self.text(0)) if self.uint(1, 2) else Name(self.data(HASH), None)

    def path(self, width: int) -> tuple[bytes, ...]:
        return tuple(self.data(width) for _ in range(self.uint(1, PATH_MAX + 1)))

    def leaf(self, width: int) -> Leaf:
        row = self.data(width)
        return Leaf(row, self.uint(8, NUMBER_END), self.uint(8, NUMBER_END), self.path(NODE))

    def both(self, _: int) -> Name:
        name = self.name(0)
        if name.id is not None and self.data(HASH) != name.key:
            self.refuse("its key is not the SHA-256 of the id")
        return name

    def maybe(self, width: int) -> Leaf | None:
        return self.leaf(width) if self.uint(1, 2) else None

    def number(self, _: int) -> int:
        return self.uint(8, NUMBER_END)

    def amount(self, _: int) -> int:
        return self.uint(16, 1 << 128)

    def address(self, _: int) -> bytes:
        return self.data(20)

    def lanes(self, _: int) -> str:
        return LANES[self.uint(1, len(LANES))]


def unpack(data: bytes) -> ProofFile:
    """Read the binary form.

    Raises:
        Malformed: If it is anything else, or not the only binary form of what it says.
    """
    if len(data) > FILE_BYTES_MAX:
        raise Malformed("", f"it is longer than {FILE_BYTES_MAX} bytes")
    reader = _Reader(data)
    if reader.data(len(MAGIC)) != MAGIC:
        reader.refuse("it does not begin as a binary proof of version 1")
    number = reader.uint(1, len(KINDS) + 1)
    if number == 0:
        reader.refuse("0 is no kind of proof")
    kind = list(KINDS)[number - 1]
    fields = {}
    for name, form, *width in FIELDS[kind]:
        reader.field = name
        fields[name] = getattr(reader, form)(int(*width))
    if reader.at != len(data):
        raise Malformed("", "it goes on behind its end")
    return ProofFile(kind, fields)


class _Packer:
    """Turns the JSON form into the binary one; a value that is not as it would be written is refused."""

    def __init__(self, document: Mapping[str, Any], prefix: str = "") -> None:
        self.rest, self.prefix, self.field = dict(document), prefix, ""

    def refuse(self, reason: str) -> NoReturn:
        raise Malformed(self.prefix + self.field, reason)

    def take(self, field: str) -> Any:
        self.field = field
        if field not in self.rest:
            self.refuse("is missing")
        return self.rest.pop(field)

    def finish(self) -> None:
        if self.rest:
            raise Malformed(self.prefix + min(self.rest), "is no key of this kind of proof")

    def text(self, value: Any, _: int = 0) -> bytes:
        try:
            data = value.encode() if type(value) is str else self.refuse("is not text")
        except UnicodeEncodeError:
            self.refuse("is not Unicode text")
        if len(data) > TEXT_BYTES_MAX:
            self.refuse(f"is longer than {TEXT_BYTES_MAX} bytes")
        return len(data).to_bytes(2, "big") + data

    def number(self, value: Any, _: int = 0) -> bytes:
        if type(value) is not int or not 0 <= value < NUMBER_END:
            self.refuse("is not a number in 0..2^63")
        return value.to_bytes(8, "big")

    def amount(self, value: Any, _: int) -> bytes:
        if type(value) is not str or len(value) > 39 or not (value.isascii() and value.isdigit()):
            self.refuse("is not decimal digits")
        if str(int(value)) != value or int(value) >> 128:
            self.refuse("is not a number of at most 128 bits, without zeros in front")
        return int(value).to_bytes(16, "big")

    def data(self, value: Any, width: int) -> bytes:
        try:
            data = bytes.fromhex(value)
        except (TypeError, ValueError):
            data = b""
        if len(data) != width or data.hex() != value:
            self.refuse(f"is not {width} bytes of lower-case hex")
        return data

    def path(self, value: Any, width: int) -> bytes:
        if type(value) is not list or len(value) > PATH_MAX:
            self.refuse(f"is not a list of at most {PATH_MAX} nodes")
        return bytes((len(value),)) + b"".join([self.data(node, width) for node in value])

    def leaf(self, value: Any, width: int) -> bytes:
        if type(value) is not dict:
            self.refuse("is not an object")
        inner = _Packer(value, f"{self.prefix}{self.field}.")
        data = inner.data(inner.take("row"), width) + inner.number(inner.take("index"))
        data += inner.number(inner.take("size")) + inner.path(inner.take("path"), NODE)
        inner.finish()
        return data

    def maybe(self, value: Any, width: int) -> bytes:
        return b"\0" if value is None else b"\1" + self.leaf(value, width)

    def lanes(self, value: Any, _: int) -> bytes:
        return (
            bytes((LANES.index(value),)) if value in LANES else self.refuse("is no kind of lanes")
        )

    def address(self, value: Any, _: int) -> bytes:
        if type(value) is not str or value[:2] != "0x":
            self.refuse("does not begin with 0x")
        return self.data(value[2:], 20)

    def named(self, field: str, form: str) -> bytes:
        """Return the binary form of ``node_id`` and ``node_key``, or ``job_id`` and ``job_key``."""
        key_field = field.replace("_id", "_key")
        if field not in self.rest:
            return b"\0" + self.data(self.take(key_field), HASH)
        text = b"\1" + self.text(self.take(field))
        return text if form == "name" else text + self.data(self.take(key_field), HASH)


def pack(document: Mapping[str, Any]) -> bytes:
    """Return the binary form of a proof's JSON object.

    Raises:
        Malformed: If it is not a proof, or not the only JSON form of what it says.
    """
    packer = _Packer(document)
    if type(packer.take("meridian_proof")) is not int or document["meridian_proof"] != VERSION:
        packer.refuse(f"is not {VERSION}")
    kind = packer.take("kind")
    if type(kind) is not str or kind not in KINDS:
        packer.refuse("is no kind of proof")
    parts = [MAGIC, bytes((1 + list(KINDS).index(kind),))]
    for field, form, *width in FIELDS[kind]:
        if form in ("name", "both"):
            parts.append(packer.named(field, form))
        else:
            parts.append(getattr(packer, form)(packer.take(field), int(*width)))
    packer.finish()
    return b"".join(parts)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def decode(data: bytes) -> ProofFile:
    """Read a proof file in either form.

    Raises:
        Malformed: With the field that is wrong.
    """
    if data[: len(MAGIC)] == MAGIC or len(data) > FILE_BYTES_MAX:
        return unpack(data)
    if data.count(b"[") + data.count(b"{") > BRACKETS_MAX:
        raise Malformed("", "it is nested too deeply")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_once)
    except ValueError as error:
        raise Malformed("", f"it is neither binary nor JSON: {error}") from error
    if type(document) is not dict:
        raise Malformed("", "it is not a JSON object")
    return unpack(pack(document))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one file and print every step; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check a Meridian proof, every hash of it.")
    parser.add_argument("proof", help="the file, JSON or binary; - is standard input")
    parser.add_argument(
        "--root", metavar="HEX", help="the root that you trust, such as the chain's"
    )
    given = parser.parse_args(arguments)
    try:
        root = None if given.root is None else bytes.fromhex(given.root.removeprefix("0x"))
        with open(0 if given.proof == "-" else given.proof, "rb") as file:
            proof = decode(file.read(FILE_BYTES_MAX + 1))
    except (OSError, ValueError) as error:
        print(f"invalid: {error}")
        return 1
    steps = check(proof, root)
    for number, step in enumerate(steps, 1):
        print(f"{number:3} {'ok  ' if step.ok else 'FAIL'} {step.name}: {step.rule}")
        print(f"         = {step.value}")
    if not holds(steps):
        print(f"invalid: {steps[-1].name}")
        return 1
    print(f"valid: {statement(proof)}")
    if root is None:
        print(
            f"it leads to root {root_of(proof).hex()}: compare that with one that you trust (--root)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
