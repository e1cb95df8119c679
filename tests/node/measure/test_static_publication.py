"""A publication is files: any web server can host it, from its directory or from a bucket."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meridian.errors import NotFound
from meridian.measure.epoch_log import EpochRecord, checkpoint_of, open_checkpoint
from meridian.measure.signed_note import verifier_of
from meridian.measure.tiles import Tile, TileReader
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog, SignedState, entries_from
from meridian.node.stores.car import CarStore
from meridian.node.stores.s3 import S3Store
from meridian.primitives import rfc6962
from meridian.primitives.cid import cid_text, digest_of, parse_cid
from meridian.primitives.ids import Address
from node.stores.s3_server import s3_server

SEED = bytes(range(32))
ORIGIN = "example.org/epochs"
EPOCHS = range(5, 12)


@contextlib.contextmanager
def web_server(root: Path) -> Iterator[str]:
    """Python's own web server, as a process."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--directory", str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode()
        yield line.split("(")[1].split("/)")[0]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@dataclass
class Follower:
    """A client that has a URL and a verifier key."""

    url: str

    def read(self, name: str) -> bytes:
        try:
            with urllib.request.urlopen(f"{self.url}/{name}", timeout=10) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            raise NotFound(name) from error

    def tile(self, tile: Tile) -> bytes:
        return self.read(f"log/{tile.path}")


def manifest(epoch: int) -> bytes:
    return b"manifest of %d" % epoch


def publish(publication: Publication, root: Path, epochs: range) -> None:
    state = SignedState(root / "log.signed")
    log = PublishedLog(publication.root / "log", state, ORIGIN, SEED, mirror=publication.mirror)
    for epoch in epochs:
        digest = publication.put(manifest(epoch))
        publication.write_index(epoch, {"epoch": epoch, "manifest": cid_text(digest)})
        record = EpochRecord(bytes(32), epoch, Address(bytes(20)), bytes(32), 0, bytes(24), digest)
        log.append(epoch - EPOCHS.start, record.encode())


def follow(client: Follower) -> None:
    """Everything that a publication says, from its URL alone."""
    checkpoint = open_checkpoint(client.read("log/checkpoint"), verifier_of(ORIGIN, SEED))
    assert checkpoint.size == len(EPOCHS)
    entries = entries_from(checkpoint.size, client.tile)
    assert checkpoint_of(ORIGIN, entries) == checkpoint
    reader = TileReader(checkpoint.size, client.tile)
    for index, entry in enumerate(entries):
        path = reader.inclusion_path(index)
        leaf = rfc6962.leaf_hash(entry)
        assert rfc6962.verify_inclusion(leaf, index, checkpoint.size, path, checkpoint.root)
        record = EpochRecord.decode(entry)
        named = json.loads(client.read(f"epochs/{record.epoch:06d}.json"))["manifest"]
        assert parse_cid(named)[1] == record.manifest
        data = client.read(f"objects/{named}")
        assert data == manifest(record.epoch)
        assert digest_of(data) == record.manifest
    with pytest.raises(NotFound):
        client.read("log/tile/0/000.p/9")


def test_a_directory_and_a_bucket_are_followed_from_a_plain_web_server(tmp_path: Path) -> None:
    """The bucket is configured when some epochs are published already, and holds them all."""
    with s3_server(tmp_path) as bucket:
        publish(Publication(tmp_path / "public"), tmp_path, EPOCHS[:3])
        publication = Publication(tmp_path / "public", S3Store(bucket))
        publication.fill()
        publish(publication, tmp_path, EPOCHS)
    with web_server(tmp_path) as url:
        follow(Follower(f"{url}/public"))
        follow(Follower(f"{url}/s3/{bucket.name}/{bucket.prefix.rstrip('/')}"))


def test_a_car_file_holds_every_artefact_besides(tmp_path: Path) -> None:
    publish(Publication(tmp_path / "public"), tmp_path, EPOCHS[:2])
    with contextlib.closing(CarStore(tmp_path / "objects.car")) as store:
        publication = Publication(tmp_path / "public", store)
        publication.fill()
        publish(publication, tmp_path, EPOCHS)
        assert sorted(store.digests()) == sorted(digest_of(manifest(one)) for one in EPOCHS)
