"""A network's public files, put into a bucket: what `meridian verify --from URL` reads there is what it reads in the directory.

Law: what names other files is read before these are put, and put after them. So whoever reads the bucket while a network
runs, and is mirrored again and again, finds everything that is named. Artefacts never change and are put once; the newest
indices, checkpoints and lists are put again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput
from meridian.node.durable_file import read_whole
from meridian.node.measure.publication import NEWEST_INDICES
from meridian.node.network_file import FILE_NAME, NetworkFile
from meridian.node.publications import EVIDENCE, EVIDENCE_INDEX
from meridian.node.stores.s3 import S3Store
from meridian.node.stores.store import OBJECT_BYTES_MAX

NAMING: Final = ("epochs/*.json", EVIDENCE_INDEX, "log/checkpoint")
"""What names other files, in the order in which it is put."""
NAMED: Final = ("objects/*", "log/tile/**/*", f"{EVIDENCE}/*.json")
RESULTS: Final = "results/epoch-*.json"


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What one run has done."""

    files: int
    """Files of the network."""
    put: int
    """Those that were put, the others were there."""
    put_bytes: int


def mirror(
    root: Path, store: S3Store, on_progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Mirrored:
    """Put the public files of a data directory into a bucket, below its prefix, under the names that they have there.

    Args:
        root: The data directory: `network.json` and the publications that it names; those that are URLs are elsewhere already.
        store: The bucket.
        on_progress: Told how many files are done, and of how many.

    Raises:
        NotFound: If there is no network file.
        InvalidInput: If a publication lies outside the directory, or a file is longer than 2 GiB.
        StorageFailure: If a file cannot be read.
        RemoteFault: If the bucket refuses or is away; what was put stays, and another run goes on.
    """
    directories = NetworkFile.load(root).directories(root)
    naming = [
        (path, read_whole(path))
        for pattern in NAMING
        for one in directories
        for path in _newest(_files(one, pattern))
    ]
    naming.append((root / FILE_NAME, read_whole(root / FILE_NAME)))
    named = [
        path for pattern in NAMED for one in directories for path in _files(one, pattern)
    ] + _files(root, RESULTS)
    older = [path for one in directories for path in _files(one, NAMING[0])]
    there = set(store.names())
    missing = [path for path in (*named, *older) if _name(path, root) not in there]
    again = {path for path, _ in naming}
    missing = [path for path in missing if path not in again]
    of, put_bytes = len(missing) + len(naming), 0
    for done, path in enumerate(missing, 1):
        data = read_whole(path, OBJECT_BYTES_MAX)
        store.put_file(_name(path, root), data)
        put_bytes += len(data)
        on_progress(done, of)
    for done, (path, data) in enumerate(naming, len(missing) + 1):
        store.put_file(_name(path, root), data)
        put_bytes += len(data)
        on_progress(done, of)
    return Mirrored(len({*named, *older, *again}), of, put_bytes)


def _files(directory: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern, sorted; what is being written has a name that begins with a dot."""
    found = (path for path in directory.glob(pattern) if not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _newest(paths: list[Path]) -> list[Path]:
    return paths[-NEWEST_INDICES:]


def _name(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        raise InvalidInput("publications", f"{path} lies outside {root}") from None
