"""Files of a directory over HTTP: ETag, compression, ranges; never anything outside the directory.

Small files are read whole and compressed once for each version; compressed bytes are kept within a bound. Long ones,
and parts of any, are streamed as they are. A file may be replaced at any time (by a rename): an answer is of one version.
"""

import asyncio
import errno
import os
import stat
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from meridian.errors import NotFound, Overloaded, StorageFailure

READ_WHOLE_MAX: Final = 4 << 20
"""Longer files are streamed, uncompressed."""
COMPRESS_MIN: Final = 1_024
KEPT_BYTES_MAX: Final = 64 << 20
THREADS: Final = 2
_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
)
WAITING_MAX: Final = 512
"""Answers that wait for a thread."""
PATH_CHARACTERS_MAX: Final = 512
RETRY_S: Final = 1
GZIP_LEVEL: Final = 6
_GZIP_WINDOW: Final = 31
"""zlib's word for the gzip format with the largest window."""

BINARY: Final = "application/octet-stream"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".col": BINARY,
}
_PACKED: Final = frozenset({".png"})
"""Compressed by their format."""


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a file, as it is sent."""

    mark: tuple[int, int]
    """Time of the last change (ns) and length."""
    body: bytes
    is_packed: bool

    @property
    def etag(self) -> str:
        """The validator; the two encodings of a version have different ones (RFC 9110, 8.8.3)."""
        return f'"{self.mark[0]:x}-{self.mark[1]:x}{"-gz" if self.is_packed else ""}"'


class StaticFiles:
    """Serves files of any number of directories.

    Threads of its own read and compress, so that the loop never waits for a disk.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "web-files")
        self._waiting = 0
        self._kept: OrderedDict[Path, _Version] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the threads; what they work on is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def answer(
        self, request: web.Request, root: Path, name: str, cache: str, kind: str | None = None
    ) -> web.StreamResponse:
        """Return the answer with a file.

        Args:
            request: Its headers say what the client has and accepts.
            root: The directory.
            name: The file's path in it, as it was asked for.
            cache: The header ``Cache-Control``.
            kind: The media type; None: what the name's end says.

        Raises:
            NotFound: If there is no such file, or the path is not one that we serve.
            Overloaded: If too many wait.
        """
        if self._waiting >= WAITING_MAX:
            raise Overloaded(RETRY_S)
        wants_packed = "gzip" in request.headers.get("Accept-Encoding", "")
        self._waiting += 1
        try:
            path, version = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._find, root, name, wants_packed, "Range" in request.headers
            )
        finally:
            self._waiting -= 1
        headers = {
            "Cache-Control": cache,
            "Content-Type": kind or TYPES.get(path.suffix, BINARY),
            "Vary": "Accept-Encoding",
        }
        if version is None:
            return web.FileResponse(path, headers=headers)
        headers["ETag"] = version.etag
        if version.etag in _known(request):
            return web.Response(status=304, headers=headers)
        if version.is_packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=version.body, headers=headers)

    def _find(
        self, root: Path, name: str, wants_packed: bool, in_parts: bool
    ) -> tuple[Path, _Version | None]:
        """Return the file's path, and its version if it is to be sent whole."""
        path = safe_path(root, name)
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise NotFound("no such file")
                if in_parts or found.st_size > READ_WHOLE_MAX:
                    return path, None
                mark = found.st_mtime_ns, found.st_size
                packs = wants_packed and path.suffix not in _PACKED and mark[1] >= COMPRESS_MIN
                known = self._known(path, mark) if packs else None
                if known is not None:
                    return path, known
                body = file.read(READ_WHOLE_MAX + 1)
        except OSError as error:
            if error.errno in _ABSENT:
                raise NotFound("no such file") from None
            raise StorageFailure(f"{path}: {error.strerror}") from error
        if not packs:
            return path, _Version(mark, body, is_packed=False)
        version = _Version(mark, _gzip(body), is_packed=True)
        self._keep(path, version)
        return path, version

    def _known(self, path: Path, mark: tuple[int, int]) -> _Version | None:
        with self._lock:
            found = self._kept.get(path)
            if found is None or found.mark != mark:
                return None
            self._kept.move_to_end(path)
            return found

    def _keep(self, path: Path, version: _Version) -> None:
        with self._lock:
            old = self._kept.pop(path, None)
            self._kept_bytes += len(version.body) - (0 if old is None else len(old.body))
            self._kept[path] = version
            while self._kept_bytes > KEPT_BYTES_MAX:
                _, gone = self._kept.popitem(last=False)
                self._kept_bytes -= len(gone.body)


def safe_path(root: Path, name: str) -> Path:
    """Return where a file of a directory is.

    Raises:
        NotFound: If the name leads anywhere else, also over a symbolic link, or is hidden.
    """
    parts = name.split("/")
    if len(name) > PATH_CHARACTERS_MAX or not all(map(_is_plain, parts)):
        raise NotFound("no such file")
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise NotFound("no such file")
    return path


def _is_plain(part: str) -> bool:
    return part != "" and not part.startswith(".") and part.isprintable() and "\\" not in part


def _known(request: web.Request) -> Sequence[str]:
    """Return the validators that the client has; a weak one counts as its strong one (RFC 9110, 13.1.2)."""
    given = request.headers.get("If-None-Match", "")
    return [one.strip().removeprefix("W/") for one in given.split(",")]


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(body) + packer.flush()
