"""Tiles against the definition in RFC 6962's own words, and proofs from the tiles alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.measure.tiles import (
    BUNDLE_BYTES_MAX,
    Tile,
    TiledTree,
    TileReader,
    bundles_of,
    decode_bundle,
    encode_bundle,
    tiles_of,
)
from meridian.primitives import rfc6962
from meridian.primitives.hashing import sha256

LEAVES = [sha256(at.to_bytes(4, "big")) for at in range(66_000)]
"""More than 256 full tiles, so that there are three rows."""


@pytest.fixture(scope="module")
def tree() -> TiledTree:
    return TiledTree(LEAVES)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(1, 1234067), "tile/1/x001/x234/067"),
        (Tile(None, 1234067, 1), "tile/entries/x001/x234/067.p/1"),
        (Tile(2, 1000), "tile/2/x001/000"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path


def test_the_specifications_example_of_70000_entries() -> None:
    tiles = list(tiles_of(70_000))
    assert [sum(tile.level == level for tile in tiles) for level in range(3)] == [274, 2, 1]
    partial = {tile.level: tile.width for tile in tiles if tile != tile.whole}
    assert partial == {0: 112, 1: 17, 2: 1}
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == list(bundles_of(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 1_000))
def test_growth_brings_exactly_the_tiles_that_were_not_there(old: int, more: int) -> None:
    before, after = set(tiles_of(old)), set(tiles_of(old + more))
    assert set(tiles_of(old + more, beyond=old)) == after - before
    bundles = set(bundles_of(old + more)) - set(bundles_of(old))
    assert set(bundles_of(old + more, beyond=old)) == bundles


def test_every_hash_of_every_tile_is_the_root_that_the_specification_names(
    tree: TiledTree,
) -> None:
    for tile in [*tiles_of(600), *(one for one in tiles_of(66_000) if one.level)]:
        data = tree.tile(tile)
        span = 256 ** (tile.level or 0)
        for at in (0, tile.width // 2, tile.width - 1):
            first = (tile.index * 256 + at) * span
            assert data[32 * at : 32 * at + 32] == rfc6962.root(LEAVES[first : first + span])


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000])
def test_roots_and_proofs_from_tiles_are_those_of_the_leaves(tree: TiledTree, size: int) -> None:
    reader, leaves = TileReader(size, tree.tile), LEAVES[:size]
    head = rfc6962.root(leaves)
    assert reader.root() == head
    for index in {0, size // 3, size - 1} if size else ():
        assert reader.inclusion_path(index) == rfc6962.inclusion_path(leaves, index)
        assert reader.leaf(index) == leaves[index]
    for old in {1, size // 2, size - 1, size} - {0} if size > 1 else ():
        path = reader.consistency_path(old)
        assert path == rfc6962.consistency_path(leaves, old)
        assert rfc6962.verify_consistency(old, size, path, reader.root(old), head)


def test_a_proof_needs_few_tiles(tree: TiledTree) -> None:
    asked: list[Tile] = []

    def fetch(tile: Tile) -> bytes:
        asked.append(tile)
        return tree.tile(tile)

    reader = TileReader(tree.size, fetch)
    head = reader.root()
    path = reader.inclusion_path(40_000)
    assert rfc6962.verify_inclusion(LEAVES[40_000], 40_000, tree.size, path, head)
    assert len(asked) == len(set(asked)) <= 5
    with pytest.raises(InvalidInput):
        reader.inclusion_path(66_000)
    with pytest.raises(InvalidInput):
        reader.root(66_001)


def test_a_wrong_tile_leads_to_another_root_and_a_short_one_is_refused(tree: TiledTree) -> None:
    head = TileReader(300, tree.tile).root()

    def flipped(tile: Tile) -> bytes:
        data = bytearray(tree.tile(tile))
        data[-1] ^= 1
        return bytes(data)

    assert TileReader(300, flipped).root() != head
    for wrong in (lambda tile: tree.tile(tile)[:-1], lambda tile: tree.tile(tile) + bytes(32)):
        with pytest.raises(InvalidInput):
            TileReader(300, wrong).root()


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_bundles_hold_exactly_their_entries(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == tuple(entries)
    for wrong, width in ((data, len(entries) + 1), (data + b"\0", len(entries)), (b"\0", 1)):
        with pytest.raises(InvalidInput):
            decode_bundle(wrong, width)
    if entries:
        with pytest.raises(InvalidInput):
            decode_bundle(data, len(entries) - 1)
        with pytest.raises(InvalidInput):
            decode_bundle(data[:-1], len(entries))


def test_an_entry_has_at_most_65535_bytes() -> None:
    assert encode_bundle([b"ab", b""]) == b"\x00\x02ab\x00\x00"
    assert len(encode_bundle([bytes(65_535)] * 256)) == BUNDLE_BYTES_MAX == Tile(None, 0).bytes_max
    with pytest.raises(InvalidInput):
        encode_bundle([bytes(65_536)])


def test_ranges_of_proofs_agree_with_the_outside_vectors(shared_dir: Path) -> None:
    """Every outside proof that verifies has as many hashes as we would send for its sizes."""
    folder = shared_dir / "vectors/rfc6962/testdata"
    checked = 0
    for path in [*folder.glob("inclusion/**/*.json"), *folder.glob("consistency/**/*.json")]:
        case = json.loads(path.read_text())
        if case["wantErr"] or not (case.get("proof") or ()):
            continue
        if "leafIdx" in case:
            ranges = rfc6962.inclusion_ranges(case["leafIdx"], case["treeSize"])
        else:
            ranges = rfc6962.consistency_ranges(case["size1"], case["size2"])
        assert len(ranges) == len(case["proof"]), path
        checked += 1
    assert checked == 8
