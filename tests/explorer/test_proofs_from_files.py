"""Proofs that the page makes, of networks whose sums are of one number or of two, and of ids that are not ASCII."""

import numpy as np
import pyarrow as pa
import pytest

from measure.measure_schemas import SATURN, SPARK, payee
from meridian.explorer.epoch_files import measured_files
from meridian.explorer.epoch_page import Schedule, gathered_part
from meridian.explorer.gathered import JobColumns, Measured, Tree
from meridian.measure.columns import segment_columns
from meridian.measure.commitment import commit_epoch
from meridian.measure.order import sort_order
from meridian.measure.proof import ProofMaker, Subject, proof_file
from meridian.measure.proof_form import encode_json
from meridian.measure.row import job_keys, rebuild_rows
from meridian.measure.schema import FieldKind
from meridian.node.explorer.site_files import SiteFiles
from meridian.verifier import Name
from web.shipped_scripts import shipped_script

EPOCH = 7
NODES = ("plain", "uzel-č. 2", 'quoted "\\\x7f', "星 \U0001f680", "fifth")


def jobs_of(schema):
    """Some jobs of each node, with great numbers in the sums."""
    rows = []
    for place, node in enumerate(NODES):
        for number in range(1 + 3 * place):
            values = {
                field.name: "x" if field.kind is FieldKind.STRING else number % 2 == 0
                if field.kind is FieldKind.BOOLEAN else 100 + (number << 40)
                for field in schema.fields
            }  # fmt: skip
            row = {"node_id": node, "job_id": f"úloha {number}", "flags": number % 2}
            times = {"started_us": 10**15 + number, "ended_us": 10**15 + 5 * number}
            rows.append(row | times | values | {"batch_seed": bytes([number]) * 32})
    table = pa.Table.from_pylist(rows, schema=segment_columns(schema))
    return table.take(sort_order(table.column("node_id"), job_keys(table.column("job_id"))))


@pytest.mark.parametrize("schema", [SATURN, SPARK], ids=["pair_u64", "u128"])
def test_proofs_are_those_of_the_command_to_the_byte(schema, tmp_path):
    table = jobs_of(schema)
    made = commit_epoch(schema, EPOCH, table, {node: payee(node) for node in NODES})
    ids = tuple(table.column("job_id").to_pylist())
    jobs = JobColumns(ids, rebuild_rows(schema, table), made.nodes.job_counts)
    measured = Measured(
        epoch=EPOCH, lanes=schema.lanes.kind, schema_id=schema.id, nodes=made.nodes, late=np.zeros(len(NODES), np.int64),
        jobs=jobs, trees=(Tree(payee("a"), made.root, made.nodes, jobs),), segments=(), manifests=(), inputs=(),
    )  # fmt: skip
    files = SiteFiles(tmp_path / "site")
    for name, data in measured_files(measured, None).items():
        files.write(f"data/epoch/{EPOCH:06}/{name}", data)
    schedule = Schedule(name="", function=bytes(32), parameters=bytes(32), source=None)
    page = gathered_part(measured, None, schedule=schedule, members=(), problem="")
    files.write_json(f"data/epoch/{EPOCH:06}/epoch.json", page)
    said = {"network": "síť", "lanes": schema.lanes.kind.value}
    files.write_json("data/network.json", said | {"laneFields": list(schema.lanes.fields)})
    (tmp_path / "scripts").mkdir()
    ask = shipped_script(tmp_path / "scripts", "site.js", "site_driver.mjs")
    maker = ProofMaker.of_table(schema, made.nodes, table)

    def written(node, job=None):
        subject = Subject(EPOCH, made.root, schema.lanes.kind, node, job)
        return encode_json(proof_file("síť", subject, maker.prove(node, job))).decode()

    places = range(len(NODES))
    questions = [("nodeProof", place) for place in places] + [("jobs", place) for place in places]
    answers = ask(
        [
            {"site": str(files.root), "ask": what, "with": [EPOCH, place]}
            for what, place in questions
        ]
    )
    proofs, lists = answers[: len(NODES)], answers[len(NODES) :]
    assert proofs == [written(Name.of(name)) for name in made.nodes.ids]
    wanted = [(place, index) for place in places for index in range(len(lists[place]))]
    of_jobs = ask(
        [
            {"site": str(files.root), "ask": "jobProof", "with": [EPOCH, place, index]}
            for place, index in wanted
        ]
    )
    for (place, index), proof in zip(wanted, of_jobs, strict=True):
        job = lists[place][index]
        assert job["late"] == (int(job["jobId"].split()[1]) % 2 == 1)
        assert proof == written(Name.of(made.nodes.ids[place]), Name.of(job["jobId"]))
