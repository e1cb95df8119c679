"""The plain Merkle tree of RFC 6962 and RFC 9162 section 2.1: the epoch log (L0), its witnesses, blocks of messages.

The log's own tag of inner nodes is the default; trees of other things pass theirs.

Checked against the 518 outside cases in ``../shared/vectors/rfc6962`` where that folder is present.
"""

from collections.abc import Sequence

from meridian.errors import InvalidInput
from meridian.primitives.hashing import DIGEST_BYTES, EMPTY_TREE, LOG_LEAF, LOG_NODE, tagged


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a log entry."""
    return tagged(LOG_LEAF, entry)


def node_hash(left: bytes, right: bytes, tag: int = LOG_NODE) -> bytes:
    """Return the hash of two subtrees."""
    return tagged(tag, left, right)


def split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def root(leaves: Sequence[bytes], tag: int = LOG_NODE) -> bytes:
    """Return the tree head of leaf hashes."""
    if not leaves:
        return EMPTY_TREE
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return node_hash(root(leaves[:middle], tag), root(leaves[middle:], tag), tag)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return whose subtrees' roots prove leaf `index` of a tree: ranges of leaves, from the leaf up.

    Source: RFC 9162 section 2.1.3.1.
    """
    if not 0 <= index < size:
        raise InvalidInput("index", f"{index} is outside a tree of {size} leaves")
    start, end, ranges = 0, size, []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """Return whose subtrees' roots prove that a tree extends its first `old_size` leaves.

    Source: RFC 9162 section 2.1.4.1.
    """
    if not 0 < old_size <= size:
        raise InvalidInput("old_size", f"{old_size} is not in 1..{size}")
    start, end, ranges = 0, size, []
    while old_size < end:
        middle = start + split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # else the old tree is a whole subtree of the new one, and its root is known
        ranges.append((start, end))
    return ranges[::-1]


def inclusion_path(leaves: Sequence[bytes], index: int, tag: int = LOG_NODE) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree."""
    return [root(leaves[start:end], tag) for start, end in inclusion_ranges(index, len(leaves))]


def consistency_path(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the tree extends its first `old_size` leaves."""
    return [root(leaves[start:end]) for start, end in consistency_ranges(old_size, len(leaves))]


def _well_formed(*hashes: bytes) -> bool:
    return all(len(item) == DIGEST_BYTES for item in hashes)


def verify_inclusion(
    leaf: bytes,
    index: int,
    size: int,
    path: Sequence[bytes],
    head: bytes,
    tag: int = LOG_NODE,
) -> bool:
    """Tell whether `leaf` stands at `index` in the tree of `size` leaves (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _well_formed(leaf, head, *path):
        return False
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node, tag)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling, tag)
        at, last = at >> 1, last >> 1
    return last == 0 and node == head


def verify_consistency(
    old_size: int, new_size: int, path: Sequence[bytes], old_head: bytes, new_head: bytes
) -> bool:
    """Tell whether the new tree extends the old one (RFC 9162 section 2.1.4.2)."""
    if old_size == new_size:
        return old_size > 0 and not path and old_head == new_head
    if not 0 < old_size < new_size or not _well_formed(old_head, new_head, *path):
        return (
            False  # consistency with an empty tree says nothing, so it is not accepted as a proof
        )
    proof = list(path)
    if old_size & (old_size - 1) == 0:
        proof.insert(0, old_head)
    if not proof:
        return False
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_head and new == new_head


def is_subtree(start: int, end: int) -> bool:
    """Tell whether leaves from `start` to before `end` form one subtree of every tree that has them.

    The shape of draft-ietf-plants-merkle-tree-certs section 4.1: `start` is a multiple of the smallest power of two
    that holds the leaves.
    """
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0


def verify_subtree_inclusion(
    leaf: bytes, index: int, start: int, end: int, path: Sequence[bytes], head: bytes
) -> bool:
    """Tell whether `leaf` stands at `index` of the log, in the subtree of the leaves from `start` to before `end`.

    Args:
        leaf: The leaf hash.
        index: Its place in the whole log.
        start: First leaf of the subtree.
        end: The leaf behind its last one.
        path: From the leaf to the subtree's head.
        head: The subtree's head.
    """
    return is_subtree(start, end) and verify_inclusion(leaf, index - start, end - start, path, head)


def verify_subtree_consistency(
    start: int, end: int, size: int, path: Sequence[bytes], subtree_head: bytes, head: bytes
) -> bool:
    """Tell whether a tree contains a subtree (draft-ietf-plants-merkle-tree-certs section 4.4.3).

    Args:
        start: First leaf of the subtree.
        end: The leaf behind its last one.
        size: Leaves of the whole tree.
        path: The proof.
        subtree_head: The subtree's head.
        head: The whole tree's head.
    """
    if 0 <= start == end <= size:  # the empty subtree stands in every tree
        return not path and subtree_head == EMPTY_TREE
    if start == 0 and end == size:
        return not path and subtree_head == head
    if not is_subtree(start, end) or end > size or not _well_formed(subtree_head, head, *path):
        return False
    first, last, top = start, end - 1, size - 1
    while first != last and (last == top or last & 1):
        first, last, top = first >> 1, last >> 1, top >> 1
    proof = list(path)
    if first == last:
        proof.insert(0, subtree_head)
    if not proof:
        return False
    part = whole = proof[0]
    for sibling in proof[1:]:
        if top == 0:
            return False
        if last & 1 or last == top:
            if first < last:
                part = node_hash(sibling, part)
            whole = node_hash(sibling, whole)
            while not last & 1 and last:
                first, last, top = first >> 1, last >> 1, top >> 1
        else:
            whole = node_hash(whole, sibling)
        first, last, top = first >> 1, last >> 1, top >> 1
    return top == 0 and part == subtree_head and whole == head
