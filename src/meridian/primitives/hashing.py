"""SHA-256 and the one table of domain tags.

Every hash in a tree, a signature or a protocol message of ours starts with one byte from this table, so that bytes made for one purpose can never be
read as bytes made for another (RFC 6962 section 2.1 gives the reason for leaf and node; CVE-2012-2459 is what happens
without it). Plain SHA-256 names content (objects, node and job keys, network ids), where nothing else can be meant. Keccak-256 stands only where EIP-712 asks for it (`eip712`).
"""

import hashlib
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput

if TYPE_CHECKING:
    from meridian.primitives.kernels.bulk import Bulk

LOG_LEAF: Final = 0x00  # RFC 6962 leaf of the epoch log (L0)
LOG_NODE: Final = 0x01  # RFC 6962 inner node of the epoch log
JOB_LEAF: Final = 0x02  # L2: one job of one node
JOB_NODE: Final = 0x03
NODE_LEAF: Final = 0x04  # L1: one node of one epoch
NODE_NODE: Final = 0x05
CLAIM_LEAF: Final = 0x06  # one payee's cumulative claim
CLAIM_NODE: Final = 0x07
VERDICT_LEAF: Final = 0x08  # the verdicts on one node's jobs
VERDICT_NODE: Final = 0x09
BLOCK: Final = 0x0A  # the decided block
MEMBERS: Final = 0x0B  # protocol context: network, epoch and member set
BATCH_LEAF: Final = 0x0C  # one node's part of a receipt's batch
BATCH_NODE: Final = 0x0D
ROW_BODY: Final = 0x0E  # an evaluator's row
INPUTS_ROOT: Final = 0x0F  # auxiliary inputs of an evaluation
PRIVATE: Final = 0x10  # salted commitment to a job's private fields
SALT: Final = 0x11  # a job's salt from its batch's seed
COMMITTED_ROOT: Final = 0x12  # what stands on chain for an epoch
REWARD_ROOT: Final = 0x13  # what stands on chain for a report's claims
EPOCH_DIGEST: Final = 0x14  # all commitments of an epoch
EPOCH_RECORD: Final = 0x15  # an epoch's record in the epoch log
HAVE: Final = 0x16  # protocol: vector of rows held
PROPOSE: Final = 0x17  # protocol: a proposal
VIEW_CHANGE: Final = 0x18  # protocol: the lock that a member carries into a view
REPORT_SIG: Final = 0x19  # protocol: which report digest a member signed in which attempt
MESSAGE_LEAF: Final = 0x1A  # one signed message in a block of messages
MESSAGE_NODE: Final = 0x1B
MESSAGE_BLOCK: Final = 0x1C  # the header of a block of messages
STORE_ENTRY: Final = 0x1D  # one write to the replicated key-value store
COMMITMENT_RECORD: Final = 0x1E  # all of one commitment in one word on chain
VOID_DIGEST: Final = 0x1F  # the epoch digest after a commitment was voided
SELF_DIGEST: Final = 0x20  # the epoch digest after a node committed itself
TERM_NETWORK: Final = 0x21  # the network id of an agreement that is run anew
ROW_COMMITMENT: Final = 0x22  # what a member signs before it reveals its row
ROW_SALT: Final = 0x23  # the salt of that commitment, from the member's own key
TRACE_LEAF: Final = 0x24  # one node's verdict leaf as evidence of work
TRACE_NODE: Final = 0x25
TRACE_ROOT: Final = 0x26  # one member's root over them, salted with its address
SEALED_LAYER: Final = 0x27  # commitment to the private bundle of a fraud layer
SEALED_SEED: Final = 0x28  # what the salts of an epoch's undisclosed reasons come from
SEALED_SALT: Final = 0x29  # the salt of one undisclosed reason
SEALED_LEAF: Final = 0x2A  # one job's true reason
SEALED_NODE: Final = 0x2B
SEALED_VERDICTS: Final = 0x2C  # a node's verdict leaf with the root over its true reasons
SEALED_COUNTS: Final = 0x2D  # the verdict root with the counts of sealed layers
KZG_NODE: Final = 0x3A  # inner node of the tree over a node's KZG chunks
KZG_CHUNK: Final = 0x3B  # a chunk: the commitments to its jobs' names and to their values
KZG_JOB: Final = 0x3C  # a job's row as a field element
HIDDEN_LEAF: Final = 0x3D  # one committed value of a list that proofs hide in
HIDDEN_NODE: Final = 0x3E
HIDDEN_PROOF: Final = 0x3F  # challenges of proofs about hidden values

DIGEST_BYTES: Final = 32
EMPTY_TREE: Final = hashlib.sha256(b"").digest()
"""The root hash of a tree without leaves (RFC 6962 section 2.1)."""

ByteMatrix = npt.NDArray[np.uint8]
"""Rows of bytes: shape (number of rows, bytes of a row)."""


HASHLIB: Final = "hashlib"
KERNELS: Final = ("lanes-16", "lanes-8", "lanes-4")
"""The compiled kernels, by the number of messages that they hash at a time."""
_PREPARE_ROWS: Final = 100_000
"""Work on so many rows is worth loading the kernels for."""
_KERNEL_ROWS: Final = 4
"""Fewer rows than this are not worth calling them for."""


@dataclass(slots=True)
class _State:
    """Which kernel this process uses."""

    forced: str | None = None
    bulk: "Bulk | None" = None
    is_settled: bool = False


_state: Final = _State()


def sha256(*parts: bytes) -> bytes:
    """Return the SHA-256 of the parts put one behind the other."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def tagged(tag: int, *parts: bytes) -> bytes:
    """Return SHA-256 of one domain tag and the parts."""
    return sha256(bytes((tag,)), *parts)


def force(kernel: str | None) -> None:
    """Choose the kernel that `prepare` loads: ``hashlib``, or one of `KERNELS`; None for the best one.

    Raises:
        InvalidInput: If there is none of that name.
    """
    if kernel not in (None, HASHLIB, *KERNELS):
        raise InvalidInput("kernel", f"{kernel!r} is not one of {HASHLIB}, {', '.join(KERNELS)}")
    _state.forced, _state.bulk, _state.is_settled = kernel, None, False


def prepare() -> str:
    """Load the compiled kernels, once; before that, and where they cannot be used, hashlib does the work.

    Takes about half a second, and a few seconds where numba has not compiled them before. May be called in a thread.
    A kernel that cannot be loaded, or does not agree with hashlib, is warned of and not used.

    Returns:
        The name of what is in use now.
    """
    if not _state.is_settled:
        _state.bulk = None if _state.forced == HASHLIB else _load(_state.forced)
        _state.is_settled = True
    return _state.bulk.name if _state.bulk else HASHLIB


def bulk(count: int) -> "Bulk | None":
    """Return the compiled kernels for work on `count` rows, or None where hashlib should do it."""
    if count >= _PREPARE_ROWS:
        prepare()
    return _state.bulk if count >= _KERNEL_ROWS else None


def _load(name: str | None) -> "Bulk | None":
    try:
        from meridian.primitives.kernels.bulk import Bulk, best_name  # noqa: PLC0415  (numba)
        from meridian.primitives.kernels.self_test import passes  # noqa: PLC0415

        found = Bulk.load(name or best_name())
        if passes(found):
            return found
        reason = f"the kernel {found.name} does not agree with hashlib"
    except Exception as error:  # noqa: BLE001  (whatever keeps a compiler from working, the answer is the same)
        reason = f"{type(error).__name__}: {error}"
    warnings.warn(f"SHA-256 stays with hashlib: {reason}", RuntimeWarning, stacklevel=4)
    return None


def sha256_rows(
    rows: ByteMatrix, tag: int | None = None, out: ByteMatrix | None = None
) -> ByteMatrix:
    """Hash every row of a byte matrix: the one bulk kernel of the commitment.

    Args:
        rows: Shape (n, width), any n including 0.
        tag: A domain tag that stands before each row.
        out: Where the digests go: the first 32 bytes of its n rows. By default a new matrix.

    Returns:
        Shape (n, 32).
    """
    count, width = rows.shape
    if out is None:
        out = np.empty((count, DIGEST_BYTES), dtype=np.uint8)
    kernels = bulk(count)
    if kernels is not None:
        kernels.rows(rows, tag, out)
    elif count:
        prefix = b"" if tag is None else bytes((tag,))
        digest = hashlib.sha256
        pieces = struct.iter_unpack(f"{width}s", rows.tobytes()) if width else [(b"",)] * count
        joined = b"".join([digest(prefix + piece).digest() for (piece,) in pieces])
        out[:, :DIGEST_BYTES] = np.frombuffer(joined, dtype=np.uint8).reshape(count, DIGEST_BYTES)
    return out[:, :DIGEST_BYTES]


def tag_rows(tag: int, *columns: ByteMatrix) -> ByteMatrix:
    """Lay byte columns side by side behind one domain tag, ready for `sha256_rows`.

    Args:
        tag: The domain tag, first byte of every row.
        columns: Each of shape (n, own width), all with the same n.
    """
    count = columns[0].shape[0]
    out = np.empty((count, 1 + sum(column.shape[1] for column in columns)), dtype=np.uint8)
    out[:, 0] = tag
    at = 1
    for column in columns:
        out[:, at : at + column.shape[1]] = column
        at += column.shape[1]
    return out
