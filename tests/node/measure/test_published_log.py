"""The published log as outside clients read it, and what its keeper refuses to sign."""

import shutil
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.epoch_log import checkpoint_of, open_checkpoint, verify_log
from meridian.measure.signed_note import verifier_of
from meridian.measure.tiles import (
    Tile,
    TiledTree,
    TileReader,
    bundles_of,
    encode_bundle,
    tiles_of,
)
from meridian.node.measure.published_log import PublishedLog, SignedState, read_log_entries
from meridian.primitives import rfc6962

SEED = bytes(range(32))
ORIGIN = "example.org/epochs"
VERIFIER = verifier_of(ORIGIN, SEED)
ENTRIES = [b"entry %d" % at for at in range(600)]


def log_in(root: Path, origin: str = ORIGIN) -> PublishedLog:
    return PublishedLog(root / "log", SignedState(root / "key.signed"), origin, SEED)


def fill(root: Path, *places: int) -> PublishedLog:
    log = log_in(root)
    for place in places:
        log.append(place, ENTRIES[place])
    return log


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 258 entries, of which the last four came one by one."""
    root = tmp_path_factory.mktemp("log")
    tree = TiledTree(map(rfc6962.leaf_hash, ENTRIES[:254]))
    for tile in (*tiles_of(254), *bundles_of(254)):
        path = root / "log" / tile.path
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_bundle(ENTRIES[:254]) if tile.level is None else tree.tile(tile))
    (root / "key.signed").write_text(checkpoint_of(ORIGIN, ENTRIES[:254]).text)
    fill(root, *range(254, 258))
    return root


def test_the_published_files_are_exactly_the_tiles_of_the_size(long: Path) -> None:
    files = {
        str(path.relative_to(long / "log")) for path in (long / "log").rglob("*") if path.is_file()
    }
    tiles = {tile.path for tile in (*tiles_of(258), *bundles_of(258))}
    # Partial tiles of sizes that had a checkpoint stay until the full one is there.
    earlier = {Tile(level, 1, 1).path for level in (0, None)}
    assert files == {"checkpoint", *tiles, *earlier}


def test_a_client_follows_the_log_from_its_files_alone(long: Path) -> None:
    note = (long / "log/checkpoint").read_bytes()
    checkpoint = open_checkpoint(note, VERIFIER)
    reader = TileReader(checkpoint.size, lambda tile: (long / "log" / tile.path).read_bytes())
    assert reader.root() == checkpoint.root
    for index in (0, 255, 256, 257):
        path = reader.inclusion_path(index)
        leaf = rfc6962.leaf_hash(ENTRIES[index])
        assert rfc6962.verify_inclusion(leaf, index, 258, path, checkpoint.root)
    earlier = checkpoint_of(ORIGIN, ENTRIES[:100])
    path = reader.consistency_path(100)
    assert rfc6962.verify_consistency(100, 258, path, earlier.root, checkpoint.root)
    assert verify_log(note, read_log_entries(long / "log", 258), VERIFIER) == checkpoint


def test_where_a_partial_bundle_is_gone_the_full_one_is_read(long: Path) -> None:
    assert read_log_entries(long / "log", 100) == tuple(ENTRIES[:100])
    with pytest.raises(NotFound):
        read_log_entries(long / "log", 300)
    with pytest.raises(InvalidInput):
        read_log_entries(long / "log", 10**9)


def test_appending_again_changes_nothing_and_another_entry_is_refused(tmp_path: Path) -> None:
    log = fill(tmp_path, 0, 1)
    note = (tmp_path / "log/checkpoint").read_bytes()
    assert log.append(1, ENTRIES[1]) == checkpoint_of(ORIGIN, ENTRIES[:2])
    assert fill(tmp_path, 0, 1) is not log
    assert (tmp_path / "log/checkpoint").read_bytes() == note
    for place, entry in ((1, ENTRIES[2]), (3, ENTRIES[3])):
        with pytest.raises(StorageFailure):
            log.append(place, entry)


@pytest.mark.parametrize("what", ["an older copy", "no entries", "another entry", "another name"])
def test_a_log_that_does_not_lead_to_what_was_signed_is_refused(tmp_path: Path, what: str) -> None:
    fill(tmp_path, 0, 1)
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    fill(tmp_path, 2)
    if what == "an older copy":
        shutil.rmtree(tmp_path / "log")
        shutil.move(tmp_path / "backup", tmp_path / "log")
    elif what == "no entries":
        shutil.rmtree(tmp_path / "log")
    elif what == "another entry":
        bundle = tmp_path / "log/tile/entries/000.p/3"
        bundle.write_bytes(bundle.read_bytes().replace(b"entry 2", b"ENTRY 2"))
    name = "example.org/other" if what == "another name" else ORIGIN
    for _ in range(2):  # nor when it is asked again
        with pytest.raises(StorageFailure, match="signed at size 3"):
            log_in(tmp_path, name).append(2, b"a second history")
    with pytest.raises(StorageFailure):
        log_in(tmp_path, name).open()


def test_without_what_was_signed_last_nothing_is_signed(tmp_path: Path) -> None:
    fill(tmp_path, 0, 1)
    (tmp_path / "key.signed").unlink()
    with pytest.raises(StorageFailure, match="nobody knows what was signed last"):
        log_in(tmp_path).append(2, ENTRIES[2])
    (tmp_path / "key.signed").write_bytes(b"\xff")
    with pytest.raises(StorageFailure, match="damaged"):
        log_in(tmp_path).append(2, ENTRIES[2])


def test_two_services_with_one_key_cannot_sign_two_histories(tmp_path: Path) -> None:
    first, second = fill(tmp_path, 0), log_in(tmp_path)
    second.open()
    first.append(1, ENTRIES[1])
    with pytest.raises(StorageFailure, match="another process"):
        second.append(1, b"a second history")
    note = (tmp_path / "log/checkpoint").read_bytes()
    entries = read_log_entries(tmp_path / "log", 2)
    assert verify_log(note, entries, VERIFIER) == checkpoint_of(ORIGIN, ENTRIES[:2])


def test_a_damaged_checkpoint_is_published_anew(tmp_path: Path) -> None:
    log = fill(tmp_path, 0)
    note = (tmp_path / "log/checkpoint").read_bytes()
    (tmp_path / "log/checkpoint").write_bytes(note[:-9])
    log.append(0, ENTRIES[0])
    assert (tmp_path / "log/checkpoint").read_bytes() == note
