"""One epoch's work: an honest publication gives a row; every tampering gives a reason and no row."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.evaluate.row import Row
from meridian.measure.columns import write_segment
from meridian.measure.manifest import Manifest, Nodes, SegmentRef
from meridian.measure.schema import Field, NetworkSchema
from meridian.node import job_store
from meridian.node.evaluator import engine
from meridian.node.evaluator.engine import Engine
from meridian.node.job_store import JobStore
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, network_id, node_key
from meridian.scale.settings import EngineKind, EngineSettings
from meridian.scale.tasks import InlinePool
from node.evaluator.evaluator_world import (
    BUDGET,
    DEFINITION,
    INPUTS,
    NODE_IDS,
    SCHEMA,
    Net,
    jobs_of,
)

EPOCH = 5


@pytest.fixture
def world(pristine: Net) -> Net:
    """The shared chain, with a publication of its own: nothing here sends a transaction."""
    return replace(pristine, objects={})


def test_an_honest_publication_gives_the_row_of_its_jobs(world: Net) -> None:
    commitment = world.said_of(world.publish(EPOCH))
    work = world.prepare(commitment)
    row = Row.decode(work.observation.body)
    assert row == work.observation.row
    assert row.header == work.terms.header
    assert (row.header.epoch, row.header.commitment) == (EPOCH, commitment.digest)
    assert row.header.function == DEFINITION.evaluation_function.digest
    assert row.node_keys == tuple(sorted(map(node_key, NODE_IDS)))
    assert work.node_ids == {node_key(name): name for name in NODE_IDS}
    good = dict.fromkeys(NODE_IDS, 0)
    for job in jobs_of(EPOCH).to_pylist():
        good[job["node_id"]] += job["status"] == 200
    assert dict(zip(row.node_keys, row.weights, strict=True)) == {
        node_key(name): number for name, number in good.items()
    }


def test_the_terms_are_those_of_the_chain(world: Net) -> None:
    work = world.prepare(world.said_of(world.publish(EPOCH)))
    assert work.terms.members == tuple(sorted(key.address for key in world.accounts.evaluators))
    assert work.terms.budget_atto == BUDGET
    assert work.terms.parameters == DEFINITION.parameters
    assert work.terms.payees == {node_key(name): world.payee(name) for name in NODE_IDS}


def test_two_evaluators_compute_the_same_bytes(world: Net) -> None:
    commitment = world.said_of(world.publish(EPOCH))
    assert world.prepare(commitment).observation.body == world.prepare(commitment).observation.body


def test_a_row_is_the_same_where_the_jobs_lie_in_files(
    world: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commitment = world.said_of(world.publish(EPOCH))
    in_memory = world.prepare(commitment).observation
    monkeypatch.setattr(job_store, "MIB", 0)
    monkeypatch.setattr(job_store, "FILE_ROWS", 5)
    in_files = world.prepare(commitment, keeper=lambda columns: JobStore(columns, 512, tmp_path))
    assert in_files.observation == in_memory


def test_a_row_is_the_same_where_workers_evaluate_it_or_cannot_be_had(
    world: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commitment = world.said_of(world.publish(EPOCH))
    here = world.prepare(commitment).observation
    away = EngineSettings(
        kind=EngineKind.DASK, scheduler="tls://[::1]:1", certificates_dir=tmp_path, shard_rows=5
    )
    assert world.prepare(commitment, engine=Engine(away)).observation == here
    assert "evaluated here, not on workers" in caplog.text
    workers = Engine(EngineSettings(kind=EngineKind.PROCESSES, workers=1, shard_rows=5))
    assert world.prepare(commitment, engine=workers).observation == here
    monkeypatch.setattr(job_store, "MIB", 0)
    monkeypatch.setattr(job_store, "FILE_ROWS", 5)
    monkeypatch.setattr(engine, "open_pool", lambda _: contextlib.nullcontext(InlinePool()))
    in_files = {"keeper": lambda columns: JobStore(columns, 512, tmp_path), "engine": workers}
    assert world.prepare(commitment, **in_files).observation == here
    assert len(caplog.records) == 1


def test_a_wrong_commitment_beside_a_right_one_does_not_count_and_one_that_is_away_is_waited_for(
    world: Net,
) -> None:
    right = world.said_of(world.publish(EPOCH))
    alone = world.prepare(right)
    wrong = replace(
        world.said_of(world.publish(EPOCH, root=b"\x01" * 32)), aggregator=right.aggregator
    )
    work = world.prepare(right, [wrong, right])
    assert work.observation.body == alone.observation.body
    assert "does not count: root: root is not that of the nodes" in work.contributions[0]
    assert work.terms.aggregators == {right.aggregator: jobs_of(EPOCH).num_rows}
    assert work.union is not None
    away = replace(wrong, manifest=b"\x02" * 32)
    with pytest.raises(RemoteFault):
        world.prepare(right, [away, right])


def test_an_epoch_without_jobs_has_an_empty_row(world: Net) -> None:
    work = world.prepare(world.said_of(world.publish(EPOCH, jobs_of(EPOCH).slice(0, 0))))
    assert (work.observation.row.node_keys, work.observation.row.weights) == ((), ())


def test_an_epoch_that_is_not_open_yet_is_tried_again_and_not_given_up(world: Net) -> None:
    """Without members the answer would be "not a member", for good."""
    with pytest.raises(NotFound, match="epoch 8 is not open"):
        world.prepare(world.said_of(world.publish(8)))


def objects_of(manifest: Manifest) -> dict[str, bytes]:
    return {
        "manifest": manifest.digest,
        "schema": manifest.schema,
        "nodes": manifest.nodes,
        "segment": manifest.segments[1].digest,
        "input": manifest.inputs[0].digest,
        "parameters": DEFINITION.parameters.digest,
    }


@pytest.mark.parametrize("which", ["manifest", "schema", "nodes", "segment", "input", "parameters"])
def test_an_artefact_that_cannot_be_had_now_is_a_fault_and_works_when_it_is_back(
    world: Net, which: str
) -> None:
    manifest = world.publish(EPOCH)
    commitment = world.said_of(manifest)
    away = world.objects.pop(objects_of(manifest)[which])
    with pytest.raises(RemoteFault):
        world.prepare(commitment)
    world.put(away)
    assert world.prepare(commitment).observation.body


@pytest.mark.parametrize("which", ["manifest", "schema", "nodes", "segment", "input", "parameters"])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "longer"])
def test_bytes_that_are_not_those_of_the_digest_are_refused(
    world: Net, which: str, how: str
) -> None:
    manifest = world.publish(EPOCH)
    digest = objects_of(manifest)[which]
    data = world.objects[digest]
    world.objects[digest] = {
        "flipped": bytes([data[0] ^ 1]) + data[1:],
        "cut": data[:-1],
        "empty": b"",
        "longer": data + b"\x00",
    }[how]
    with pytest.raises(RemoteFault, match="hash"):
        world.prepare(world.said_of(manifest))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epoch": 6}, "another epoch than"),
        ({"network_id": network_id("other")}, "another network_id, network than"),
        ({"network": "other"}, "another network than"),
        ({"aggregator": Address(b"\x09" * 20)}, "another aggregator than"),
        ({"schema": b"\x01" * 32}, "another schema than chain and schedule"),
        ({"late": 1}, "late"),
        ({"segments": ()}, "nodes"),
    ],
)
def test_a_manifest_that_is_committed_but_says_something_untrue_is_refused(
    world: Net, change: dict[str, object], reason: str
) -> None:
    manifest = world.publish(EPOCH, **change)
    with pytest.raises(InvalidInput, match=reason):
        world.prepare(replace(world.said_of(manifest), epoch=EPOCH))


@pytest.mark.parametrize(
    "change", [{"root": b"\x01" * 32}, {"n_nodes": 5}, {"annotation": b"\x00" * 24}]
)
def test_a_commitment_that_differs_from_its_manifest_is_refused(
    world: Net, change: dict[str, object]
) -> None:
    commitment = replace(world.said_of(world.publish(EPOCH)), **change)
    with pytest.raises(InvalidInput, match="than chain and schedule"):
        world.prepare(commitment)


@pytest.mark.parametrize(
    "change", [{"root": b"\x01" * 32}, {"n_nodes": 5}, {"annotation": b"\x00" * 24}]
)
def test_a_root_that_is_not_that_of_the_jobs_is_refused_also_if_the_chain_has_it(
    world: Net, change: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput, match="commitment: "):
        world.prepare(world.said_of(world.publish(EPOCH, **change)))


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(name), values)


def tampered_jobs() -> dict[str, Callable[[pa.Table], pa.Table]]:
    return {
        "one left out": lambda jobs: jobs.slice(1),
        "one twice": lambda jobs: pa.concat_tables([jobs.slice(0, 1), jobs]),
        "in another order": lambda jobs: jobs.take(list(range(jobs.num_rows))[::-1]),
        "another value": lambda jobs: with_column(jobs, "size", pc.add(jobs.column("size"), 1)),
        "another seed": lambda jobs: with_column(
            jobs, "batch_seed", pa.array([b"\x01" * 32] * jobs.num_rows, pa.binary(32))
        ),
        "a node renamed": lambda jobs: with_column(
            jobs, "node_id", pc.replace_substring(jobs.column("node_id"), "alpha", "aleph")
        ),
        "unknown flags": lambda jobs: with_column(
            jobs, "flags", pa.array([4] * jobs.num_rows, jobs.schema.field("flags").type)
        ),
    }


@pytest.mark.parametrize("how", sorted(tampered_jobs()))
def test_segments_that_are_not_the_committed_jobs_are_refused(world: Net, how: str) -> None:
    """The aggregator itself replaces the segments: digests, rows and lengths all fit."""
    honest = world.publish(EPOCH)
    data = write_segment(tampered_jobs()[how](jobs_of(EPOCH)))
    rows = tampered_jobs()[how](jobs_of(EPOCH)).num_rows
    manifest = replace(honest, segments=(SegmentRef(world.put(data), rows, len(data)),))
    world.put(manifest.encode())
    with pytest.raises(InvalidInput):
        world.prepare(world.said_of(manifest))


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (lambda ref: replace(ref, rows=ref.rows + 1), "rows"),
        (lambda ref: replace(ref, bytes=ref.bytes - 1), "bytes"),
    ],
)
def test_a_segment_of_another_size_than_stated_is_refused(
    world: Net, ref: Callable[[SegmentRef], SegmentRef], reason: str
) -> None:
    honest = world.publish(EPOCH)
    manifest = replace(honest, segments=(ref(honest.segments[0]), *honest.segments[1:]))
    world.put(manifest.encode())
    with pytest.raises(InvalidInput, match=f"segment 0: {reason}"):
        world.prepare(world.said_of(manifest))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"\xff" * 4096])
def test_a_segment_that_is_no_parquet_is_refused_and_no_crash(world: Net, data: bytes) -> None:
    ref = SegmentRef(world.put(data), 0, len(data))
    manifest = world.publish(EPOCH, segments=(ref,))
    with pytest.raises(InvalidInput, match="segment 0"):
        world.prepare(world.said_of(manifest))


def test_jobs_of_another_epoch_are_refused(world: Net) -> None:
    with pytest.raises(InvalidInput, match="do not belong to epoch 6"):
        world.prepare(world.said_of(world.publish(6, jobs_of(5))))


@pytest.mark.parametrize("what", ["manifest", "schema", "nodes"])
@pytest.mark.parametrize("data", [b"", b"\xa0", b"\x80", b"\xff", b"\x9f" * 5000])
def test_a_malformed_document_is_refused_and_no_crash(world: Net, what: str, data: bytes) -> None:
    honest = world.publish(EPOCH)
    digest = world.put(data)
    if what == "manifest":
        commitment = replace(world.said_of(honest), manifest=digest)
    else:
        manifest = replace(honest, **{what: digest})
        world.put(manifest.encode())
        commitment = world.said_of(manifest)
    with pytest.raises(InvalidInput):
        world.prepare(commitment)


def test_a_schema_that_the_schedule_does_not_name_is_refused(world: Net) -> None:
    """An aggregator that could choose the schema could choose what its fields mean."""
    other = NetworkSchema(
        id=6,
        name=SCHEMA.name,
        evaluation_fields=(Field.integer("status"), Field.integer("size")),
        additional_fields=SCHEMA.additional_fields,
        lanes=SCHEMA.lanes,
    )
    with pytest.raises(InvalidInput, match="another schema than chain and schedule"):
        world.prepare(world.said_of(world.publish(EPOCH, schema=world.put(other.encode()))))


def test_a_payee_that_the_node_did_not_register_is_refused(world: Net) -> None:
    """Trees, sums and root all fit; only the money would go to the aggregator."""
    payees = {name: world.payee(name) for name in NODE_IDS}
    payees["gamma"] = world.accounts.aggregator.address
    with pytest.raises(InvalidInput, match=r"payee: .*'gamma'"):
        world.prepare(world.said_of(world.publish(EPOCH, payees=payees)))


def test_a_node_that_never_registered_is_refused(world: Net) -> None:
    jobs = jobs_of(EPOCH)
    jobs = with_column(
        jobs, "node_id", pc.replace_substring(jobs.column("node_id"), "alpha", "sybil")
    )
    order = sorted(range(jobs.num_rows), key=lambda at: sort_key(jobs, at))
    payees = {name: world.payee("alpha") for name in (*NODE_IDS, "sybil")}
    payees |= {name: world.payee(name) for name in NODE_IDS}
    manifest = world.publish(EPOCH, jobs.take(order), payees=payees)
    with pytest.raises(InvalidInput, match=r"payee: .*'sybil'"):
        world.prepare(world.said_of(manifest))


def sort_key(jobs: pa.Table, at: int) -> tuple[bytes, bytes]:
    row = jobs.slice(at, 1).to_pylist()[0]
    return node_key(row["node_id"]), digest_of(row["job_id"].encode())


def test_another_nodes_artefact_is_refused(world: Net) -> None:
    honest = world.publish(EPOCH)
    nodes = Nodes.decode(world.objects[honest.nodes])
    fewer = world.put(Nodes(nodes.ids[1:], nodes.rows[1:]).encode())
    manifest = replace(honest, nodes=fewer)
    world.put(manifest.encode())
    with pytest.raises(InvalidInput, match="nodes"):
        world.prepare(world.said_of(manifest))


def test_a_function_that_this_version_does_not_have_is_not_guessed(
    world: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = (b"\x13" * 32, DEFINITION.parameters.digest)
    monkeypatch.setattr(
        "meridian.node.chain_view.ChainView.schedule", lambda _self, _epoch: schedule
    )
    with pytest.raises(
        RemoteFault, match="1313"
    ):  # nobody publishes a bundle of that digest either
        world.prepare(world.said_of(world.publish(EPOCH)))


def test_inputs_stand_under_the_inputs_root(world: Net) -> None:
    one = world.prepare(world.said_of(world.publish(EPOCH))).terms.header.inputs_root
    other = world.prepare(world.said_of(world.publish(EPOCH, inputs=()))).terms.header.inputs_root
    assert one != other
    assert set(INPUTS) == {"round"}
