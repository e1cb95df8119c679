"""Published artefacts by their digests, from the publication directories that a network file names."""

from collections.abc import Sequence
from pathlib import Path

from meridian.errors import NotFound
from meridian.node.durable_file import read_whole
from meridian.node.stores.store import OBJECT_BYTES_MAX
from meridian.primitives.cid import cid_text, digest_of


def read_published(directories: Sequence[Path], digest: bytes) -> bytes:
    """Return the bytes of a digest from the first directory that has them undamaged.

    Args:
        directories: Publication directories (`NetworkFile.directories`).
        digest: SHA-256 of the artefact.

    Raises:
        NotFound: If none has.
    """
    for directory in directories:
        path = directory / "objects" / cid_text(digest)
        if path.is_file():
            data = read_whole(path, OBJECT_BYTES_MAX)
            if digest_of(data) == digest:
                return data
    raise NotFound(f"no publication holds {cid_text(digest)}")
