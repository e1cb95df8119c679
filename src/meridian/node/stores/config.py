"""Which store a configuration names besides the publication's own directory."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from meridian.errors import InvalidInput
from meridian.node.durable_file import read_whole
from meridian.node.keystore import read_secret
from meridian.node.stores.announce import AnnounceStore, advertisements, chain_path
from meridian.node.stores.car import CarStore
from meridian.node.stores.chain_directory import ChainDirectory
from meridian.node.stores.kubo import KuboStore
from meridian.node.stores.s3 import Bucket, S3Store
from meridian.node.stores.sigv4 import Credentials
from meridian.node.stores.sql import SqlStore, TableName
from meridian.node.stores.sql_database import Database, PostgresDatabase, SqliteDatabase
from meridian.node.stores.store import ObjectStore
from meridian.node.stores.stream import StreamStore, stream_name
from meridian.primitives.keys import PrivateKey

CREDENTIALS_BYTES_MAX = 4_096
ACCOUNT_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Where clients of S3 expect an account in the environment."""

_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "local": (),
    "s3": ("endpoint", "bucket"),
    "car": ("file",),
    "kubo": ("endpoint",),
    "sql": ("key_file",),
    "stream": ("directory", "key_file"),
    "announce": ("directory", "key_file", "endpoint"),
}


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where artefacts are put besides ``public/objects``."""

    kind: Literal["local", "s3", "car", "kubo", "sql", "stream", "announce"] = "local"
    """``local``: nowhere else. The others, and their limits: docs/stores.md."""
    file: Path | None = None
    """The CAR file, or the SQLite file of ``sql``."""
    endpoint: str = ""
    """URL of the S3-compatible service (http or https; the bucket stands in the path), of the IPFS node's RPC API, or of the
    consumer of announcements."""
    bucket: str = ""
    """It exists; its permissions are not changed."""
    prefix: str = ""
    """Before all names in the bucket; empty, or ends with a slash."""
    region: str = "us-east-1"
    """The region that requests are signed for."""
    credentials_file: Path | None = None
    """For ``s3`` two lines: access key, secret key; without it ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` of the environment. For ``kubo`` one: its authorization. For ``sql`` one: libpq's
    connection string of PostgreSQL. Readable by the owner only."""
    directory: Path | None = None
    """Of the stream, or of the publisher's chains: ``announce_server --root`` hands them out."""
    key_file: Path | None = None
    """The key that owns the table, the stream or the advertisements."""
    name: str = "artefacts"
    """Of the table, the stream or the chain of advertisements; an owner may have several."""
    big_blocks: bool = False
    """Lets ``kubo`` keep blocks above 2 MiB, which do not travel between IPFS nodes."""

    def __post_init__(self) -> None:
        missing = [name for name in _NEEDED[self.kind] if not getattr(self, name)]
        if missing:
            raise InvalidInput("store", f"{self.kind} needs `{'`, `'.join(missing)}`")
        if self.kind == "sql" and (self.file is None) == (self.credentials_file is None):
            raise InvalidInput("store", "sql needs either `file` or `credentials_file`")
        if self.prefix and not self.prefix.endswith("/"):
            raise InvalidInput("store", "`prefix` ends with a slash")

    def open(self) -> ObjectStore | None:
        """Return the store; None for ``local``.

        Raises:
            InvalidInput: If the credentials are none, or others may read them.
            NotFound: If there is no key or no credentials file.
            StorageFailure: If the file or directory is in use or damaged.
            RemoteFault: If the database server does not answer.
        """
        if self.kind == "car":
            assert self.file is not None, "checked above"
            return CarStore(self.file)
        if self.kind == "s3":
            access, secret = self._account()
            account = Credentials(access, secret, self.region)
            return S3Store(Bucket(self.endpoint, self.bucket, self.prefix, account))
        if self.kind == "kubo":
            header = self._secrets("authorization")[0] if self.credentials_file else ""
            return KuboStore(self.endpoint, big=self.big_blocks, authorization=header)
        return None if self.kind == "local" else self._owned()

    def _owned(self) -> ObjectStore:
        """Return a store that belongs to a key."""
        assert self.key_file is not None, "checked above"
        key = PrivateKey(read_secret(self.key_file))
        if self.kind == "sql":
            return SqlStore(self._database(), TableName(key.address, self.name), key)
        assert self.directory is not None, "checked above"
        if self.kind == "stream":
            return StreamStore(self.directory, stream_name(key.address, self.name), key)
        name = advertisements(key.address, self.name)
        chain = ChainDirectory(self.directory / chain_path(name), name, key)
        return AnnounceStore(self.endpoint, name, chain)

    def _database(self) -> Database:
        if self.file is not None:
            return SqliteDatabase(self.file)
        return PostgresDatabase(self._secrets("connection string")[0])

    def _account(self) -> Sequence[str]:
        """Return access key and secret key."""
        if self.credentials_file is not None:
            return self._secrets("access key", "secret key")
        found = [os.environ.get(name, "") for name in ACCOUNT_VARIABLES]
        if not all(found):
            raise InvalidInput(
                "store", f"s3 needs `credentials_file`, or {' and '.join(ACCOUNT_VARIABLES)} be set"
            )
        return found

    def _secrets(self, *what: str) -> list[str]:
        """Read the lines of the credentials file, one for each thing."""
        path = self.credentials_file
        assert path is not None, "checked above"
        lines = (
            read_whole(path, CREDENTIALS_BYTES_MAX).decode("ascii", errors="replace").splitlines()
        )
        if path.stat().st_mode & 0o077:
            raise InvalidInput(str(path), "others may read what it holds; run `chmod 600` on it")
        if len(lines) != len(what):
            raise InvalidInput(str(path), f"needed, a line each: {', '.join(what)}")
        return lines
