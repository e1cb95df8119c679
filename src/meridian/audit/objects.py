"""Published objects: every copy must be what its name says, or the link that it belongs to is broken."""

from collections.abc import Sequence

from meridian.audit.evidence import Broken
from meridian.audit.source import EvidenceSource, Pointer
from meridian.primitives.cid import cid_text, digest_of


def fetch(source: EvidenceSource, digest: bytes, what: str) -> bytes:
    """Return the bytes of an object.

    Args:
        source: The publications.
        digest: The object's SHA-256.
        what: What it is, for the reader.

    Raises:
        Broken: If no publication has it, or if any copy has other bytes; the files are named.
    """
    copies = source.object(digest)
    if not copies:
        raise Broken(f"{what} is not published", [f"no publication holds {cid_text(digest)}"])
    bad = [copy.file for copy in copies if digest_of(copy.data) != digest]
    if bad:
        raise Broken(
            f"{len(bad)} of {len(copies)} copies of {what} have other bytes than their name says",
            bad,
        )
    return copies[0].data


def pointed(pointers: Sequence[Pointer], what: str) -> list[tuple[str, bytes]]:
    """Return (file, digest) of the index files.

    Raises:
        Broken: If there is none, or if any cannot be read.
    """
    if not pointers:
        raise Broken(f"no publication names {what} of this epoch")
    bad = [f"{pointer.file}: {pointer.problem}" for pointer in pointers if pointer.digest is None]
    if bad:
        raise Broken(f"{len(bad)} of {len(pointers)} index files cannot be read", bad)
    return [(pointer.file, pointer.digest) for pointer in pointers if pointer.digest is not None]
