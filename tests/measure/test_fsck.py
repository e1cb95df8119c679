"""`meridian fsck` is silent about a sound directory and names the file of a flipped byte."""

from pathlib import Path

import pytest
from test_external_sort import JOBS, published

from meridian.node.measure.fsck import check
from meridian.primitives.cid import cid_text


@pytest.mark.parametrize("what", ["", "segment", "nodes", "index"])
def test_a_flipped_byte_is_named(tmp_path: Path, what: str) -> None:
    publication, manifest = published(tmp_path, [JOBS], sealed=tmp_path / "sealed")
    index = {"manifest": cid_text(manifest.digest), "root": manifest.root.hex()}
    index |= {"n_nodes": manifest.n_nodes, "annotation": manifest.annotation.hex()}
    if what == "index":
        index["root"] = "00" * 32
    publication.write_index(5, index)
    paths = {
        "segment": publication.path(manifest.segments[0].digest),
        "nodes": publication.path(manifest.nodes),
    }
    if what in paths:
        data = bytearray(paths[what].read_bytes())
        data[len(data) // 2] ^= 1
        paths[what].write_bytes(data)
    assert [bool(one.reason) for one in check(tmp_path, lambda _: None)] == [True] * bool(what)
