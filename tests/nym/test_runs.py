"""Systems as real processes, with a killed Nym-Api and a liar; then everything that they stored is looked at."""

import dataclasses
import json
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from meridian.cli.main import main
from meridian.errors import InvalidInput
from meridian.nym.acceptance import Mode
from meridian.nym.run import NymOptions, NymRun
from meridian.nym.stored import StoredSystem

pytestmark = pytest.mark.journey


class Notes:
    def __init__(self):
        self.lines = []

    def progress(self, step, done, total):
        pass

    def note(self, text):
        self.lines.append(text)


def options(root, mode, **values):
    return NymOptions(
        data_dir=root / mode, mode=mode, epoch_seconds=2, settle_timeout_s=120, **values
    )


class ContractKilled(NymRun):
    """The contract dies of SIGKILL in the middle of the first epoch, and starts again."""

    def _work(self, genesis_s, wanted):
        time.sleep(max(0.0, genesis_s + 0.5 - time.time()))
        self._children["contract"].kill()
        self._start("contract", "meridian.nym.contract").wait_ready()
        super()._work(genesis_s, wanted)


class TooManyKilled(NymRun):
    """More than f Nym-Apis die before the first epoch ends."""

    def _work(self, genesis_s, wanted):
        for number in (3, 4):
            self._resting.add(f"nym-api-{number}")
            self._children[f"nym-api-{number}"].kill()
        super()._work(genesis_s, wanted)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All runs at once, for they mostly wait for their epochs to end.

    Of four Nym-Apis one lies, and one is killed with SIGKILL in the second epoch; and each way with one alone, whose contract is killed.
    """
    root = tmp_path_factory.mktemp("nym")
    faulty = {"epochs": 3, "liars": 1, "kill_api": True, "apis": 4}
    alone = {"epochs": 1, "apis": 1, "mixnodes": 2}
    wanted = {mode: options(root, mode, **faulty) for mode in (Mode.QUORUM, Mode.RACE)}
    wanted |= {f"{mode}-alone": options(root / "alone", mode, **alone) for mode in Mode}
    wanted["unsettled"] = options(root / "unsettled", Mode.QUORUM, epochs=1, liars=0)
    wanted["unsettled"] = dataclasses.replace(wanted["unsettled"], settle_timeout_s=1.0)
    kinds = {"unsettled": TooManyKilled} | {f"{mode}-alone": ContractKilled for mode in Mode}

    with ThreadPoolExecutor(len(wanted)) as pool:
        started = {
            name: (
                chosen,
                notes := Notes(),
                pool.submit(kinds.get(name, NymRun)(chosen, notes).run),
            )
            for name, chosen in wanted.items()
        }
        return {name: (o, run.result(), notes.lines) for name, (o, notes, run) in started.items()}


@pytest.fixture(params=[Mode.QUORUM, Mode.RACE])
def system(request, runs):
    chosen, result, notes = runs[request.param]
    return chosen.data_dir, result, notes


@pytest.mark.parametrize("mode", Mode)
def test_one_alone_settles_too(runs, mode):
    _, result, _ = runs[f"{mode}-alone"]
    (epoch,) = result.document["epochs"]
    assert result.problems == []
    assert (epoch["winner_number"], epoch["rows"], epoch["verified"]) == (1, 1, True)
    assert len(epoch["signers"]) == (0 if mode is Mode.STANDALONE else 1)


def test_every_epoch_is_settled_and_every_link_holds(system):
    _, result, notes = system
    assert result.problems == []
    epochs = result.document["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
    for epoch in epochs:
        assert epoch["verified"]
        assert epoch["rows"] >= 3
        assert len(epoch["signers"]) >= 3
        quorum = result.document["mode"] == Mode.QUORUM
        assert epoch["report_signers"] >= 3 if quorum else epoch["report_signers"] == 0
        assert epoch["winner_number"] in {1, 2, 3, 4}
        assert epoch["latency_ms"] >= 0
    assert any("killed with SIGKILL" in line for line in notes)


def test_losers_learn_the_winner_and_check_it(system):
    root, result, _ = system
    with StoredSystem(root) as stored:
        findings = stored.findings()
    for epoch in result.document["epochs"]:
        for number in range(1, 5):  # the killed one too: it caught up
            finding = findings[number][epoch["epoch"]]
            assert finding.holds
            assert "0x" + finding.winner.hex() == epoch["winner"]


def test_in_quorum_a_liar_cannot_leave_the_range_of_the_honest_and_in_race_it_does(system):
    root, result, _ = system
    outside = 0
    with StoredSystem(root) as stored:
        for epoch in result.document["epochs"]:
            honest = [stored.row(number, epoch["epoch"]).spread(5) for number in (2, 3, 4)]
            for mixnode, value in enumerate(epoch["rewards"]):
                known = [row[mixnode] for row in honest if row[mixnode] is not None]
                outside += value is not None and not min(known) <= value <= max(known)
    assert outside == 0 if result.document["mode"] == Mode.QUORUM else outside > 0


def test_the_same_command_has_nothing_left_to_do(runs):
    chosen, result, _ = runs[Mode.QUORUM]
    notes = Notes()
    again = NymRun(chosen, notes).run()
    assert notes.lines == ["all epochs are settled already"]
    assert again.document == result.document


def test_another_system_does_not_enter_the_directory(runs):
    chosen, *_ = runs[Mode.QUORUM]
    for change in ({"seed": 2}, {"apis": 5}, {"mode": Mode.RACE}, {"mixnodes": 6}):
        with pytest.raises(InvalidInput, match="give another directory"):
            NymRun(dataclasses.replace(chosen, **change), Notes()).run()


def verify(root, epoch=1):
    return CliRunner().invoke(
        main, ["nym", "verify", "--data-dir", str(root), "--epoch", str(epoch), "--json"]
    )


def test_verify_needs_no_process(system):
    root, result, _ = system
    done = verify(root)
    assert done.exit_code == 0
    links = json.loads(done.stdout)["links"]
    assert [link["name"] for link in links] == [
        "accepted result", "block", "certificate", "messages", "result", "stored copies",
    ]  # fmt: skip
    assert sorted(links[2]["items"]) == sorted(result.document["epochs"][1]["signers"])
    assert sorted(links[3]["items"]) == sorted(result.document["epochs"][1]["senders"])
    assert verify(root, 77).exit_code == 3


def flip(database, table, column, where, at):
    """Change one bit of a stored value."""
    with sqlite3.connect(database) as connection:
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        if isinstance(value, bytes):
            changed = bytearray(value)
            changed[at] ^= 1
            value = bytes(changed)
        else:
            value ^= 1
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    connection.close()


@pytest.mark.parametrize(
    ("mode", "table", "column", "at", "name"),
    [
        (Mode.QUORUM, "decision", "block", 40, "block"),
        (Mode.QUORUM, "decision", "block", -1, "block"),  # a HAVE's signature
        (Mode.QUORUM, "decision", "certificate", -1, "certificate"),
        (Mode.QUORUM, "body", "body", -1, "messages"),
        (Mode.QUORUM, "attestation", "signature", 20, "accepted result"),
        (Mode.RACE, "decision", "block", 60, "block"),  # the header
        (Mode.RACE, "decision", "block", -1, "messages"),  # a message's signature
        (Mode.RACE, "decision", "block", -70, "messages"),  # a value in a row
        (Mode.RACE, "decision", "certificate", -1, "certificate"),
        (Mode.RACE, "reward", "performance", 0, "accepted result"),
        (Mode.RACE, "accepted", "signature", 20, "accepted result"),
        (Mode.RACE, "accepted", "block_hash", 20, "accepted result"),
        (Mode.RACE, "accepted", "winner", 10, "accepted result"),
    ],
)
def test_one_changed_bit_is_named(runs, tmp_path, mode, table, column, at, name):
    root = runs[mode][0].data_dir
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("logs", "keys"))
    if table in {"decision", "body"}:
        databases = [copy / "apis" / str(n) / "nym-api.sqlite" for n in range(1, 5)]
    else:
        databases = [copy / "contract" / "contract.sqlite"]
    where = "epoch = 1" + (" AND performance IS NOT NULL" if table == "reward" else "")
    flip(databases[0], table, column, where, at)
    one = verify(copy)
    assert one.exit_code == 1
    if len(databases) > 1:  # the others still prove it, and this copy is named
        first = json.loads(one.stdout)
        assert first["broken"] == "stored copies"
        assert f"nym-api-1: {name}" in one.stdout
        for database in databases[1:]:
            flip(database, table, column, where, at)
    done = verify(copy)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["broken"] == name


def test_without_any_evidence_nothing_holds(system, tmp_path):
    root, *_ = system
    copy = tmp_path / "bare"
    shutil.copytree(root / "contract", copy / "contract")
    shutil.copy(root / "nym.json", copy)
    done = verify(copy)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["broken"] == "stored copies"


def test_a_check_that_fails_is_an_exit_code(runs, tmp_path):
    chosen, *_ = runs[Mode.QUORUM]
    copy = tmp_path / "copy"
    shutil.copytree(chosen.data_dir, copy, ignore=shutil.ignore_patterns("logs"))
    for number in range(1, 5):
        flip(copy / "apis" / str(number) / "nym-api.sqlite", "body", "body", "epoch = 2", -1)
    done = CliRunner().invoke(
        main,
        ["nym", "ephemera", "--mode", "quorum", "--liars", "1", "--epochs", "3", "--epoch-seconds", "2",
         "--data-dir", str(copy), "--json"],
    )  # fmt: skip
    assert done.exit_code == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem.startswith("epoch 2: messages:")


def test_an_epoch_without_a_result_is_a_problem(runs):
    _, result, _ = runs["unsettled"]
    assert result.problems == ["epoch 0 was not settled"]
    assert result.document["epochs"] == []
