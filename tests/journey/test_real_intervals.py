"""Real Rocket Pool intervals through the whole system: every minipool is paid to the wei."""

import gzip
import json

import pytest

from journey.system import looks, meridian

pytestmark = pytest.mark.journey


@pytest.mark.parametrize("interval", [60, 62, 103])
def test_payouts_equal_the_real_ones_of_every_minipool(interval, shared_dir, tmp_path):
    path = shared_dir / "data" / "rocketpool" / f"performance-testnet-{interval}.json.gz"
    ran = meridian(
        "run", "--network", "attestation", "--jobs", path, "--evaluators", "4",
        "--data-dir", tmp_path, "--challenge-seconds", "1", "--json",
    )  # fmt: skip
    [epoch] = ran.document["epochs"]
    real = json.loads(gzip.decompress(path.read_bytes()))["minipoolPerformance"]
    paid = {payee["node_id"]: payee["amount_atto"] for payee in epoch["payees"]}
    assert epoch["epoch"] == interval
    assert epoch["jobs"] == sum(
        pool["successfulAttestations"] + pool["missedAttestations"] for pool in real.values()
    )
    assert paid == {name.lower(): pool["ethEarned"] for name, pool in real.items()}
    assert epoch["paid_atto"] == epoch["allocated_atto"]
    verified = looks("verify", "--data-dir", tmp_path, "--epoch", str(interval))
    assert verified.code == 0, verified.out + verified.err
