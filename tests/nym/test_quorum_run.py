"""Quorum mode as real processes: one honest run with a killed Nym-Api and a liar, then everything is looked at."""

import json
import shutil
import sqlite3
import time

import pytest
from click.testing import CliRunner

from meridian.cli.main import main
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


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Three epochs, one liar of four, and one Nym-Api killed with SIGKILL in the second epoch."""
    root = tmp_path_factory.mktemp("quorum")
    options = NymOptions(
        data_dir=root, mode=Mode.QUORUM, epochs=3, epoch_seconds=2, liars=1, kill_api=True
    )
    notes = Notes()
    return root, NymRun(options, notes).run(), notes.lines


def test_every_epoch_is_settled_and_every_link_holds(system):
    _, result, notes = system
    assert result.problems == []
    epochs = result.document["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
    for epoch in epochs:
        assert epoch["verified"]
        assert epoch["rows"] >= 3
        assert len(epoch["signers"]) >= 3
        assert epoch["report_signers"] >= 3
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


def test_the_liar_cannot_leave_the_range_of_the_honest(system):
    root, result, _ = system
    with StoredSystem(root) as stored:
        for epoch in result.document["epochs"]:
            honest = [stored.row(number, epoch["epoch"]).spread(5) for number in (2, 3, 4)]
            for mixnode, value in enumerate(epoch["rewards"]):
                known = [row[mixnode] for row in honest if row[mixnode] is not None]
                assert value is None or min(known) <= value <= max(known)


def test_the_same_command_has_nothing_left_to_do(system):
    root, result, _ = system
    options = NymOptions(
        data_dir=root, mode=Mode.QUORUM, epochs=3, epoch_seconds=2, liars=1, kill_api=True
    )
    before = time.monotonic()
    again = NymRun(options, Notes()).run()
    assert time.monotonic() - before < 2
    assert again.document == result.document


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


def flip(database, table, column, where, *, bit=0):
    """Change one bit of a stored value."""
    with sqlite3.connect(database) as connection:
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        if isinstance(value, bytes):
            changed = bytearray(value)
            changed[len(value) // 2] ^= 1 << bit
            value = bytes(changed)
        else:
            value ^= 1 << bit
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    connection.close()


@pytest.mark.parametrize(
    ("table", "column", "name"),
    [
        ("decision", "block", "block"),
        ("decision", "certificate", "certificate"),
        ("body", "body", "messages"),
        ("reward", "performance", "accepted result"),
        ("accepted", "signature", "accepted result"),
        ("accepted", "block_hash", "accepted result"),
        ("accepted", "winner", "accepted result"),
        ("attestation", "signature", "accepted result"),
    ],
)
def test_one_changed_bit_is_named(system, tmp_path, table, column, name):
    root, *_ = system
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("logs", "keys"))
    if table in {"decision", "body"}:
        databases = [copy / "apis" / str(n) / "nym-api.sqlite" for n in range(1, 5)]
    else:
        databases = [copy / "contract" / "contract.sqlite"]
    where = "epoch = 1" + (" AND performance IS NOT NULL" if table == "reward" else "")
    flip(databases[0], table, column, where)
    one = verify(copy)
    assert one.exit_code == 1
    if len(databases) > 1:  # the others still prove it, and this copy is named
        first = json.loads(one.stdout)
        assert first["broken"] == "stored copies"
        assert f"nym-api-1: {name}" in one.stdout
        for database in databases[1:]:
            flip(database, table, column, where)
    done = verify(copy)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["broken"] == name


def test_without_any_evidence_nothing_holds(system, tmp_path):
    root, *_ = system
    copy = tmp_path / "copy"
    shutil.copytree(root / "contract", copy / "contract")
    shutil.copy(root / "nym.json", copy)
    done = verify(copy)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["broken"] == "stored copies"
