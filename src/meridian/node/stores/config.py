"""Which store a configuration names besides the publication's own directory."""

from pathlib import Path
from typing import Literal

import msgspec

from meridian.errors import InvalidInput
from meridian.node.durable_file import read_whole
from meridian.node.stores.car import CarStore
from meridian.node.stores.s3 import Bucket, S3Store
from meridian.node.stores.sigv4 import Credentials
from meridian.node.stores.store import ObjectStore

CREDENTIALS_BYTES_MAX = 4_096


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where artefacts are put besides ``public/objects``."""

    kind: Literal["local", "s3", "car"] = "local"
    """``local``: nowhere else."""
    file: Path | None = None
    """The CAR file."""
    endpoint: str = ""
    """URL of the S3-compatible service."""
    bucket: str = ""
    """It exists; its permissions are not changed."""
    prefix: str = ""
    """Before all names in the bucket; empty, or ends with a slash."""
    region: str = "us-east-1"
    """The region that requests are signed for."""
    credentials_file: Path | None = None
    """Two lines: access key, secret key. Readable by the owner only."""

    def __post_init__(self) -> None:
        if self.kind == "car" and self.file is None:
            raise InvalidInput("store", "a CAR file needs `file`")
        if self.kind == "s3" and not (self.endpoint and self.bucket and self.credentials_file):
            raise InvalidInput("store", "s3 needs `endpoint`, `bucket` and `credentials_file`")
        if self.prefix and not self.prefix.endswith("/"):
            raise InvalidInput("store", "`prefix` ends with a slash")

    def open(self) -> ObjectStore | None:
        """Return the store; None for ``local``.

        Raises:
            InvalidInput: If the credentials are none, or others may read them.
            StorageFailure: If the CAR file is in use or damaged.
        """
        if self.kind == "car":
            assert self.file is not None, "checked above"
            return CarStore(self.file)
        if self.kind == "s3":
            assert self.credentials_file is not None, "checked above"
            account = _credentials(self.credentials_file, self.region)
            return S3Store(Bucket(self.endpoint, self.bucket, self.prefix, account))
        return None


def _credentials(path: Path, region: str) -> Credentials:
    lines = read_whole(path, CREDENTIALS_BYTES_MAX).decode("ascii", errors="replace").splitlines()
    if path.stat().st_mode & 0o077:
        raise InvalidInput(str(path), "others may read this secret key; run `chmod 600` on it")
    if len(lines) != 2:
        raise InvalidInput(str(path), "two lines are needed: access key, secret key")
    return Credentials(lines[0], lines[1], region)
