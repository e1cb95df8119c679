"""An append-only signed stream of one node, in the manner of Ceramic's event streams.

A stream has an owner, who alone appends. Each entry names an object, its place and its predecessor's CID, and is signed
(`signed_chain`); a reader who has seen an entry refuses every chain that does not descend from it (`follow`).

Limits, beside those of `chain_directory`: nothing is ever deleted, so personal data do not belong here. One process
appends. Opening checks all signatures (about 20,000 a second). There is no network of nodes that hands streams round and
no anchoring of heads in a chain's blocks, as Ceramic has: whoever reads needs the directory, and who reads for the first
time can be shown an older head. A contract that stores heads or CIDs closes that.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from meridian.errors import NotFound
from meridian.node.stores.chain_directory import ChainDirectory
from meridian.node.stores.signed_chain import STREAM_ENTRY, ChainName, Entry, pull
from meridian.node.stores.store import OBJECT_BYTES_MAX, refuse_delete
from meridian.primitives.cid import cid_text
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


def stream_name(owner: Address, name: str) -> ChainName:
    """Return which chain of entries the stream is."""
    return ChainName(STREAM_ENTRY, owner, name)


class StreamStore:
    """An `ObjectStore` in a stream.

    Args:
        directory: Where the stream is; made when absent.
        name: Of `stream_name`.
        key: The owner's; None: it is only read.
        bytes_max: The longest object.

    Raises:
        InvalidInput: If the key is not the owner's.
        StorageFailure: If the stream is damaged or forked, or another process appends.
    """

    append_only: Final = True

    def __init__(
        self,
        directory: Path,
        name: ChainName,
        key: PrivateKey | None,
        bytes_max: int = OBJECT_BYTES_MAX,
    ) -> None:
        self._chain = ChainDirectory(directory, name, key, bytes_max)

    @property
    def head(self) -> Entry | None:
        """The newest entry: who has it can tell every other stream."""
        return self._chain.head

    def put(self, data: bytes) -> bytes:
        """Append an object; one that is in the stream already is not appended again."""
        return self._chain.append(data)[0]

    def get(self, digest: bytes) -> bytes:
        """Return an object that the stream names, checked."""
        if self._chain.entry_of(digest) is None:
            raise NotFound(f"stream {self._chain.name.name!r}: no {cid_text(digest)}")
        return self._chain.objects.get(digest)

    def has(self, digest: bytes) -> bool:
        """Tell whether an entry names the object and its file is there."""
        return self._chain.entry_of(digest) is not None and self._chain.objects.has(digest)

    def digests(self) -> Iterator[bytes]:
        """Yield the objects, oldest first."""
        return self._chain.digests()

    def delete(self, digest: bytes) -> None:
        """Refused: `InvalidInput`."""
        del digest
        refuse_delete("a stream")

    def close(self) -> None:
        """Let others append."""
        self._chain.close()

    def follow(self, seen: Entry | None) -> list[Entry]:
        """Return what was appended after `seen`, checked; raises `signed_chain.Fork` where the stream forked."""
        head = self._chain.head
        if head is None:
            return []
        fetch: Callable[[bytes], bytes] = self._chain.entry_bytes
        return pull(self._chain.name, head, seen, fetch)
