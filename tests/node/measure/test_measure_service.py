"""The service over HTTP, as a process: every status, receipts, late jobs, seals, inputs, artefacts."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from measure_world import (
    CALENDAR,
    CONTRACT,
    NODES,
    SCHEMA,
    Process,
    lines,
    make_config,
    operator_key,
    payee,
    record,
    write_nodes,
)

from meridian.errors import NotFound, Overloaded, RemoteFault
from meridian.measure.arrow_batch import encode_arrow
from meridian.measure.batch_signature import (
    SEED_HEADER,
    SIGNATURE_HEADER,
    BatchSignature,
    batch_name,
)
from meridian.measure.commitment import load_epoch, verify_epoch
from meridian.measure.epoch_log import EpochRecord, verify_log
from meridian.measure.manifest import Manifest
from meridian.measure.order import sort_order
from meridian.measure.receipt import Batch
from meridian.measure.record import decode_ndjson
from meridian.measure.row import job_keys, job_rows, private_commitments
from meridian.measure.schema import NetworkSchema
from meridian.measure.signed_note import Verifier
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.bodies import SENT_BYTES_MAX
from meridian.node.measure.client import MeasureClient, Refused
from meridian.node.measure.http import Face, MeasureHttp
from meridian.node.measure.limits import JobsLimits, Rates
from meridian.node.measure.openapi import document
from meridian.node.measure.published_log import read_log_entries
from meridian.primitives.cid import cid_text, digest_of, parse_cid
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import network_id

HOUR = 3600
BYTES = "application/octet-stream"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "service"


@pytest.fixture
def process(root: Path) -> Iterator[Process]:
    process = Process(root, make_config(root))
    yield process
    assert process.stop() == 0


def ask(
    process: Process, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, Any]:
    host, port = process.url.removeprefix("http://").split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as connection:
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data[:1] == b"{" else data, answer.headers


def bearer(process: Process, *, admin: bool = False) -> str:
    config = process.config
    path = config.admin_token_file if admin else config.gateway_token_file
    return f"Bearer {load_or_create_secret(path).hex()}"


def load(client: MeasureClient, epoch: int) -> tuple[Manifest, Any, Any]:
    manifest = Manifest.decode(client.artefact(parse_cid(client.epoch(epoch)["manifest"])[1]))
    schema = NetworkSchema.decode(client.artefact(manifest.schema))
    nodes, jobs = load_epoch(manifest, schema, client.artefact)
    assert verify_epoch(manifest, schema, nodes, jobs, CALENDAR) == []
    return manifest, nodes, jobs


def test_a_batch_gets_a_receipt_over_exactly_its_accepted_jobs(process: Process) -> None:
    client = process.client()
    client.set_clock(CALENDAR.end_us(5))
    good = [record(at) for at in range(50)]
    body = lines([*good, record(3), record(60, node="stranger"), {"job_id": 1}])
    seed = bytes(range(32))
    answer = client.submit(body, seed)
    assert (answer.accepted, answer.duplicates, answer.seed) == (50, 1, seed)
    assert answer.batch == batch_name(seed, body)
    refused = [(r.index, r.line, r.job_id, r.reason) for r in answer.rejected]
    assert refused == [
        (50, 51, "job-00000003", "duplicate"),
        (51, 52, "job-00000060", "unknown_node"),
        (52, 53, None, "missing_key"),
    ]
    signed = answer.receipt
    assert signed is not None
    assert signed.holds
    assert signed.domain == Domain(31337, CONTRACT)
    assert signed.receipt.network == network_id("test")
    assert signed.receipt.deadline_epoch == 5
    assert signed.receipt.aggregator.hex() == process.ready["aggregator"][2:]
    # The submitter rebuilds the root from its own records and seed alone.
    table = decode_ndjson(lines(good), SCHEMA).table
    table = table.append_column("flags", [[0] * 50]).cast(
        table.schema.append(__import__("pyarrow").field("flags", "uint16"))
    )
    keys = job_keys(table.column("job_id"))
    order = sort_order(table.column("node_id"), keys)
    table = table.take(order)
    private = private_commitments(SCHEMA, table, [seed] * 50)
    batch = Batch(SCHEMA, job_rows(SCHEMA, table, keys[order], private), table.column("node_id"))
    assert batch.root == signed.receipt.batch_root


def test_the_same_body_gets_the_same_answer_and_counts_once(process: Process) -> None:
    client = process.client()
    client.set_clock(CALENDAR.end_us(5))
    body = lines(record(at) for at in range(20))
    first = client.submit(body)
    assert client.submit(body) == first
    assert client.receipt(first.batch) == first
    again = client.submit(body + b"\n")
    assert (again.accepted, again.duplicates, again.receipt) == (0, 20, None)
    other_seed = client.submit(body, bytes(32))
    assert (other_seed.accepted, other_seed.duplicates) == (0, 20)
    assert client.epoch(5)["jobs"] == 20
    with pytest.raises(NotFound):
        client.receipt(again.batch)


def test_requests_that_are_not_batches_are_refused_with_the_right_status(process: Process) -> None:
    token, kind = bearer(process), "application/x-ndjson"
    body = lines([record(1)])
    cases = [
        (401, body, {"Content_Type": kind}),
        (401, body, {"Content_Type": kind, "Authorization": "Bearer 00"}),
        (401, body, {"Content_Type": kind, "Authorization": token.removeprefix("Bearer ")}),
        (415, body, {"Content_Type": "text/csv", "Authorization": token}),
        (415, body, {"Content_Type": kind, "Content_Encoding": "br", "Authorization": token}),
        (400, b"", {"Content_Type": kind, "Authorization": token}),
        (400, b"{", {"Content_Type": kind, "Authorization": token, "Meridian_Batch_Seed": "00"}),
        (400, b"[1", {"Content_Type": "application/json", "Authorization": token}),
        (400, b"[" * 200_000, {"Content_Type": "application/json", "Authorization": token}),
        (413, b"0\n" * 100_001, {"Content_Type": kind, "Authorization": token}),
    ]
    for status, data, headers in cases:
        found, answer, _ = ask(process, "POST", "/v1/jobs", data, **headers)
        assert (found, set(answer["error"])) == (status, {"field", "reason"}), (data[:20], headers)
    assert ask(process, "POST", "/v1/jobs", b"[]", Authorization=token)[0] == 415
    status, answer, _ = ask(
        process, "POST", "/v1/jobs", b"[" * 30_000, Content_Type=kind, Authorization=token
    )
    assert (status, answer["rejected"][0]["reason"]) == (200, "broken_json")
    assert ask(process, "GET", "/healthz")[:2][0] == 200


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(process: Process) -> None:
    host, port = process.url.removeprefix("http://").split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as connection:
        connection.putrequest("POST", "/v1/jobs")
        connection.putheader("Authorization", bearer(process))
        connection.putheader("Content-Type", "application/x-ndjson")
        connection.putheader("Content-Length", str(SENT_BYTES_MAX + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, "error" in json.loads(answer.read())) == (413, True)


def test_too_much_at_a_time_is_told_to_come_back(root: Path) -> None:
    process = Process(root, make_config(root, requests_max=1))
    try:
        client = process.client()
        client.set_clock(CALENDAR.end_us(5))
        host, port = process.url.removeprefix("http://").split(":")
        body = lines(record(at) for at in range(100))
        slow = http.client.HTTPConnection(host, int(port), timeout=20)
        slow.putrequest("POST", "/v1/jobs")
        slow.putheader("Authorization", bearer(process))
        slow.putheader("Content-Type", "application/x-ndjson")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders(body[:100])
        while True:  # until the slow request is at work
            status, _, headers = ask(
                process,
                "POST",
                "/v1/jobs",
                b"{}",
                Content_Type="application/x-ndjson",
                Authorization=bearer(process),
            )
            if status == 429:
                break
        assert int(headers["Retry-After"]) >= 1
        with pytest.raises(Overloaded):
            process.client(patience_s=0.1).submit(body)
        waiting = threading.Thread(target=lambda: slow.send(body[100:]))
        waiting.start()
        assert client.submit(lines([record(500)])).accepted == 1  # patience is rewarded
        waiting.join()
        assert json.loads(slow.getresponse().read())["accepted"] == 100
        slow.close()
    finally:
        assert process.stop() == 0


def test_a_node_signs_its_own_batches_and_is_held_to_its_rate(root: Path) -> None:
    process = Process(root, make_config(root, node_requests_per_s=1))
    try:
        process.client().set_clock(CALENDAR.end_us(5))
        seed, node = bytes(range(32)), NODES[0]

        def send(body: bytes, key_of: str = node) -> tuple[int, Any, Any]:
            signature = BatchSignature.sign(
                network=network_id("test"),
                node_id=node,
                batch=batch_name(seed, body),
                sent_at_us=time.time_ns() // 1000,
                domain=Domain(31337, CONTRACT),
                key=operator_key(key_of),
            )
            headers = {"Content-Type": "application/x-ndjson", SEED_HEADER: seed.hex()}
            return ask(process, "POST", "/v1/jobs", body, **headers, **signature.headers())

        body = lines([record(0), record(1)])
        status, answer, _ = send(body)
        assert (status, answer["accepted"]) == (200, 1)
        assert answer["rejected"][0]["reason"] == "other_node"
        status, answer, headers = send(body, NODES[1])
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer["error"]["field"] == SIGNATURE_HEADER
        status, answer, headers = send(body)
        while status != 429:
            assert status == 200
            status, answer, headers = send(body)
        assert int(headers["Retry-After"]) >= 1
    finally:
        assert process.stop() == 0


def test_a_body_comes_in_any_form_compressed_or_in_chunks(process: Process) -> None:
    process.client().set_clock(CALENDAR.end_us(5))
    token = {"Authorization": bearer(process)}

    def forms() -> Iterator[tuple[bytes | Iterator[bytes], dict[str, str]]]:
        table = decode_ndjson(lines([record(1)]), SCHEMA).table
        yield encode_arrow(table, SCHEMA), {"Content-Type": "application/vnd.apache.arrow.stream"}
        text = {"Content-Type": "application/x-ndjson"}
        yield gzip.compress(lines([record(2)])), text | {"Content-Encoding": "gzip"}
        yield iter([lines([record(3)])[:50], lines([record(3)])[50:]]), text
        yield json.dumps([record(4)]).encode(), {"Content-Type": "application/json; charset=utf-8"}

    for body, headers in forms():
        status, answer, _ = ask(process, "POST", "/v1/jobs", body, **headers, **token)
        assert (status, answer["accepted"]) == (200, 1), headers
    for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "br"}, {}):
        status, _, _ = ask(process, "POST", "/v1/jobs", b"{}", **headers, **token)
        assert status == 415
    broken = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    assert ask(process, "POST", "/v1/jobs", b"{}", **broken, **token)[0] == 400


def test_who_expects_to_be_refused_need_not_send(process: Process) -> None:
    process.client().set_clock(CALENDAR.end_us(5))
    host, port = process.url.removeprefix("http://").split(":")
    body = lines([record(7)])

    def head(**more: str) -> bytes:
        headers = {
            "Host": host,
            "Content-Type": "application/x-ndjson",
            "Content-Length": str(len(body)),
            "Expect": "100-continue",
        } | {name.replace("_", "-"): value for name, value in more.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST /v1/jobs HTTP/1.1\r\n{text}\r\n".encode()

    for sent, status in (
        (head(), b"401"),
        (head(Authorization=bearer(process), Expect="a-miracle"), b"417"),
        (head(Authorization=bearer(process)), b"100"),
    ):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(sent)
            first = connection.recv(4096)
            assert first.split(b" ")[1] == status
            if status == b"100":
                connection.sendall(body)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_jobs_of_sealed_epochs_go_on_late_and_older_ones_are_refused(process: Process) -> None:
    client = process.client()
    assert [r.reason for r in client.submit(lines([record(1)])).rejected] == ["ahead_of_clock"]
    client.set_clock(CALENDAR.end_us(6))
    assert client.set_clock(0) == CALENDAR.end_us(6)
    assert client.submit(lines([record(1)])).accepted == 1
    client.seal(5)
    assert client.submit(lines([record(2)])).accepted == 1
    answer = client.submit(lines([record(1), record(3, second=HOUR)]))
    assert [r.reason for r in answer.rejected] == ["duplicate"]
    client.seal(6)
    assert [r.reason for r in client.submit(lines([record(4)])).rejected] == ["too_late"]
    client.wait_committed(6)
    assert load(client, 5)[2].column("job_id").to_pylist() == ["job-00000001"]
    manifest, _, jobs = load(client, 6)
    flags = dict(
        zip(jobs.column("job_id").to_pylist(), jobs.column("flags").to_pylist(), strict=True)
    )
    assert flags == {"job-00000002": 1, "job-00000003": 0}
    assert (manifest.late, manifest.duplicates) == (1, 1)


def test_epochs_are_sealed_in_order_once_and_after_their_end(process: Process) -> None:
    client = process.client()

    def refused(epoch: int) -> int:
        with pytest.raises(Refused) as refusal:
            client.seal(epoch)
        return refusal.value.status

    client.set_clock(CALENDAR.end_us(5) - 1)
    assert (refused(5), refused(4)) == (409, 409)
    client.set_clock(CALENDAR.end_us(7))
    assert refused(6) == 409
    for epoch in (5, 5, 6, 5):
        assert client.seal(epoch)["state"] in {"sealing", "sealed", "committed"}
    first = client.wait_committed(6)
    assert client.seal(6) | {"problem": None} == first
    assert (first["jobs"], first["n_nodes"]) == (0, 0)
    assert [epoch["state"] for epoch in client.epochs()["epochs"]] == [
        "committed",
        "committed",
        "open",
    ]
    status = ask(process, "POST", "/v1/epochs/5/seal", b"", Authorization=bearer(process))[0]
    assert status == 401


def test_an_epoch_is_published_logged_and_committed(process: Process, root: Path) -> None:
    client = process.client()
    client.set_clock(CALENDAR.end_us(6))
    health, late = b'{"checks": 3}', b"\x00\x01"
    assert client.put_input(5, "health", b"an earlier one") != digest_of(health)
    assert client.put_input(5, "health", health) == digest_of(health)
    client.submit(lines(record(at) for at in range(200)))
    client.submit(lines(record(at) for at in range(150, 300)))
    client.seal(5)
    with pytest.raises(Refused, match="409"):
        client.put_input(5, "late", late)
    index = client.wait_committed(5)
    manifest, nodes, jobs = load(client, 5)
    assert index["root"] == manifest.root.hex()
    assert index["manifest"] == cid_text(manifest.digest)
    assert (manifest.jobs, manifest.duplicates, manifest.network_id) == (
        300,
        50,
        network_id("test"),
    )
    assert [(one.name, client.artefact(one.digest)) for one in manifest.inputs] == [
        ("health", health)
    ]
    assert set(nodes.ids) == set(NODES)
    assert nodes.payees == tuple(map(payee, nodes.ids))
    assert jobs.num_rows == 300
    client.seal(6)
    client.wait_committed(6)
    log = process.config.public_dir / "log"
    verifier = Verifier.parse(process.ready["log_vkey"])
    entries = read_log_entries(log, 2)
    for name, kind in (
        ("checkpoint", "text/plain; charset=utf-8"),
        ("tile/entries/000.p/2", BYTES),
    ):
        status, data, headers = ask(process, "GET", f"/log/{name}")
        assert (status, headers["Content-Type"]) == (200, kind)
        assert data == (log / name).read_bytes()
    for name in ("tile/0/000", "tile/0/../checkpoint", "tile/64/000", "tile/0/000.p/2/..", ""):
        assert ask(process, "GET", f"/log/{name}")[0] == 404
    assert verify_log((log / "checkpoint").read_bytes(), entries, verifier).size == 2
    assert [EpochRecord.decode(entry).epoch for entry in entries] == [5, 6]
    committed = [
        json.loads(line)
        for line in (process.config.data_dir / "commitments.jsonl").read_text().splitlines()
    ]
    assert [entry["record"] for entry in committed] == [entry.hex() for entry in entries]
    with pytest.raises(NotFound):
        client.artefact(bytes(32))
    assert ask(process, "GET", "/v1/artefacts/..%2f..%2fkeys")[0] == 400


def test_a_node_that_registers_later_is_learned(process: Process, root: Path) -> None:
    client = process.client()
    client.set_clock(CALENDAR.end_us(5))
    body = lines([record(1, node="newcomer")])
    assert [r.reason for r in client.submit(body).rejected] == ["unknown_node"]
    write_nodes(root / "nodes.json", [*NODES, "newcomer"])
    deadline = threading.Event()
    for _ in range(50):
        if client.submit(body).accepted:  # the service asks again, but not for every unknown id
            break
        deadline.wait(0.1)
    assert client.epoch(5)["jobs"] == 1


def test_wrong_questions_get_answers_too(process: Process) -> None:
    admin = bearer(process, admin=True)
    for status, method, path, body in (
        (404, "GET", "/nowhere", None),
        (405, "DELETE", "/v1/epochs", None),
        (400, "GET", "/v1/epochs/x", None),
        (404, "GET", "/v1/epochs/1", None),
        (400, "GET", "/v1/receipts/zz", None),
        (400, "GET", "/v1/artefacts/bafy", None),
        (400, "POST", "/v1/clock", b"{}"),
        (400, "POST", "/v1/clock", b'{"now_us": true}'),
        (400, "POST", "/v1/clock", b'{"now_us": 1.5}'),
        (400, "POST", "/v1/clock", b"[" * 100_000),
        (400, "PUT", "/v1/epochs/5/inputs/a%20b", b"x"),
        (400, "PUT", "/v1/epochs/5/inputs/" + "a" * 65, b"x"),
    ):
        found, answer, _ = ask(process, method, path, body, Authorization=admin)
        assert (found, set(answer["error"])) == (status, {"field", "reason"}), path


def test_every_route_is_described(process: Process) -> None:
    described = {
        (method, path) for path, methods in document()["paths"].items() for method in methods
    }
    nothing: Any = None
    app = MeasureHttp(
        Face(
            intake=nothing,
            journal=nothing,
            settling=nothing,
            publication=nothing,
            proving=nothing,
            gateway_token="",
            admin_token="",
            directory=nothing,
            limits=JobsLimits(gateway=Rates(1, 1), node=Rates(1, 1), requests_max=1, bytes_max=1),
            network="",
            data_dir=nothing,
            first_epoch=0,
        )
    ).application()
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert routes == described
    assert ask(process, "GET", "/v1/openapi.json")[1] == document()


def test_state_survives_a_clean_restart(root: Path) -> None:
    config = make_config(root)
    process = Process(root, config)
    client = process.client()
    client.set_clock(CALENDAR.end_us(6))
    body = lines(record(at) for at in range(30))
    first = client.submit(body)
    client.submit(lines(record(at, second=HOUR) for at in range(100, 130)))
    client.seal(5)
    before = client.wait_committed(5)
    assert process.stop() == 0
    process = Process(root, config)
    client = process.client()
    try:
        assert client.epochs()["clock_us"] == CALENDAR.end_us(6)
        assert client.submit(body) == first
        assert client.submit(body + b"\n").duplicates == 30
        assert client.epoch(5) == before
        assert client.epoch(6)["jobs"] == 30
        sequence = client.submit(lines([record(999, second=HOUR)])).receipt
        assert sequence is not None
        assert sequence.receipt.sequence == 2
        with pytest.raises(RemoteFault, match="another process"):
            Process(root, config)
    finally:
        assert process.stop() == 0
