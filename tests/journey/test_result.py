"""What a finished run says, publishes and pays."""

import json
import re

import pytest

from journey.system import looks, meridian, small_demo
from meridian.measure.receipt import SignedReceipt

pytestmark = pytest.mark.journey

HEX32 = re.compile(r"0x[0-9a-f]{64}")
ADDRESS = re.compile(r"0x[0-9a-f]{40}")


def test_the_result_has_the_documented_shape_and_every_amount_adds_up(finished):
    _, document = finished
    assert [epoch["epoch"] for epoch in document["epochs"]] == [1, 2]
    assert sum(epoch["jobs"] for epoch in document["epochs"]) == 6000
    for epoch in document["epochs"]:
        assert set(epoch) == {
            "epoch", "jobs", "nodes", "commitment_root", "report_hash", "signers", "transmitter",
            "total_atto", "allocated_atto", "paid_atto", "gas", "payees",
        }  # fmt: skip
        assert HEX32.fullmatch(epoch["commitment_root"])
        assert HEX32.fullmatch(epoch["report_hash"])
        assert len(epoch["signers"]) >= 3
        assert all(ADDRESS.fullmatch(signer) for signer in epoch["signers"])
        assert ADDRESS.fullmatch(epoch["transmitter"])
        assert set(epoch["gas"]) == {"commit", "report", "claim"}
        assert all(gas > 21_000 for gas in epoch["gas"].values())
        amounts = [int(payee["amount_atto"]) for payee in epoch["payees"]]
        assert sum(amounts) == int(epoch["allocated_atto"]) == int(epoch["total_atto"])
        assert epoch["paid_atto"] == epoch["allocated_atto"]
        assert len(epoch["payees"]) == epoch["nodes"]
        places = [payee["proportion"].replace(".", "") for payee in epoch["payees"]]
        assert sum(map(int, places)) == 10**18


def test_the_result_of_the_design_document_lies_beside_it(finished):
    data_dir, document = finished
    for epoch in document["epochs"]:
        path = data_dir / "results" / f"epoch-{epoch['epoch']:06d}.json"
        value = json.loads(path.read_text())
        assert set(value) == {"epoch", "measurement", "trace_of_eval", "payees"}
        assert value["epoch"] == str(epoch["epoch"])
        assert value["measurement"].startswith("b")
        assert [set(payee) for payee in value["payees"]] == [{"node_id", "proportion"}] * epoch[
            "nodes"
        ]


def test_the_gateway_keeps_a_signed_receipt_for_every_batch(finished):
    data_dir, document = finished
    lines = (data_dir / "gateway" / "receipts.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert sum(entry["accepted"] for entry in kept) == sum(e["jobs"] for e in document["epochs"])
    for entry in kept:
        receipt = SignedReceipt.read(entry["receipt"])
        assert receipt.holds
        altered = entry["receipt"] | {"deadline_epoch": entry["receipt"]["deadline_epoch"] + 1}
        assert not SignedReceipt.read(altered).holds


def test_running_the_same_command_again_changes_nothing(finished):
    data_dir, document = finished
    blocks = (data_dir / "chain" / "chain.sqlite").stat().st_mtime
    again = small_demo(data_dir)
    assert again.document == document
    assert blocks > 0


def test_another_network_is_refused_on_the_same_directory(finished):
    data_dir, _ = finished
    ran = meridian(
        "demo",
        "--data-dir",
        data_dir,
        "--jobs",
        "100",
        "--nodes",
        "3",
        "--epochs",
        "1",
        "--evaluators",
        "5",
    )
    assert ran.code == 2
    assert "--evaluators" in ran.err


def test_every_epoch_verifies_from_public_artefacts_and_the_chain(finished):
    data_dir, _ = finished
    for epoch in ("1", "2"):
        ran = meridian("verify", "--data-dir", data_dir, "--epoch", epoch, "--json")
        assert ran.code == 0, ran.out + ran.err
        value = json.loads(ran.out)
        assert value["ok"] is True
        assert value["broken"] is None
        assert {link["state"] for link in value["links"]} == {"holds"}


def test_a_node_operator_sees_what_was_counted_and_why(finished):
    data_dir, document = finished
    payee = document["epochs"][1]["payees"][0]
    ran = looks(
        "node", "show", "--data-dir", data_dir, "--epoch", "2", "--node", payee["node_id"], "--json"
    )
    assert ran.code == 0, ran.err
    value = json.loads(ran.out)
    assert value["weight"] == payee["weight"]
    assert value["proportion"] == payee["proportion"]
    unknown = looks("node", "show", "--data-dir", data_dir, "--epoch", "2", "--node", "nobody")
    assert unknown.code == 3


def test_proof_files_verify_and_a_changed_one_does_not(finished, tmp_path):
    data_dir, document = finished
    node = document["epochs"][0]["payees"][0]["node_id"]
    for kind in ("node", "claim"):
        path = tmp_path / f"{kind}.json"
        made = looks(
            "proof", kind, "--data-dir", data_dir, "--epoch", "1", "--node", node, "-o", path
        )
        assert made.code == 0, made.err
        good = looks("proof", "verify", path, "--data-dir", data_dir)
        assert good.code == 0, good.out + good.err
        text = path.read_text()
        at = text.rindex('"path"') if '"path"' in text else len(text) // 2
        digit = re.search(r"[0-9a-f]{40,}", text[at:])
        assert digit is not None
        place = at + digit.start() + 20
        flipped = "0" if text[place] != "0" else "1"
        path.write_text(text[:place] + flipped + text[place + 1 :])
        assert looks("proof", "verify", path, "--data-dir", data_dir).code == 1
