"""What `meridian verify --from URL` reads: a data directory that any web server publishes, and a chain of one's own choice.

Nothing that the server says is believed: objects must hash to their names, and everything else is compared with the chain.
What is asked for is kept in a temporary directory for as long as the audit takes, so that it is fetched once and checked
by the same code as a directory on disk. A server that does not have a file and one that hides it look the same: the link
that needs it is broken.
"""

import contextlib
import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from meridian.audit import source as plain
from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.measure.epoch_log import stated_size
from meridian.measure.signed_note import NOTE_BYTES_MAX
from meridian.measure.tiles import Tile
from meridian.node.audit_chain import ContractChain
from meridian.node.audit_sources import (
    INDEX_BYTES_MAX,
    OBJECT_BYTES_MAX,
    PublishedSource,
    network_values,
)
from meridian.node.chain.rpc import Rpc, RpcUnavailable
from meridian.node.durable_file import read_whole
from meridian.node.job_store import MEMORY_MIB
from meridian.node.measure.published_log import entries_from
from meridian.node.network_file import FILE_NAME, NetworkFile
from meridian.primitives.cid import cid_text

TIMEOUT_S: Final = 60.0
PIECE_BYTES: Final = 1 << 20
_ABSENT: Final = (http.client.FORBIDDEN, http.client.NOT_FOUND, http.client.GONE)


class PublishedUrl:
    """Files below a URL, fetched into a directory when they are asked for.

    Args:
        url: Of the data directory, http or https.
        root: Where fetched files are kept, under the same names.

    Raises:
        InvalidInput: If the URL is neither http nor https.
    """

    def __init__(self, url: str, root: Path) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidInput("--from", f"{url!r} is not an http or https URL")
        self._base = url.rstrip("/")
        self.root = root
        self._asked: set[str] = set()

    def fetch(self, name: str, limit: int) -> bool:
        """Fetch a file unless that was tried before; return whether it is there.

        A file that is longer than the limit is cut one byte behind it, and so is not what it should be.

        Raises:
            InvalidInput: If the name leads out of the directory.
            RemoteFault: If the server does not answer.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise InvalidInput("publications", f"{name!r} leads out of the published directory")
        path = self.root.joinpath(*parts)
        if name not in self._asked:
            self._asked.add(name)
            self._download(f"{self._base}/{urllib.parse.quote(name)}", path, limit)
        return path.is_file()

    def _download(self, url: str, path: Path, limit: int) -> None:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) only, see __init__
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    left = limit + 1
                    while left > 0 and (piece := answer.read(min(PIECE_BYTES, left))):
                        file.write(piece)
                        left -= len(piece)
        except urllib.error.HTTPError as error:
            if error.code not in _ABSENT:
                raise RemoteFault(f"{url}: answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            path.unlink(missing_ok=True)  # half a file is no file
            raise RemoteFault(f"{url}: {error}") from error


class _Publication:
    """One publication, fetched into a folder.

    Args:
        files: Where the network's files are fetched.
        text: As the network file names it: relative to the URL, or a URL of its own.
        number: Its number, which names the folder of one that has a URL of its own.
    """

    def __init__(self, files: PublishedUrl, text: str, number: int) -> None:
        self._elsewhere = "://" in text
        self.folder = f"elsewhere/{number}" if self._elsewhere else text
        self._files = PublishedUrl(text, files.root / self.folder) if self._elsewhere else files
        self._away = False

    def fetch(self, name: str, limit: int) -> bool:
        """Fetch a file of the publication; one that is elsewhere and away is as good as one that publishes nothing.

        Raises: As `PublishedUrl.fetch`.
        """
        if not self._elsewhere:
            return self._files.fetch(f"{self.folder}/{name}", limit)
        try:
            return not self._away and self._files.fetch(name, limit)
        except RemoteFault:
            self._away = True
            return False


class RemoteSource(PublishedSource):
    """A `PublishedSource` whose files come from a URL.

    Args:
        files: Where they are fetched.
        publications: The publication directories, relative to the URL, and URLs of those that are elsewhere.
        network: What the network file says.
        chain: The chain.
        memory_mib: As a `PublishedSource`.
    """

    def __init__(
        self,
        files: PublishedUrl,
        publications: Sequence[str],
        network: plain.Network,
        chain: plain.ChainView,
        memory_mib: int = MEMORY_MIB,
    ) -> None:
        self._files = files
        self._places = [_Publication(files, text, at) for at, text in enumerate(publications)]
        folders = [place.folder for place in self._places]
        super().__init__(files.root, folders, network, chain, memory_mib)

    def _fetch(self, name: str, limit: int) -> None:
        for place in self._places:
            place.fetch(name, limit)

    def object(self, digest: bytes) -> list[plain.Copy]:
        """Return the copies of an object, one for each publication that has it."""
        self._fetch(f"objects/{cid_text(digest)}", OBJECT_BYTES_MAX)
        return super().object(digest)

    def manifests(self, epoch: int) -> list[plain.Pointer]:
        """Return what the measure publications name for an epoch."""
        self._fetch(f"epochs/{epoch:06d}.json", INDEX_BYTES_MAX)
        return super().manifests(epoch)

    def outcomes(self, epoch: int) -> list[plain.Pointer]:
        """Return what the evaluators' publications name for an epoch."""
        self._fetch(f"epochs/{epoch:06d}.outcome.json", INDEX_BYTES_MAX)
        return super().outcomes(epoch)

    def results(self, epoch: int) -> list[plain.Copy]:
        """Return the published result file of an epoch, if any."""
        self._files.fetch(f"results/epoch-{epoch:06d}.json", OBJECT_BYTES_MAX)
        return super().results(epoch)

    def logs(self) -> list[plain.LogCopy]:
        """Return the published epoch logs."""
        for place in self._places:
            if place.fetch("log/checkpoint", NOTE_BYTES_MAX):
                path = self._files.root / place.folder / "log/checkpoint"
                note = read_whole(path, NOTE_BYTES_MAX + 1)
                with contextlib.suppress(InvalidInput, NotFound):  # then the link is broken
                    entries_from(stated_size(note), partial(self._bundle, place))
        return super().logs()

    def _bundle(self, place: _Publication, tile: Tile) -> bytes:
        name = f"log/{tile.path}"
        if not place.fetch(name, tile.bytes_max):
            raise NotFound(f"{name}: not published")
        return read_whole(self._files.root / place.folder / name, tile.bytes_max)


@contextlib.contextmanager
def open_published(
    url: str, rpc_url: str | None, memory_mib: int = MEMORY_MIB
) -> Iterator[plain.EvidenceSource]:
    """Open the evidence below a URL for as long as the context lasts.

    Args:
        url: Of the data directory: ``network.json`` lies there, and the publications that it names.
        rpc_url: The chain's endpoint that is believed; by default the one that the network file names.
        memory_mib: How much memory an audit may need.

    Raises:
        NotFound: If there is no network file.
        InvalidInput: If the URL or the network file is none.
        RemoteFault: If server or chain do not answer.
    """
    with tempfile.TemporaryDirectory(prefix="meridian-verify-") as folder:
        root = Path(folder)
        files = PublishedUrl(url, root)
        if not files.fetch(FILE_NAME, OBJECT_BYTES_MAX):
            raise NotFound(f"{url}: publishes no {FILE_NAME}, or not to everybody")
        network = NetworkFile.load(root)
        rpc = Rpc(rpc_url or network.rpc_url)
        try:
            rpc.call("eth_chainId")
            chain = ContractChain(rpc, network)
            values = network_values(network)
            yield RemoteSource(files, network.publications, values, chain, memory_mib)
        except RpcUnavailable as error:
            raise RemoteFault(
                f"the chain at {rpc_url or network.rpc_url} does not answer; --rpc-url names another endpoint"
            ) from error
        finally:
            rpc.close()
