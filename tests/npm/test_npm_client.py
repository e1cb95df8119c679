"""Clients of the earlier Meridian contract, written with ethers 6, run unchanged against ImpactEvaluator on a real chain process.

The packages are installed outside the checkout, once::

    python tests/npm_tools.py install

MERIDIAN_NPM names another directory.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meridian.contracts.artefact import load
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

HERE = Path(__file__).parent
PACKAGES = Path(os.environ.get("MERIDIAN_NPM") or Path.home() / ".cache" / "meridian-npm")
ETHER = 10**18
SECRETS = [sha256(name) for name in (b"npm admin", b"npm peer")]


@contextlib.contextmanager
def chain(folder):
    alloc = ",".join(address_text(PrivateKey(secret).address) for secret in SECRETS)
    command = [sys.executable, "-m", "meridian.node.chain.embedded"]
    command += ["--db", str(folder / "chain.sqlite"), "--chain-id", "31337", "--alloc", alloc]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    if shutil.which("node") is None:
        pytest.skip("no node; the client needs it")
    if not (PACKAGES / "node_modules" / "ethers").is_dir():
        pytest.skip(f"no ethers in {PACKAGES}; this module's head says how to install it")
    folder = tmp_path_factory.mktemp("npm")
    code = folder / "bytecode"
    code.write_text("0x" + load("ImpactEvaluator").bytecode.hex())
    keys = ["0x" + secret.hex() for secret in SECRETS]
    arguments = [*keys, *map(address_text, PARTICIPANTS)]
    with chain(folder) as url:
        command = ["node", str(HERE / "client.mjs"), str(PACKAGES), url, str(code), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {line.pop("step"): line for line in lines}


PARTICIPANTS = [Address(sha256(b"npm participant", bytes([i]))[:20]) for i in range(3)]


def lower(values):
    return [value.lower() for value in values]


def test_the_publisher_finds_its_round_in_the_first_log(steps):
    peer = address_text(PrivateKey(SECRETS[1]).address)
    said = steps["measurements"]
    assert (said["name"], said["cid"], said["round"]) == ("MeasurementsAdded", "bafybeiclient", "1")
    assert said["sender"].lower() == peer
    assert steps["advanced"] == {
        "logs": ["MeasurementsAdded", "RoundStart"],
        "of": "1",
        "started": "2",
    }


def test_the_operator_sets_and_reads_what_it_set(steps):
    assert steps["settings"] == {
        "length": "3",
        "reward": str(10 * ETHER),
        "minimum": str(ETHER),
        "available": str(100 * ETHER),
        "evaluator": True,
    }


def test_the_evaluators_scores_are_scheduled_rewards(steps):
    said = steps["scored"]
    assert said["scheduled"] == [str(5 * ETHER), str(5 * ETHER // 2), str(5 * ETHER // 2)]
    assert said["ready"] == "3"
    assert said["zero"].lower() == address_text(PARTICIPANTS[0])
    assert steps["wrong round"] == {"reason": "Can only score previous round"}


def test_balances_are_added_released_and_paid_by_ticks(steps):
    said = steps["paid"]
    assert (said["waiting"], said["ticks"]) == ("3", 2)
    assert said["last"].lower() == address_text(PARTICIPANTS[2])
    amounts = [6 * ETHER, 9 * ETHER // 2, 5 * ETHER // 2]
    assert [(row["to"].lower(), row["amount"]) for row in said["paid"]] == [
        (address_text(to), str(amount))
        for to, amount in reversed(list(zip(PARTICIPANTS, amounts, strict=True)))
    ]


def test_listeners_hear_rounds_and_measurements(steps):
    said = steps["heard"]
    assert said["rounds"][:2] == ["1", "2"]
    assert said["blocks"] is True
    assert said["logged"][:3] == ["0", "1", "2"]
    assert set(said["cids"]) == {"bafybeiclient", "bafybeinext"}
