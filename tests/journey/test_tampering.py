"""One changed byte in what was published after a real run: `meridian verify` names the link that breaks."""

import http.server
import json
import shutil
import threading
from functools import partial

import pytest

from journey.system import looks, meridian
from meridian.node.audit_sources import embedded_chain
from meridian.node.network_file import NetworkFile
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of, parse_cid
from meridian.primitives.ids import address_text

pytestmark = pytest.mark.journey
EPOCH = 1


@pytest.fixture
def copy(finished, tmp_path):
    """Return a copy of the finished run to spoil."""
    data_dir = tmp_path / "copy"
    shutil.copytree(finished[0], data_dir)
    return data_dir


def index_of(data_dir, publication, kind):
    path = data_dir / publication / "epochs" / f"{EPOCH:06d}{kind}.json"
    return path, json.loads(path.read_text())


def record_of(data_dir):
    """Return the outcome record that evaluator 2 published."""
    _, index = index_of(data_dir, "evaluators/2/public", ".outcome")
    digest = parse_cid(index["outcome"])[1]
    return dagcbor.decode(file_of(data_dir, "evaluators/2/public", digest).read_bytes())


def manifest_of(data_dir):
    _, index = index_of(data_dir, "measure/public", "")
    digest = parse_cid(index["manifest"])[1]
    return dagcbor.decode(file_of(data_dir, "measure/public", digest).read_bytes())


def file_of(data_dir, publication, digest):
    return data_dir / publication / "objects" / cid_text(digest)


def flip(path):
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def forge(data_dir, record):
    """Publish another outcome record of evaluator 2 under its right name, and point to it."""
    path, index = index_of(data_dir, "evaluators/2/public", ".outcome")
    data = dagcbor.encode(record)
    file_of(data_dir, "evaluators/2/public", digest_of(data)).write_bytes(data)
    index["outcome"] = cid_text(digest_of(data))
    path.write_text(json.dumps(index))


def broken_link(data_dir):
    ran = looks("verify", "--data-dir", data_dir, "--epoch", str(EPOCH), "--json")
    assert ran.code == 1, ran.out + ran.err
    broken = json.loads(ran.out)["broken"]
    text = looks("verify", "--data-dir", data_dir, "--epoch", str(EPOCH))
    assert f"broken: {broken}" in text.out.splitlines()
    return broken


@pytest.mark.parametrize(
    ("which", "link"),
    [
        ("segment", "segments"),
        ("nodes", "jobs"),
        ("manifest", "manifest"),
        ("row", "rows"),
        ("block", "block"),
        ("certificate", "certificate"),
        ("record", "report"),
        ("claims", "rewards"),
        ("verdicts", "evaluation"),
        ("result", "claims"),
    ],
)
def test_a_flipped_bit_in_a_published_file_breaks_its_link(copy, which, link):
    record, manifest = record_of(copy), manifest_of(copy)
    _, outcome_index = index_of(copy, "evaluators/2/public", ".outcome")
    _, manifest_index = index_of(copy, "measure/public", "")
    evaluator, measure = "evaluators/2/public", "measure/public"
    path = {
        "segment": lambda: file_of(copy, measure, manifest["segments"][0]["digest"]),
        "nodes": lambda: file_of(copy, measure, manifest["nodes"]),
        "manifest": lambda: file_of(copy, measure, parse_cid(manifest_index["manifest"])[1]),
        "row": lambda: file_of(copy, evaluator, record["rows"][0]),
        "record": lambda: file_of(copy, evaluator, parse_cid(outcome_index["outcome"])[1]),
    }.get(which, lambda: file_of(copy, evaluator, record[which]))()
    flip(path)
    assert broken_link(copy) == link


def test_a_changed_signature_is_found_although_every_name_fits_its_bytes(copy):
    record = record_of(copy)
    signer, signature = record["signatures"][0]
    record["signatures"][0] = [signer, bytes([signature[0] ^ 1]) + signature[1:]]
    forge(copy, record)
    assert broken_link(copy) == "signatures"


def test_a_changed_report_is_found_although_every_name_fits_its_bytes(copy):
    record = record_of(copy)
    record["report"]["verdict_root"] = bytes(32)
    forge(copy, record)
    assert broken_link(copy) == "report"


def test_any_web_server_will_do_and_none_is_believed(copy):
    """The same from a URL, with the chain at an endpoint of one's own; then one bit on the server."""
    network = NetworkFile.load(copy)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(copy))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        embedded_chain(copy / "chain" / "chain.sqlite", network.chain_id) as chain,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        arguments = ("verify", "--from", url, "--rpc-url", chain, "--epoch", str(EPOCH))
        known = address_text(network.contracts.evaluations)
        ran = meridian(*arguments, "--evaluations", known, "--json")
        assert ran.code == 0, ran.out + ran.err
        assert json.loads(ran.out)["anchor"]["evaluations"] == known
        stranger = meridian(*arguments, "--evaluations", "0x" + "11" * 20)
        assert stranger.code == 2
        flip(file_of(copy, "evaluators/2/public", record_of(copy)["block"]))
        spoilt = meridian(*arguments)
        assert spoilt.code == 1
        assert "broken: block" in spoilt.out
        server.shutdown()
