"""`meridian submit` against a real service: what is sent, kept, refused, and how it goes on after a kill."""

import gzip
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from measure_world import (
    CALENDAR,
    CONTRACT,
    NODES,
    SCHEMA,
    Process,
    lines,
    make_config,
    operator_key,
    record,
)

from meridian.cli.main import main
from meridian.contracts.deployment import Addresses
from meridian.errors import Overloaded, RemoteFault
from meridian.measure.receipt import SignedReceipt
from meridian.measure.record import decode_ndjson
from meridian.node.encrypted_key import create_encrypted_key
from meridian.node.measure.client import MeasureClient, Refused
from meridian.node.measure.connection import ServiceConnection
from meridian.node.network_file import NetworkFile
from meridian.node.receipt_store import ReceiptStore, Verdict
from meridian.primitives.ids import Address, network_id, parse_address


def write_network(root: Path, url: str, aggregator: Address) -> None:
    contracts = Addresses(
        registry=CONTRACT, commitments=CONTRACT, evaluations=CONTRACT, rewards=CONTRACT
    )
    NetworkFile(
        network="test",
        chain_id=31337,
        rpc_url="http://127.0.0.1:1",
        contracts=contracts,
        deploy_block=0,
        genesis_s=CALENDAR.genesis_s,
        epoch_seconds=CALENDAR.epoch_seconds,
        first_epoch=CALENDAR.first_epoch,
        measure_url=url,
        publications=("measure/public",),
        function="count",
        aggregator=aggregator,
        log_vkey="",
        schema_digest=SCHEMA.digest,
        parameters_digest=bytes(32),
        evaluators=(),
    ).save(root)


class Gateway:
    """A service, and a gateway's directory with its token and network.json."""

    def __init__(self, root: Path) -> None:
        self.root, self.work = root, root / "gateway"
        self.work.mkdir(parents=True)
        self.process = Process(root, make_config(root))
        self.client = self.process.client()
        self.client.set_clock(CALENDAR.end_us(5))
        aggregator = parse_address(self.process.ready["aggregator"])
        write_network(self.work, self.process.url, aggregator)

    def words(self, *files: object, store: str = "receipts", **more: object) -> list[str]:
        options = {
            "data-dir": self.work,
            "token-file": self.process.config.gateway_token_file,
            "receipts": self.work / store,
        }
        options |= {name.replace("_", "-"): value for name, value in more.items()}
        words = [str(word) for item in options.items() for word in (f"--{item[0]}", item[1])]
        return ["submit", *map(str, files), *words]

    def submit(self, *files: object, **more: object) -> Result:
        return CliRunner().invoke(main, [*self.words(*files, **more), "--json"])

    def write(self, name: str, data: bytes) -> Path:
        path = self.work / name
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("submission"))
    yield made
    made.client.close()
    assert made.process.stop() == 0


def document(result: Result) -> dict[str, Any]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert result.stdout, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_all_records_of_all_files_are_sent_once_and_again_changes_nothing(gateway: Gateway) -> None:
    plain = gateway.write("a.ndjson", lines(record(at) for at in range(100)))
    zipped = gateway.write("b.json.gz", gzip.compress(lines(record(at) for at in range(100, 150))))
    array = gateway.write("c.json", json.dumps([record(at) for at in range(150, 180)]).encode())
    first = gateway.submit(plain, zipped, array, batch=40, store="all")
    assert first.exit_code == 0, first.output
    told = document(first)
    counts = [told[name] for name in ("records", "accepted", "duplicates", "rejected", "batches")]
    assert counts == [180, 180, 0, 0, 6]
    again = document(gateway.submit(plain, zipped, array, batch=40, store="all"))
    assert (again["accepted"], again["sent_earlier"]) == (180, 180)
    other = document(gateway.submit(plain, batch=7, store="all"))
    assert (other["accepted"], other["duplicates"]) == (0, 100), "other batches, the same jobs"
    with closing(ReceiptStore(gateway.work / "all", create=False)) as store:
        kept = list(store.batches([Verdict.PENDING]))
        assert sum(one.accepted for one in kept) == 180
        assert {one.first_epoch for one in kept} == {5}
        assert sorted(one.first for one in kept if one.source == str(plain)) == [1, 41, 81]


def test_rejected_records_are_told_by_their_line(gateway: Gateway) -> None:
    good = [record(at) for at in range(1000, 1030)]
    body = lines(good[:20]) + b"\n\nnot json\n" + lines([record(1, node="stranger"), *good[20:]])
    path = gateway.write("bad.ndjson", body + lines(good[:1]))
    out = gateway.work / "rejected"
    result = gateway.submit(path, batch=10, store="bad", rejected=out)
    assert result.exit_code == 1
    told = document(result)
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (30, 1, 2)
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [23, 24]
    assert told["reasons"] == {"broken_json": 1, "unknown_node": 1}
    assert "2 of 33 records were rejected" in result.stderr
    again = gateway.submit(path, batch=10, store="bad", rejected=out)
    assert again.exit_code == 1
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [23, 24]
    shown = CliRunner().invoke(main, gateway.words(path, batch=10, store="bad"))
    assert f"{path}:24: job job-00000001 peer_id: unknown_node" in shown.stdout


def test_a_killed_run_goes_on_and_nothing_is_lost_or_counts_twice(gateway: Gateway) -> None:
    count = 3_000
    path = gateway.write("kill.ndjson", lines(record(at) for at in range(10_000, 10_000 + count)))
    words = gateway.words(path, batch=50, store="killed")
    before = gateway.client.epoch(5)["jobs"]
    kills = 0
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-m", "meridian.cli.main", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wanted = gateway.client.epoch(5)["jobs"] + 600
        while child.poll() is None and gateway.client.epoch(5)["jobs"] < wanted:
            time.sleep(0.02)
        child.kill()
        kills += child.wait() == -signal.SIGKILL
    assert kills
    told = document(gateway.submit(path, batch=50, store="killed"))
    assert told["accepted"] == count, told
    assert told["duplicates"] == told["rejected"] == 0, "each batch got the receipt that it had got"
    assert 0 < told["sent_earlier"] < count
    assert gateway.client.epoch(5)["jobs"] == before + count


def test_columns_travel_as_arrow_and_rejections_keep_their_lines(gateway: Gateway) -> None:
    records = [record(at) for at in range(30_000, 30_050)]
    body = (
        lines(records[:10]) + b"\nnot json\n" + lines([record(1, node="stranger"), *records[10:]])
    )
    path = gateway.write("columns.ndjson", body)
    out = gateway.work / "columns.rejected"
    more = {"batch": 20, "store": "columns", "as": "arrow", "rejected": out}
    first = document(gateway.submit(path, **more))
    assert (first["accepted"], first["rejected"], first["batches"]) == (50, 2, 3)
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [12, 13]
    assert document(gateway.submit(path, **more))["sent_earlier"] == 53 - 1
    table = decode_ndjson(lines(record(at) for at in range(31_000, 31_100)), SCHEMA).table
    parquet = gateway.work / "jobs.parquet"
    pq.write_table(table.drop_columns(["index"]), parquet)
    told = document(gateway.submit(parquet, store="columns", batch=30, in_flight=2))
    assert (told["accepted"], told["batches"]) == (100, 4)
    with closing(ReceiptStore(gateway.work / "columns", create=False)) as store:
        assert sum(one.accepted for one in store.batches() if one.first_epoch == 5) == 150
    refused = gateway.submit(parquet, **{"store": "columns", "as": "ndjson"})
    assert (refused.exit_code, "travel as arrow" in refused.stderr) == (2, True)


def test_a_node_signs_its_own_batches_with_an_encrypted_key_and_sends_them_compressed(
    gateway: Gateway, tmp_path: Path
) -> None:
    node = NODES[7]
    key, secret = tmp_path / "operator.json", tmp_path / "passphrase"
    create_encrypted_key(key, operator_key(node), "open", rounds=2)
    secret.write_text("open\n")
    path = gateway.write("own.ndjson", lines(record(at, node=node) for at in range(40_000, 40_030)))
    words = gateway.words(path, store="own", batch=10)
    at = words.index("--token-file")
    words[at : at + 2] = ["--node", node, "--key", str(key), "--passphrase-file", str(secret)]
    told = document(CliRunner().invoke(main, [*words, "--compress", "--json"]))
    assert (told["accepted"], told["rejected"], told["batches"]) == (30, 0, 3)
    strange = gateway.write("strange.ndjson", lines([record(41_000, node=NODES[8])]))
    refused = CliRunner().invoke(main, [words[0], str(strange), *words[2:], "--json"])
    assert (refused.exit_code, document(refused)["reasons"]) == (1, {"other_node": 1})


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_a_batch_over_many_epochs_is_divided_so_that_every_promise_can_be_proven(
    gateway: Gateway, form: str
) -> None:
    start = 60_000 if form == "ndjson" else 70_000
    hours = [at % 7 for at in range(70)]
    gateway.client.set_clock(CALENDAR.end_us(12))
    records = [record(start + at, second=60 + 3600 * hour) for at, hour in enumerate(hours)]
    body = lines(records[:35]) + b"\nnot json\n" + lines(records[35:])
    if form == "json":
        body = json.dumps([*records[:35], 5, 6, *records[35:]]).encode()
    path = gateway.write(f"epochs.{form}", body)
    out = gateway.work / "epochs.rejected"
    told = document(gateway.submit(path, store=f"epochs-{form}", rejected=out))
    lost = 1 if form == "ndjson" else 2
    assert (told["accepted"], told["rejected"], told["batches"]) == (70, lost, 3), told
    assert json.loads(out.read_text().splitlines()[0])["line"] == (37 if form == "ndjson" else 36)
    again = document(gateway.submit(path, store=f"epochs-{form}"))
    assert again["sent_earlier"] == 70 + lost
    with closing(ReceiptStore(gateway.work / f"epochs-{form}", create=False)) as store:
        spans = {(one.first_epoch, one.deadline) for one in store.batches()}
    assert spans == {(5, 7), (8, 10), (11, 11)}


def test_standard_input_is_read_as_a_file_whatever_it_holds(gateway: Gateway) -> None:
    body = lines(record(at) for at in range(50_000, 50_060))
    words = [*gateway.words("-", batch=25, store="pipe"), "--json"]
    packed = pa.compress(body, "zstd", asbytes=True)
    child = subprocess.run(
        [sys.executable, "-m", "meridian.cli.main", *words],
        input=packed, capture_output=True, check=True,
    )  # fmt: skip
    first = json.loads(child.stdout)
    assert (first["records"], first["accepted"], first["batches"]) == (60, 60, 3)
    told = document(CliRunner().invoke(main, words, input=body))
    assert told["sent_earlier"] == 60, "compressed or not, the batches are the same"


def test_interrupted_it_says_how_to_go_on(gateway: Gateway) -> None:
    path = gateway.write("stop.ndjson", lines(record(at) for at in range(20_000, 23_000)))
    child = subprocess.Popen(
        [sys.executable, "-m", "meridian.cli.main", *gateway.words(path, batch=20, store="stop")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    wanted = gateway.client.epoch(5)["jobs"] + 200
    while child.poll() is None and gateway.client.epoch(5)["jobs"] < wanted:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 130, said
    assert "run the same command again to go on" in said
    assert document(gateway.submit(path, batch=20, store="stop"))["accepted"] == 3_000


def test_what_cannot_be_sent_is_said_in_one_line(gateway: Gateway, tmp_path: Path) -> None:
    good = gateway.write("one.ndjson", lines([record(9_000)]))
    token = tmp_path / "token"
    token.write_text("wrong\n")
    refused = gateway.submit(good, token_file=token, store="none")
    assert (refused.exit_code, "answered 401" in refused.stderr) == (2, True)
    assert gateway.submit(tmp_path / "nothing.ndjson").exit_code == 3
    away = gateway.submit(good, to="http://127.0.0.1:1", patience_s=0.1, store="none")
    assert (away.exit_code, "measure service at http://127.0.0.1:1" in away.stderr) == (4, True)
    assert gateway.submit(gateway.write("empty.ndjson", b""), store="none").exit_code == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("aggregator", Address(b"\x09" * 20)),
        ("contract", Address(b"\x0c" * 20)),
        ("chain_id", 5),
        ("network", "other"),
    ],
)
def test_a_receipt_that_is_not_as_expected_is_an_error_that_names_the_field(
    gateway: Gateway, tmp_path: Path, field: str, value: Any
) -> None:
    text = json.loads((gateway.work / "network.json").read_text())
    if field == "contract":
        text["contracts"]["commitments"] = "0x" + value.hex()
    elif field == "network":
        text |= {"network": value, "network_id": network_id(value).hex()}
    else:
        text[field] = value if isinstance(value, int) else "0x" + value.hex()
    (tmp_path / "network.json").write_text(json.dumps(text))
    numbers = {"aggregator": 1, "contract": 2, "chain_id": 3, "network": 4}
    path = gateway.write("field.ndjson", lines([record(8_000 + numbers[field])]))
    result = gateway.submit(path, data_dir=tmp_path, store=f"broken-{field}")
    assert result.exit_code == 1
    assert f"does not hold: {field}: " in result.stderr
    [kept] = (gateway.work / f"broken-{field}").glob("broken-*.json")
    assert SignedReceipt.read(json.loads(kept.read_text())).holds


class _Answers(BaseHTTPRequestHandler):
    """Answers with a list of statuses, one after the other."""

    statuses: list[int]
    times: list[float]

    def do_GET(self) -> None:
        self.times.append(time.monotonic())
        status = self.statuses.pop(0)
        if status == 0:
            self.connection.close()
            return
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", "0.2")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answers() -> Iterator[tuple[str, type[_Answers]]]:
    handler = type("Handler", (_Answers,), {"statuses": [], "times": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_busy_and_broken_answers_are_tried_again_after_what_they_ask_for(answers: Any) -> None:
    url, handler = answers
    handler.statuses += [429, 0, 500, 503, 200]
    with closing(ServiceConnection(url, patience_s=10)) as connection:
        assert connection.request("GET", "/") == b"{}"
    assert handler.times[1] - handler.times[0] >= 0.15
    handler.statuses += [429, 429, 500]
    with closing(ServiceConnection(url, patience_s=0.1)) as hasty, pytest.raises(Overloaded):
        hasty.request("GET", "/")
    handler.statuses[:] = [500] * 20
    with (
        closing(ServiceConnection(url, patience_s=0.1)) as hasty,
        pytest.raises(RemoteFault, match="500"),
    ):
        hasty.request("GET", "/")
    handler.statuses[:] = [413]
    with (
        closing(ServiceConnection(url)) as connection,
        pytest.raises(Refused, match="fewer records") as refused,
    ):
        connection.request("GET", "/")
    assert refused.value.status == 413


def test_https_is_checked_against_the_given_certificates(tmp_path: Path) -> None:
    cert, other = (self_signed(tmp_path / name) for name in ("own.pem", "other.pem"))
    handler = type("Handler", (_Answers,), {"statuses": [200] * 9, "times": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}"
    with closing(MeasureClient(url, "t", ca_file=cert)) as client:
        assert client.epochs() == {}
    for wrong in (other, None):
        with (
            closing(MeasureClient(url, "t", ca_file=wrong)) as client,
            pytest.raises(Refused, match="not trusted"),
        ):
            client.epochs()
    server.shutdown()
    server.server_close()


def self_signed(path: Path) -> Path:
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "measure")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + cert.public_bytes(serialization.Encoding.PEM))
    return path
