"""Backup files: written under another name and renamed when they are durable, read in one pass that believes nothing."""

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.node.backup.manifest import Directory, Entry, Manifest
from meridian.node.backup.snapshot import Passphrase, copy_directory
from meridian.node.durable_file import sync_directory

MANIFEST: Final = "manifest.json"
MANIFEST_DIGEST: Final = "manifest.sha256"
MANIFEST_BYTES_MAX: Final = 1 << 30
_PREFIX: Final = "files/"
_CHUNK: Final = 1 << 20

Receive = Callable[[Entry], AbstractContextManager[IO[bytes] | None]]
"""Opens where a file of a backup is written; None: it is not."""


def create(
    source: Path,
    target: Path,
    passphrase: Passphrase | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a backup of a directory; a second copy of it lies beside the target meanwhile.

    Args:
        source: A directory of a running or stopped process, or of several.
        target: Ends in ``.tar`` or ``.tar.zst``; must not exist.
        passphrase: For keys; without one they are left out.
        on_progress: Told what is being done.

    Raises:
        InvalidInput: If the target exists or has another ending, or the source cannot be copied.
        StorageFailure: If the disk refused, or a part of the source is damaged.
    """
    if not target.name.endswith((".tar", ".tar.zst")):
        raise InvalidInput("TARGET", "ends neither in .tar nor in .tar.zst")
    if os.path.lexists(target):
        raise InvalidInput("TARGET", f"{target} exists already")
    if target.absolute().resolve().is_relative_to(source.resolve()):
        raise InvalidInput("TARGET", "lies in the directory that is backed up")
    made_at_s = int(time.time())
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(".tmp", f".{target.name}.", target.parent))
    try:
        staged = work / "files"
        staged.mkdir()
        on_progress("copying")
        copy = copy_directory(source, staged, passphrase)
        on_progress("reading digests")
        files = tuple(
            Entry(
                path=path, kind=copy.kinds[path], mode=copy.modes[path], **_measured(staged / path)
            )
            for path in sorted(copy.kinds)
        )
        folders = tuple(Directory(path=p, mode=m) for p, m in sorted(copy.directories.items()))
        manifest = Manifest(
            made_at_s=made_at_s, directories=folders, files=files, left_out=copy.omissions()
        )
        on_progress("writing")
        with (work / "backup").open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            _write(file, target, manifest, staged)
            file.flush()
            os.fsync(file.fileno())
        os.link(work / "backup", target)  # never replaces one
        sync_directory(target.parent)
    except FileExistsError:
        raise InvalidInput("TARGET", f"{target} exists already") from None
    except OSError as error:
        raise StorageFailure(f"{error.filename or target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def _measured(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _write(file: IO[bytes], target: Path, manifest: Manifest, staged: Path) -> None:
    text = manifest.encode()
    with contextlib.ExitStack() as stack:
        stream: Any = file
        if target.suffix == ".zst":
            stream = stack.enter_context(pa.CompressedOutputStream(_Open(file), "zstd"))
        archive = stack.enter_context(
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT)
        )
        _add(archive, MANIFEST, len(text), io.BytesIO(text))
        digest = hashlib.sha256(text).hexdigest().encode()
        _add(archive, MANIFEST_DIGEST, len(digest), io.BytesIO(digest))
        for entry in manifest.files:
            with (staged / entry.path).open("rb") as content:
                _add(archive, _PREFIX + entry.path, entry.bytes, content)


class _Open(io.BufferedIOBase):
    """A file that a compressing stream does not close with itself."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, content)


def read(file: Path, receive: Callable[[Manifest], Receive] | None = None) -> Manifest:
    """Read a backup and verify every byte of it.

    Args:
        file: The backup.
        receive: Called with the manifest; says where each file is written. Without it nothing is.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it is damaged; the field is the path inside it, or the backup where no path is to blame.
    """
    try:
        with _opened(file) as archive:
            manifest = _read_manifest(archive)
            opening = None if receive is None else receive(manifest)
            for entry in manifest.files:
                member = archive.next()
                if member is None or member.name != _PREFIX + entry.path or not member.isreg():
                    raise InvalidInput(
                        entry.path, "is missing, or something else stands in its place"
                    )
                with contextlib.nullcontext(None) if opening is None else opening(entry) as output:
                    _read_entry(archive, member, entry, output)
            if archive.next() is not None:
                raise InvalidInput(str(file), "holds more than its manifest says")
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename}: no such file") from None
    except (tarfile.TarError, EOFError, pa.ArrowException) as error:
        raise InvalidInput(str(file), f"is damaged, or no backup: {error}") from None
    except OSError as error:
        if error.filename is not None or error.errno is not None:
            raise StorageFailure(f"{error.filename or file}: {error.strerror}") from error
        raise InvalidInput(str(file), f"is damaged: {error}") from None
    return manifest


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    with file.open("rb") as raw, contextlib.ExitStack() as stack:
        stream: Any = raw
        if raw.peek(4)[:4] == b"\x28\xb5\x2f\xfd":  # RFC 8878
            stream = stack.enter_context(pa.CompressedInputStream(raw, "zstd"))
        yield stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))


def _read_manifest(archive: tarfile.TarFile) -> Manifest:
    found: dict[str, bytes] = {}
    for name in (MANIFEST, MANIFEST_DIGEST):
        member = archive.next()
        content = None if member is None or member.name != name else archive.extractfile(member)
        if member is None or content is None or member.size > MANIFEST_BYTES_MAX:
            raise InvalidInput(name, "is missing: this is no backup, or a damaged one")
        found[name] = content.read()
    if hashlib.sha256(found[MANIFEST]).hexdigest().encode() != found[MANIFEST_DIGEST]:
        raise InvalidInput(MANIFEST, "is damaged: its SHA-256 is another one")
    return Manifest.decode(found[MANIFEST])


def _read_entry(
    archive: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry, output: IO[bytes] | None
) -> None:
    content = archive.extractfile(member)
    assert content is not None, "a regular file has content"
    digest, size = hashlib.sha256(), 0
    while data := content.read(_CHUNK):
        digest.update(data)
        size += len(data)
        if output is not None:
            output.write(data)
    if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
        raise InvalidInput(entry.path, "is damaged: its bytes are not those of the manifest")
    if output is not None:
        output.flush()
        os.fsync(output.fileno())
