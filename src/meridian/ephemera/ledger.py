"""The first statement of every member per kind and view, and what later ones prove.

Law: the first statement wins and is never replaced; a different second one is evidence and nothing else.
Tallies are read off the first statements, so that nobody counts twice. Bounds: one entry per (kind, member,
view of the window), one proof per (member, kind of guilt).
"""

from __future__ import annotations

import enum
from collections import Counter

from meridian.ephemera import evidence
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import Lock
from meridian.errors import InvalidInput

_LASTING = frozenset({Kind.ROW, Kind.HAVE})


class Finding(enum.Enum):
    """What a statement is, compared with what its signer said before."""

    NEW = "new"
    KNOWN = "known"
    CONFLICT = "conflict"


class Ledger:
    """First statements of one epoch."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._first: dict[tuple[Kind, int], dict[int, evidence.Signed]] = {}
        self._counts: dict[tuple[Kind, int], Counter[bytes]] = {}
        self._reached: dict[tuple[Kind, int], bytes] = {}
        self._aside: dict[tuple[Kind, int], dict[int, evidence.Signed]] = {}
        self._locks: dict[tuple[int, int], Lock | None] = {}
        self._proofs: dict[tuple[int, str], bytes] = {}

    def set_aside(
        self, kind: Kind, member: int, view: int, digest: bytes, signature: bytes
    ) -> bool:
        """Keep a statement unchecked if it can count for nothing: a quorum said the same, and it is the member's first.

        It is checked when the member says something else (`examine`). Only for what came from the member itself:
        else anybody could put a signature that does not verify where the real one belongs.
        """
        key = (kind, view)
        if self._reached.get(key) != digest or member in self._first[key]:
            return False
        kept = self._aside.setdefault(key, {}).setdefault(member, (digest, signature))
        return kept[0] == digest

    def examine(
        self, kind: Kind, member: int, view: int, digest: bytes, signature: bytes
    ) -> Finding:
        """Compare, and check the signature of anything that is not already known. Changes nothing.

        Raises:
            InvalidInput: The signature is not the member's.
        """
        first = self._first.get((kind, view), {}).get(member)
        if first is not None and first[0] == digest:
            return Finding.KNOWN
        if not self._context.signed(member, kind, view, digest, signature):
            raise InvalidInput("signature", f"is not that of member {member}")
        if first is None and not self._contradicts_aside(kind, member, view, digest):
            return Finding.NEW
        return Finding.CONFLICT

    def record(
        self,
        kind: Kind,
        member: int,
        view: int,
        digest: bytes,
        signature: bytes,
        lock: Lock | None = None,
    ) -> list[tuple[evidence.Guilt, bytes]]:
        """Keep a verified statement if it is the first; return the evidence that it makes, if any is new."""
        if self._contradicts_aside(kind, member, view, digest):
            self._enter(kind, member, view, *self._aside[kind, view].pop(member))
        first = self._enter(kind, member, view, digest, signature)
        if first[0] != digest:
            proof = evidence.double(self._context, member, kind, view, first, (digest, signature))
            return self.prove(evidence.Guilt(member, f"double_{kind.name.lower()}"), proof)
        if kind is Kind.VIEW_CHANGE:
            self._locks.setdefault((member, view), lock)
        if kind in {Kind.VOTE, Kind.VIEW_CHANGE}:
            return self._find_amnesia(member)
        return []

    def prove(self, guilt: evidence.Guilt, proof: bytes) -> list[tuple[evidence.Guilt, bytes]]:
        """Keep the first proof of each guilt; return it only then."""
        if (guilt.member, guilt.kind) in self._proofs:
            return []
        self._proofs[guilt.member, guilt.kind] = proof
        return [(guilt, proof)]

    def proved(self, guilt: evidence.Guilt) -> bool:
        """Whether this guilt is proved already."""
        return (guilt.member, guilt.kind) in self._proofs

    def said(self, kind: Kind, view: int) -> dict[int, evidence.Signed]:
        """First statements of a kind in a view, by member; to be read only."""
        return self._first.get((kind, view), {})

    def views(self, kind: Kind) -> list[int]:
        """Views with statements of a kind, ascending."""
        return sorted(view for said, view in self._first if said is kind)

    def quorum(self, kind: Kind, view: int) -> tuple[bytes, tuple[tuple[int, bytes], ...]] | None:
        """The digest that a quorum stated, with exactly a quorum of signatures; None if there is none."""
        digest = self._reached.get((kind, view))
        if digest is None:
            return None
        said = self.said(kind, view).items()
        signers = sorted((member, sig) for member, (what, sig) in said if what == digest)
        return digest, tuple(signers[: self._context.quorum])

    def decided_views(self, kind: Kind) -> list[int]:
        """Views in which a quorum stated the same, ascending."""
        return sorted(view for said, view in self._reached if said is kind)

    def forget_before(self, view: int) -> None:
        """Drop statements of views below the window; ROW and HAVE stay."""
        for kind, old in [key for key in self._first if key[1] < view and key[0] not in _LASTING]:
            del self._first[kind, old], self._counts[kind, old]
            self._reached.pop((kind, old), None)
            self._aside.pop((kind, old), None)
        for key in [key for key in self._locks if key[1] < view]:
            del self._locks[key]

    def _contradicts_aside(self, kind: Kind, member: int, view: int, digest: bytes) -> bool:
        """Whether the member truly said something else, which was set aside: checked only now."""
        kept = self._aside.get((kind, view), {}).get(member)
        return (
            kept is not None
            and kept[0] != digest
            and self._context.signed(member, kind, view, *kept)
        )

    def _enter(
        self, kind: Kind, member: int, view: int, digest: bytes, signature: bytes
    ) -> evidence.Signed:
        """Make a verified statement the first of its member, unless there is one; return the first."""
        slot = self._first.setdefault((kind, view), {})
        if member not in slot:
            slot[member] = (digest, signature)
            self._count(kind, view, digest)
        return slot[member]

    def _count(self, kind: Kind, view: int, digest: bytes) -> None:
        counts = self._counts.setdefault((kind, view), Counter())
        counts[digest] += 1
        # Two quorums share a correct member, so the first digest to get there is the only one.
        if counts[digest] >= self._context.quorum:
            self._reached.setdefault((kind, view), digest)

    def _find_amnesia(self, member: int) -> list[tuple[evidence.Guilt, bytes]]:
        for vote_view in self.views(Kind.VOTE):
            vote = self.said(Kind.VOTE, vote_view).get(member)
            if vote is None:
                continue
            for view in self.views(Kind.VIEW_CHANGE):
                change = self.said(Kind.VIEW_CHANGE, view).get(member)
                if change is None:
                    continue
                lock = self._locks[member, view]
                if evidence.denies(vote_view, vote[0], view, lock):
                    proof = evidence.amnesia(
                        self._context, member, (vote_view, *vote), (view, lock, change[1])
                    )
                    return self.prove(evidence.Guilt(member, "amnesia"), proof)
        return []
