"""Raw SPARK measurements and a round through the whole system, from the ingest to claims."""

import json

import pytest

from journey.system import looks, meridian
from meridian.networks.generator import Traffic
from meridian.networks.spark_generator import generate, lines
from meridian.primitives.ids import address_text

pytestmark = pytest.mark.journey


def test_stations_are_paid_for_what_the_rules_reward(tmp_path):
    traffic = Traffic(jobs=1_200, nodes=40, epochs=1)
    told, *measurements = lines(traffic)
    unattributed = json.dumps(json.loads(measurements[0]) | {"station_id": None}).encode()
    files = {"rounds": [told], "measurements": [*measurements, unattributed]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(b"\n".join(content) + b"\n")
    home = tmp_path / "home"
    ran = meridian(
        "run", "--network", "spark", "--jobs", tmp_path / "measurements", tmp_path / "rounds",
        "--data-dir", home, "--challenge-seconds", "1", "--claims", "3", "--json",
    )  # fmt: skip
    [epoch] = ran.document["epochs"]
    assert (epoch["jobs"], epoch["nodes"]) == (1_200, 40)
    weights = {payee["node_id"]: int(payee["weight"]) for payee in epoch["payees"]}
    assert 800 < sum(weights.values()) < 1_000
    by_payee = {}
    for station, payee in generate(traffic).nodes.items():
        name = address_text(payee)
        by_payee[name] = by_payee.get(name, 0) + weights[station]
    whole = sum(by_payee.values())
    expected = {name: weight * 10**15 // whole for name, weight in by_payee.items() if weight}
    burner = "0x000000000000000000000000000000000000dead"
    rest = 10**15 - sum(expected.values())
    assert epoch["scores"] == {
        name: str(score) for name, score in (expected | ({burner: rest} if rest else {})).items()
    }
    assert int(epoch["paid_atto"]) > 0
    [result] = (home / "results").iterdir()
    summary = json.loads(result.read_text())["trace_of_eval"]["summary"]
    assert int(summary["ok"]) == whole
    assert int(summary["DUP_INET_GROUP"]) > 0
    verified = looks("verify", "--data-dir", home, "--epoch", "1")
    assert verified.code == 0, verified.out + verified.err
