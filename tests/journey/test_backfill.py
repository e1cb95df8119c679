"""`meridian evaluate` on a finished run: its own function gives what was reported, another one what plain Python says."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.oracle import plain_functions, plain_layers
from tests.oracle.plain_reward import split

from journey.system import MERIDIAN, looks
from meridian.evaluate.shipped_layers import layer_named
from meridian.networks.saturn import DEFINITION
from meridian.node.audit_sources import embedded_chain
from meridian.node.chain.rpc import Rpc
from meridian.node.network_file import NetworkFile
from meridian.primitives import dagcbor
from meridian.primitives.ids import node_key

pytestmark = pytest.mark.journey

EPOCHS = (1, 2)
FAST = {**DEFINITION.function_parameters, "ttfb_limit_ms": 300}


def published(data_dir: Path, name: str) -> bytes:
    return (data_dir / "measure/public/objects" / name).read_bytes()


def manifest_of(data_dir: Path, epoch: int):
    index = json.loads((data_dir / f"measure/public/epochs/{epoch:06d}.json").read_text())
    return dagcbor.decode(published(data_dir, index["manifest"]))


def jobs_of(data_dir: Path, epoch: int) -> list[dict[str, object]]:
    """The published jobs, read by nothing of ours but CID's base32."""
    from meridian.primitives.cid import cid_text

    parts = [
        pq.read_table(pa.BufferReader(published(data_dir, cid_text(one["digest"]))))
        for one in manifest_of(data_dir, epoch)["segments"]
    ]
    return pa.concat_tables(parts).to_pylist()


def uptime_of(data_dir: Path, epoch: int) -> dict[str, tuple[int, int]]:
    from meridian.primitives.cid import cid_text

    (checks,) = [
        dagcbor.decode(published(data_dir, cid_text(one["digest"])))
        for one in manifest_of(data_dir, epoch)["inputs"]
        if one["name"] == "health-checks"
    ]
    return {name: tuple(values) for name, values in checks.items()}


def flags_of(jobs: list[dict[str, object]]) -> list[str | None]:
    """What the network's layers flag, by the plain rules."""
    limits = {
        name: {key: rule.default for key, rule in layer_named(name).parameters.items()} | values
        for name, values in DEFINITION.layers.items()
    }
    return plain_layers.flagged(jobs, limits)


def plain(data_dir: Path, epoch: int, judge) -> tuple[Counter[str], dict[str, int]]:
    """(reasons, weights of nodes with jobs) of a function behind the layers."""
    jobs = jobs_of(data_dir, epoch)
    flags = flags_of(jobs)
    reasons, weights = judge([job for job, flag in zip(jobs, flags, strict=True) if flag is None])
    for job in jobs:
        weights.setdefault(job["node_id"], 0)
    return Counter([*reasons, *(flag for flag in flags if flag is not None)]), weights


@pytest.fixture(scope="module")
def chain(finished):
    """The run's chain, served once: (options of the run's evidence, URL)."""
    network = NetworkFile.load(finished[0])
    with embedded_chain(finished[0] / "chain/chain.sqlite", network.chain_id) as url:
        yield url


def head_of(chain: str) -> str:
    """The chain's newest block: whoever writes makes another."""
    with contextlib.closing(Rpc(chain)) as rpc:
        return str(rpc.call("eth_getBlockByNumber", "latest", False)["hash"])


def evaluated(data_dir: Path, chain: str, *more: str | Path):
    ran = looks(
        "evaluate", "--data-dir", data_dir, "--rpc-url", chain, "--epochs", "1..5", "--json", *more
    )
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert [one["epoch"] for one in document["epochs"]] == list(EPOCHS)
    assert document["not_evaluated"] == []
    for one in document["epochs"]:
        for side, amount in (("paid", "paid_atto"), ("would", "would_atto")):
            assert sum(map(int, one[side].values())) == int(one["budget_atto"])
            assert sum(int(node[amount]) for node in one["nodes"]) == int(one[side]["nodes_atto"])
    return document


@pytest.fixture(scope="module")
def counted(finished, chain):
    """The document of all epochs under `count`."""
    return evaluated(finished[0], chain, "--function", "count")


def test_the_own_function_gives_exactly_what_was_reported(finished, chain) -> None:
    data_dir, result = finished
    document = evaluated(data_dir, chain)
    for one, reported in zip(document["epochs"], result["epochs"], strict=True):
        for side in ("paid_atto", "would_atto"):
            assert {node["node_id"]: node[side] for node in one["nodes"]} == {
                payee["node_id"]: payee["amount_atto"] for payee in reported["payees"]
            }
        assert [node["weight_would"] for node in one["nodes"]] == [
            payee["weight"] for payee in reported["payees"]
        ]
        assert one["report_hash"] == reported["report_hash"].removeprefix("0x")
        assert all(row["was"] == row["would"] for row in one["verdicts"])
    assert document["totals"]["moved_atto"] == "0"


@pytest.mark.parametrize("name", ["count", "saturn"])
def test_another_function_gives_what_plain_python_says(finished, chain, counted, name) -> None:
    data_dir, _ = finished
    asked = ("--function", name, "--function-parameters", json.dumps(FAST))
    document = counted if name == "count" else evaluated(data_dir, chain, *asked)
    for one in document["epochs"]:
        uptime = uptime_of(data_dir, one["epoch"])
        old = {**DEFINITION.function_parameters, "ttfb_quantile_ppm": 0, "duration_quantile_ppm": 0}
        new = {**old, **FAST}
        judge = {
            "count": lambda jobs: plain_functions.count(jobs, lambda _: True),
            "saturn": lambda jobs: plain_functions.saturn(jobs, new, uptime),  # noqa: B023
        }[name]
        was, _ = plain(
            data_dir,
            one["epoch"],
            lambda jobs: plain_functions.saturn(jobs, old, uptime),  # noqa: B023
        )
        reasons, weights = plain(data_dir, one["epoch"], judge)
        names = sorted((node["node_id"] for node in one["nodes"]), key=node_key)
        expected = split([weights.get(node, 0) for node in names], int(one["budget_atto"]))
        assert {node["node_id"]: int(node["would_atto"]) for node in one["nodes"]} == dict(
            zip(names, expected, strict=True)
        )
        for side, counts in (("was", was), ("would", reasons)):
            found = Counter[str]()
            for row in one["verdicts"]:
                found[row[side]] += row["jobs"]
            assert found == counts
        assert any(row["was"] != row["would"] for row in one["verdicts"])
    assert int(document["totals"]["moved_atto"]) > 0


@pytest.mark.parametrize(("end", "workers"), [(signal.SIGKILL, "2"), (signal.SIGINT, "1")])
def test_a_run_that_was_ended_goes_on_where_it_was(
    finished, chain, counted, tmp_path, end, workers
) -> None:
    """And what two workers had found before they were killed is what one process finds."""
    data_dir, _ = finished
    out = tmp_path / "out"
    asked = ("--function", "count", "--out", out)
    arguments = ["evaluate", "--data-dir", data_dir, "--rpc-url", chain, "--epochs", "1..2", *asked]
    before = head_of(chain)
    child = subprocess.Popen(
        [*MERIDIAN, *map(str, arguments), "--workers", workers],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(out.glob("epochs/*.json")):
        assert child.poll() is None
        time.sleep(0.002)
    os.killpg(child.pid, end)
    code = child.wait()
    kept = {path.name: path.read_bytes() for path in out.glob("epochs/*.json")}
    assert kept
    assert code in (
        {-signal.SIGKILL, 130} if len(kept) < len(EPOCHS) else {-signal.SIGKILL, 130, 0}
    )
    ran = looks(*arguments)
    assert ran.code == 0
    assert f"2 of 2 reported epochs evaluated, {len(kept)} of them by an earlier run" in ran.out
    assert {name: (out / "epochs" / name).read_bytes() for name in kept} == kept
    assert json.loads((out / "differences.json").read_text()) == counted
    assert (out / "epochs.svg").read_text().startswith("<svg")
    assert len(list(out.glob("epoch-*.svg"))) == len(EPOCHS)
    assert head_of(chain) == before


def test_a_damaged_segment_is_named_and_the_others_are_evaluated(finished, chain, tmp_path) -> None:
    from meridian.primitives.cid import cid_text

    data_dir = tmp_path / "copy"
    shutil.copytree(finished[0], data_dir)
    name = cid_text(manifest_of(data_dir, 1)["segments"][0]["digest"])
    path = data_dir / "measure/public/objects" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    asked = ("evaluate", "--data-dir", data_dir, "--rpc-url", chain, "--epochs", "1..2")
    ran = looks(*asked, "--function", "count")
    assert ran.code == 1
    assert "epoch 1: segments: " in ran.out
    assert name in ran.out
    assert "1 of 2 reported epochs evaluated" in ran.out
    document = json.loads(looks(*asked, "--json").out)
    assert [one["epoch"] for one in document["epochs"]] == [2]
    assert [one["epoch"] for one in document["not_evaluated"]] == [1]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_from_a_web_server_it_is_the_same(finished, chain, counted) -> None:
    data_dir, _ = finished
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(data_dir))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        ran = looks(
            "evaluate", "--from", url, "--rpc-url", chain,
            "--epochs", "2", "--function", "count", "--json",
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["epochs"] == counted["epochs"][1:]


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--function", "vanished"), 2, "is no file, no CID, and none of attestation, count"),
        (("--function", "b" + "a" * 58), 2, "--function"),
        (("--function", "count", "--function-parameters", '{"more": 1}'), 2, "more: is not a"),
        (("--function", "count", "--function-parameters", "[]"), 2, "is not a JSON object"),
        (("--scheduler", "tls://127.0.0.1:1"), 2, "certificates_dir: is needed"),
        (("--epochs", "7..9"), 3, "no epoch of 7..9 has an accepted report"),
        (("--from", "http://127.0.0.1:1"), 2, "either --data-dir DIRECTORY or --from URL"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_reason(finished, chain, more, code, says) -> None:
    asked = ("evaluate", "--data-dir", finished[0], "--rpc-url", chain, "--epochs", "1")
    ran = looks(*asked, *more)
    assert (ran.code, says in ran.err) == (code, True), ran.err
