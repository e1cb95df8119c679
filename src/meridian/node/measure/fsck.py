"""Checking a measure service's directory: every root again from the published segments, the job log frame by frame.

A torn tail of the last log file is no damage: it was never promised. Nothing is changed.
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meridian.errors import MeridianError
from meridian.measure.columns import read_segment
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.job_log import frame_bytes, proves_damage, read_frame
from meridian.node.measure.publication import Publication
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.primitives.cid import parse_cid


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong."""

    file: str
    reason: str


def check(directory: Path, on_progress: Callable[[str], None]) -> Iterator[Damage]:
    """Yield what is wrong in a data directory, or in a publication alone.

    Args:
        directory: Of a service that is stopped, or a publication.
        on_progress: Told what is being checked.
    """
    yield from _log(directory / "log", on_progress)
    public = directory / "public" if (directory / "public").is_dir() else directory
    publication = Publication(public)
    for epoch in publication.indexed_epochs():
        on_progress(f"epoch {epoch}")
        try:
            yield from _epoch(publication, epoch, directory / "sealed")
        except (MeridianError, KeyError, TypeError, ValueError) as error:
            yield Damage(f"epochs/{epoch:06d}.json", f"{type(error).__name__}: {error}")


def _epoch(publication: Publication, epoch: int, sealed: Path) -> Iterator[Damage]:
    index = publication.read_index(epoch)
    assert index is not None, "it is listed"
    digest = parse_cid(index["manifest"])[1]
    manifest = Manifest.decode(publication.get(digest))
    schema = NetworkSchema.decode(publication.get(manifest.schema))
    nodes = Nodes.decode(publication.get(manifest.nodes))
    builder = EpochBuilder(schema, epoch)
    for segment in manifest.segments:
        path = publication.path(segment.digest)
        try:
            table = read_segment(publication.get(segment.digest), schema)
            builder.add(table.column("node_id"), rebuild_rows(schema, table))
        except MeridianError as error:
            yield Damage(str(path), str(error))
            return
    made = builder.finish(dict(zip(nodes.ids, nodes.payees, strict=True)))
    stated = (manifest.root.hex(), manifest.n_nodes, manifest.annotation.hex(), manifest.epoch)
    found = (made.root.hex(), made.n_nodes, made.annotation.hex(), epoch)
    if stated != found:
        yield Damage(str(publication.path(digest)), "its root is not that of its segments")
    if (index["root"], index["n_nodes"], index["annotation"]) != found[:3]:
        yield Damage(f"epochs/{epoch:06d}.json", "its root is not that of the segments")
    try:
        if (stored := SealedStore(sealed).epoch(epoch, manifest.root)) is not None:
            stored.check()
    except MeridianError as error:
        yield Damage(str(sealed / f"{epoch:06d}"), str(error))


def _log(directory: Path, on_progress: Callable[[str], None]) -> Iterator[Damage]:
    files = sorted(directory.glob("jobs-*.log"))
    for path in files:
        on_progress(path.name)
        size = path.stat().st_size
        if not size:
            continue
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        at = 0
        while at < size and read_frame(data, at, size) is not None:
            at += frame_bytes(bytes(data[at : at + 64])) or size
        if at < size and (path != files[-1] or proves_damage(data, at, size)):
            yield Damage(str(path), f"damaged at byte {at}")
