"""`meridian fsck` is silent about a sound directory, names the file of a flipped byte, and changes nothing."""

import fcntl
from pathlib import Path

import pytest
from test_external_sort import JOBS, published

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.measure.fsck import check, leftovers
from meridian.node.measure.job_log import JobLog
from meridian.node.measure.published_log import PublishedLog, SignedState
from meridian.node.measure.seal import record_of
from meridian.primitives.cid import cid_text


def made(folder: Path) -> dict[str, Path]:
    """A stopped service's directory with one epoch; its files by what they are."""
    publication, manifest = published(folder, [JOBS], sealed=folder / "sealed")
    index = {"manifest": cid_text(manifest.digest), "root": manifest.root.hex()}
    index |= {"n_nodes": manifest.n_nodes, "annotation": manifest.annotation.hex()}
    publication.write_index(5, index)
    state = SignedState(folder / "signed")
    log = PublishedLog(folder / "public/log", state, "meridian/saturn", bytes(range(32)))
    log.open()
    log.append(0, record_of(manifest).encode())
    jobs = JobLog(folder / "log", 1 << 20)
    assert list(jobs.recover()) == []
    for number in range(3):
        jobs.append(5, bytes([number]) * 100)
        jobs.sync()
    jobs.close()
    stored = folder / "sealed/000005"
    return {
        "segment": publication.path(manifest.segments[0].digest),
        "nodes": publication.path(manifest.nodes),
        "manifest": publication.path(manifest.digest),
        "index": folder / "public/epochs/000005.json",
        "checkpoint": folder / "public/log/checkpoint",
        "bundle": next((folder / "public/log/tile/entries").glob("000.p/1")),
        "tile": next((folder / "public/log/tile/0").glob("000.p/1")),
        "job-log": folder / "log/jobs-00000000.log",
        "rows": stored / "rows",
        "subtrees": stored / "subtrees",
        "header": stored / "header",
    }


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "what",
    [
        "segment",
        "nodes",
        "manifest",
        "index",
        "checkpoint",
        "bundle",
        "tile",
        "job-log",
        "rows",
        "subtrees",
        "header",
    ],
)
def test_a_flipped_byte_is_named(tmp_path: Path, what: str) -> None:
    paths = made(tmp_path)
    data = bytearray(paths[what].read_bytes())
    at = {"index": data.find(b'"root"') + 10, "checkpoint": len("meridian/saturn\n1\n")}.get(
        what, len(data) // 2
    )
    data[at] = data[at] ^ 1 if what != "index" else ord("0") + (data[at] == ord("0"))
    paths[what].write_bytes(data)
    found = list(check(tmp_path, lambda _: None))
    assert found
    assert all(one.reason for one in found)
    named = {"manifest": "000005.json", "nodes": "000005.json", "bundle": "checkpoint"}
    expected = named.get(what, paths[what].name)
    if what in {"rows", "subtrees", "header"}:
        expected = "000005"
    assert any(Path(one.file).name == expected for one in found), found


def test_a_sound_directory_is_clean_and_nothing_in_it_changes(tmp_path: Path) -> None:
    paths = made(tmp_path)
    with paths["job-log"].open("ab") as file:
        file.write(b"MJL2\x05\0\0\0")  # a torn tail, which was never promised
    (tmp_path / "public/epochs/.000006.json.abc.tmp").write_bytes(b"half")
    before = files(tmp_path)
    assert list(check(tmp_path, lambda _: None)) == []
    assert [path.name for path in leftovers(tmp_path)] == [".000006.json.abc.tmp"]
    assert list(check(tmp_path / "public", lambda _: None)) == []
    assert files(tmp_path) == before


def test_a_running_service_and_a_strange_directory_are_refused(tmp_path: Path) -> None:
    made(tmp_path)
    with (tmp_path / "log/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageFailure, match="a service is running here"):
            list(check(tmp_path, lambda _: None))
    strange = tmp_path / "strange"
    strange.mkdir()
    with pytest.raises(InvalidInput, match="neither a service nor a publication"):
        list(check(strange, lambda _: None))
    assert list(strange.iterdir()) == []


def test_chosen_epochs_are_checked_alone(tmp_path: Path) -> None:
    paths = made(tmp_path)
    for what in ("segment", "job-log"):
        data = bytearray(paths[what].read_bytes())
        data[len(data) // 2] ^= 1
        paths[what].write_bytes(data)
    assert {one.file for one in check(tmp_path, lambda _: None)} == {
        str(paths["segment"]),
        str(paths["job-log"]),
    }
    assert {one.file for one in check(tmp_path, lambda _: None, range(5, 6))} == {
        str(paths["segment"])
    }
    assert list(check(tmp_path, lambda _: None, range(6, 900_000))) == []
