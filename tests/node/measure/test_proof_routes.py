"""The proof interface over HTTP: every kind of proof from the store and from the segments, and what is refused."""

import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from click.testing import CliRunner, Result
from measure_world import CALENDAR, NODES, SCHEMA, Process, lines, make_config, record

from meridian import verifier
from meridian.cli.main import main
from meridian.errors import RemoteFault
from meridian.measure.commitment import EpochCommitment, job_tree, load_epoch
from meridian.measure.manifest import Manifest
from meridian.measure.proof_form import MEDIA_TYPE, document, encode_binary
from meridian.measure.row import rebuild_rows
from meridian.measure.stored_tree import JOB_ROWS, level_above
from meridian.node.measure import proof_routes
from meridian.node.measure.http import _answer_errors as _errors
from meridian.node.measure.proof_client import proof_client
from meridian.node.measure.proving import Proving
from meridian.node.measure.publication import Publication
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.node.measure.sealed_store import SealedWriter
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import job_key, node_key
from meridian.primitives.sumtree import LaneKind

EPOCHS = (5, 6, 7)
HOUR = 3600
ODD = "a/b {c}%2F?#é..\n"
ODD_JOB = "job/%00 + ü{}"
LANES = LaneKind.PAIR_U64


class Served:
    """A service whose epochs 5 to 7 are committed; 6 is empty."""

    def __init__(self, root: Path) -> None:
        self.process = Process(root, make_config(root, nodes=[*NODES, ODD]))
        client = self.process.client()
        records = [record(at, node=NODES[at % 7]) for at in range(600)]
        records += [record(1000 + at, node=ODD, job_id=f"{ODD_JOB}{at}") for at in range(300)]
        later = [record(2000, second=2 * HOUR + 60)]
        for second, batch in ((100, records), (2 * HOUR + 100, later)):
            client.set_clock((CALENDAR.genesis_s + second) * 10**6)
            answer = client.submit(lines(batch))
            assert answer.accepted == len(batch), answer.rejected[:3]
        client.set_clock((CALENDAR.genesis_s + 3 * HOUR) * 10**6)
        for epoch in EPOCHS:
            client.seal(epoch)
            client.wait_committed(epoch)
        self.public = self.process.config.public_dir
        self.sealed = self.process.config.data_dir / "sealed"

    def get(self, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        host, port = self.process.url.removeprefix("http://").split(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def file(self, path: str) -> verifier.ProofFile:
        """A proof in both forms, which say the same and hold under the published root."""
        status, headers, text = self.get(path)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        file = verifier.decode(text)
        assert document(file) == json.loads(text)
        assert headers["Meridian-Proof-Kind"] == file.kind
        _, headers, data = self.get(path, Accept=f"text/html, {MEDIA_TYPE};q=1")
        assert headers["Content-Type"] == MEDIA_TYPE
        assert verifier.decode(data) == file
        root = None if file.kind.startswith("log") else self.root(file.fields["epoch"])
        assert verifier.holds(verifier.check(file, root))
        return file

    def root(self, epoch: int) -> bytes:
        index = Publication(self.public).read_index(epoch)
        assert index is not None
        return bytes.fromhex(index["root"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("proofs") / "service")
    yield served
    assert served.process.stop() == 0


def store_from_segments(served: Served, epoch: int) -> None:
    publication = Publication(served.public)
    index = publication.read_index(epoch)
    assert index is not None
    manifest = Manifest.decode(publication.get(parse_cid(index["manifest"])[1]))
    nodes, jobs = load_epoch(manifest, SCHEMA, publication.get)
    rows, at = rebuild_rows(SCHEMA, jobs), 0
    commitment = EpochCommitment(epoch, manifest.root, manifest.annotation, nodes)
    with SealedWriter(served.sealed, epoch, LANES) as writer:
        writer.rows(rows)
        for count in nodes.job_counts:
            leaves = JOB_ROWS.leaves(rows[at : at + count])
            writer.subtrees(level_above(leaves, JOB_ROWS.tag, LANES))
            at += count
        writer.finish(commitment)


def about(kind: str, *ids: str, epoch: int = 5) -> str:
    named = "/".join(quote(one, safe="") for one in ids)
    return f"/v1/epochs/{epoch}/proofs/{kind}/{named}"


QUESTIONS = {
    about("node", ODD): "node",
    about("node", NODES[3]): "node",
    about("node", "stranger"): "absent_node",
    about("node", NODES[0], epoch=6): "absent_node",
    about("node", NODES[0], epoch=7): "node",  # 2000 is a multiple of their number
    about("job", ODD, f"{ODD_JOB}257"): "job",
    about("job", NODES[3], "job-00000010"): "job",
    about("job", ODD, "never"): "absent_job",
    about("job", "stranger", "job-00000010"): "absent_node",
    about("node-key", node_key(ODD).hex()): "node",
    about("node-key", "ff" * 32): "absent_node",
    about("job-key", node_key(ODD).hex(), job_key(f"{ODD_JOB}0").hex()): "job",
    about("job-key", node_key(ODD).hex(), "00" * 32): "absent_job",
}


def test_every_kind_is_the_same_from_the_store_and_from_the_segments(served: Served) -> None:
    shutil.rmtree(served.sealed, ignore_errors=True)
    slow = {path: served.file(path) for path in QUESTIONS}
    assert {path: file.kind for path, file in slow.items()} == QUESTIONS
    assert slow[about("node", ODD)].fields["node_id"].id == ODD
    assert slow[about("job", ODD, f"{ODD_JOB}257")].fields["job_id"].id == f"{ODD_JOB}257"
    assert slow[about("node-key", node_key(ODD).hex())].fields["node_id"].id is None
    for epoch in EPOCHS:
        store_from_segments(served, epoch)
    assert {path: served.file(path) for path in QUESTIONS} == slow


def test_a_damaged_store_gives_way_to_the_segments(served: Served) -> None:
    path = about("job", ODD, f"{ODD_JOB}299")
    store_from_segments(served, 5)
    good = served.file(path)
    for name in ("rows", "subtrees", "nodes", "header"):
        store_from_segments(served, 5)
        damaged = served.sealed / "000005" / name
        data = bytearray(damaged.read_bytes())
        data[::3] = bytes(len(data[::3]))
        damaged.write_bytes(data)
        assert served.file(path) == good
    shutil.rmtree(served.sealed / "000005")


def test_the_rows_of_a_node_rebuild_its_tree(served: Served) -> None:
    store_from_segments(served, 5)
    for name, count in ((ODD, 300), ("stranger", 0)):
        status, headers, data = served.get(about("node", name) + "?rows=1")
        assert (status, headers["Content-Type"]) == (200, proof_routes.ROWS_TYPE)
        length = int.from_bytes(data[:4], "big")
        file, rows = verifier.decode(data[4 : 4 + length]), data[4 + length :]
        assert verifier.holds(verifier.check(file, served.root(5)))
        assert len(rows) == 100 * count
        if count:
            matrix = np.frombuffer(rows, dtype=np.uint8).reshape(-1, 100)
            assert job_tree(matrix, LANES).root == file.fields["node"].row[60:]


def test_the_log_is_proved_to_hold_each_epoch_and_to_grow(served: Served) -> None:
    for at, epoch in enumerate(EPOCHS):
        file = served.file(f"/v1/log/inclusion/{epoch}")
        assert (file.fields["index"], file.fields["size"]) == (at, 3)
        assert file.fields["entry"][61:93] == served.root(epoch)
        assert served.file(f"/v1/log/inclusion/5?size={at + 1}").fields["size"] == at + 1
        for old in EPOCHS[: at + 1]:
            grown = served.file(f"/v1/log/consistency?from={old}&to={epoch}")
            assert (grown.fields["old_size"], grown.fields["size"]) == (old - 4, epoch - 4)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (about("node", NODES[0], epoch=99), 404),
        (about("node", NODES[0], epoch=8), 404),
        ("/v1/epochs/x/proofs/node/a", 400),
        ("/v1/epochs/5/proofs/node/%FF", 400),
        ("/v1/epochs/5/proofs/job/a/%C3", 400),
        ("/v1/epochs/5/proofs/node/100%", 400),
        ("/v1/epochs/5/proofs/job/a/%zz", 400),
        ("/v1/epochs/5/proofs/node-key/ab", 400),
        ("/v1/epochs/5/proofs/job-key/ab/cd", 400),
        ("/v1/epochs/5/proofs/job/a", 404),
        ("/v1/log/inclusion/8", 404),
        ("/v1/log/inclusion/4", 404),
        ("/v1/log/inclusion/7?size=2", 404),
        ("/v1/log/inclusion/5?size=9", 404),
        ("/v1/log/inclusion/5?size=-1", 400),
        ("/v1/log/consistency?from=7&to=5", 404),
        ("/v1/log/consistency?from=5&to=8", 404),
        ("/v1/log/consistency?from=5", 400),
        ("/v1/log/consistency?to=5", 400),
    ],
)
def test_what_cannot_be_proved_is_refused_with_a_reason(
    served: Served, path: str, status: int
) -> None:
    answered, _, body = served.get(path)
    assert answered == status, body
    assert set(json.loads(body)["error"]) == {"field", "reason"}


def test_proofs_by_key_and_by_id_are_of_one_row(served: Served) -> None:
    by_id = served.file(about("job", ODD, f"{ODD_JOB}7"))
    by_key = served.file(about("job-key", node_key(ODD).hex(), job_key(f"{ODD_JOB}7").hex()))
    assert by_id.fields["job"] == by_key.fields["job"]
    assert len(encode_binary(by_key)) < len(encode_binary(by_id)) + 64


def test_too_many_questions_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: the loop counts what waits."""
    import asyncio

    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    publication = Publication(served.public)
    proving = Proving("test", SCHEMA, 5, publication, SealedStore(served.sealed))
    routes = proof_routes.ProofRoutes(proving)
    monkeypatch.setattr(proof_routes, "WAITING_MAX", 2)

    async def ask() -> list[int]:
        app = web.Application(middlewares=[_errors])
        routes.add_to(app)
        async with TestClient(TestServer(app)) as client:
            answers = await asyncio.gather(
                *(client.get(about("node", NODES[0])) for _ in range(12))
            )
            return sorted(answer.status for answer in answers)

    statuses = asyncio.run(ask())
    assert statuses[0] == 200
    assert statuses[-1] == 429


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["proof", *map(str, arguments)])


def test_the_command_asks_the_service_and_checks_what_it_says(
    served: Served, tmp_path: Path
) -> None:
    path, root = tmp_path / "proof", served.root(5).hex()
    here = ("--from", served.process.url, "--epoch", 5, "-o", path)
    for arguments, said in (
        (("job", *here, "--node", ODD, "--job", f"{ODD_JOB}7"), "is number"),
        (("job", *here, "--node", ODD, "--job", f"{ODD_JOB}7", "--form", "binary"), "is number"),
        (("node", *here, "--node", NODES[3]), "has 86 jobs"),
        (("absent", *here, "--node", ODD, "--job", "never"), "is none of the 300 jobs"),
        (("absent", *here, "--node", "stranger"), "has no job"),
    ):
        made = run(*arguments)
        assert made.exit_code == 0, made.output
        assert path.read_bytes().startswith(verifier.MAGIC) == ("binary" in arguments)
        checked = run("verify", path, "--root", root)
        assert checked.exit_code == 0
        assert said in checked.stdout
        assert run("verify", path, "--root", "00" * 32).exit_code == 1
    assert run("job", *here, "--node", ODD, "--job", "never").exit_code == 3
    assert run("absent", *here, "--node", ODD).exit_code == 1
    assert run("node", *here[:2], "--epoch", 99, "--node", ODD).exit_code == 3
    assert run("node", "--epoch", 5, "--node", ODD).exit_code == 2
    for name, more in (("log", ()), ("consistency", ("--old-epoch", 5))):
        made = run(name, "--from", served.process.url, "--epoch", 6, *more, "-o", path)
        assert made.exit_code == 0, made.output
        assert run("verify", path).exit_code == 0
    consistency = verifier.decode(path.read_bytes())
    assert (consistency.fields["old_size"], consistency.fields["size"]) == (1, 2)


def test_a_service_that_answers_about_something_else_is_not_believed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proof_client(served.process.url) as client:
        other = encode_binary(client.prove(5, NODES[3]))
        flipped = bytearray(encode_binary(client.prove(5, ODD)))
        flipped[-1] ^= 1
        for sent in (other, bytes(flipped), other[:-1], b"{}"):
            monkeypatch.setattr(client._connection, "request", lambda *_, s=sent, **__: s)
            for ask in (lambda: client.prove(5, ODD), lambda: client.log_inclusion(5)):
                with pytest.raises(RemoteFault):
                    ask()
