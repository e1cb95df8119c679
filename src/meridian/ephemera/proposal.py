"""What justifies a proposal after view 0: a quorum's locks, and the certificate of the highest.

Law (bft.md section 4, L2): if a block got a quorum of VOTEs in some view, every valid proposal of a later
view carries that block, because any quorum of VIEW_CHANGEs includes a correct member that is locked on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from meridian.ephemera.block import Certificate, verify_certificate
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import Claim, Justification, Lock, ViewChange, lock_digest
from meridian.errors import InvalidInput


def justify(context: Context, changes: Mapping[int, ViewChange]) -> Justification:
    """The justification that a quorum of verified VIEW_CHANGEs makes."""
    claims = tuple(
        Claim(member, changes[member].lock, changes[member].signature)
        for member in sorted(changes)[: context.quorum]
    )
    best: Certificate | None = None
    for claim in claims:
        certificate = changes[claim.member].certificate
        if certificate is not None and (best is None or certificate.view > best.view):
            best = certificate
    return Justification(claims, best)


def verify_justification(
    context: Context, view: int, block_hash: bytes, justification: Justification | None
) -> None:
    """Raise InvalidInput unless `block_hash` may be proposed in `view`."""
    if justification is None:
        if view > 0:
            raise InvalidInput("justification", "is missing")
        return
    members = [claim.member for claim in justification.claims]
    if len(members) < context.quorum or members[-1] >= context.n:
        raise InvalidInput("justification", f"needs {context.quorum} members' claims")
    if any(a >= b for a, b in pairwise(members)):
        raise InvalidInput("justification", "must be strictly ascending by member")
    best = _highest_lock(view, justification)
    certificate = justification.certificate
    if best is None:
        if certificate is not None:
            raise InvalidInput("justification", "carries a certificate that no claim names")
    elif certificate is None or (certificate.view, certificate.block_hash) != best:
        raise InvalidInput("justification", "does not prove the highest lock")
    elif block_hash != best[1]:
        raise InvalidInput("block", "is not the block of the highest lock")
    for claim in justification.claims:
        digest = lock_digest(claim.lock)
        if not context.signed(claim.member, Kind.VIEW_CHANGE, view, digest, claim.signature):
            raise InvalidInput("justification", f"signature of {claim.member} does not verify")
    if certificate is not None:
        verify_certificate(context, certificate, Kind.ECHO)


def _highest_lock(view: int, justification: Justification) -> Lock | None:
    locks = {claim.lock for claim in justification.claims if claim.lock is not None}
    if not locks:
        return None
    best = max(locks)
    if best[0] >= view:
        raise InvalidInput("justification", "claims a lock of a later view")
    if any(lock[0] == best[0] and lock != best for lock in locks):
        raise InvalidInput("justification", "claims two highest locks")
    return best
