"""The same system on Meridian's contracts: embedded chain, aggregator and Nym-Apis as real processes."""

import json
import shutil

import pytest
from click.testing import CliRunner
from test_runs import Notes

from meridian.cli.main import main
from meridian.nym.acceptance import Mode
from meridian.nym.onchain.run import ChainRun
from meridian.nym.run import NymOptions

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Two epochs, one liar of four."""
    root = tmp_path_factory.mktemp("chain")
    options = NymOptions(
        data_dir=root, mode=Mode.QUORUM, epochs=2, epoch_seconds=2, liars=1, settle_timeout_s=120
    )
    return root, options, ChainRun(options, Notes()).run()


def verify(root, epoch):
    return CliRunner().invoke(
        main, ["nym", "verify", "--data-dir", str(root), "--epoch", str(epoch), "--json"]
    )


def test_reports_stand_on_chain_and_every_link_holds(system):
    *_, result = system
    assert result.problems == []
    first, second = result.document["epochs"]
    assert second["epoch"] == first["epoch"] + 1
    for epoch in (first, second):
        assert epoch["rows"] >= 3
        assert epoch["report_signers"] >= 3
        assert epoch["winner_number"] in {1, 2, 3, 4}  # as the contract has it
        assert epoch["summary"]["rewarded"] >= 3
        assert sum(int(amount) for amount in epoch["amounts_atto"]) > 0
    assert first["links"] == [
        "contracts", "commitment", "measurements", "rules", "records", "block", "certificate", "rows",
        "averages", "aggregation", "rewards", "report", "signatures", "contract",
    ]  # fmt: skip


def test_the_same_command_has_nothing_left_to_do(system):
    _, options, result = system
    notes = Notes()
    again = ChainRun(options, notes).run()
    assert notes.lines == ["all epochs are settled already"]
    # Where setting up was slow, Nym-Apis measured epochs before the run's first: these come first now.
    shown = {epoch["epoch"]: epoch for epoch in result.document["epochs"]}
    assert [shown.get(epoch["epoch"], epoch) for epoch in again.document["epochs"]] == (
        again.document["epochs"]
    )
    assert len(again.document["epochs"]) == len(shown)
    assert again.problems == []


def test_one_changed_bit_of_the_readings_is_named(system, tmp_path):
    root, _, result = system
    epoch = result.document["epochs"][0]["epoch"]
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("logs", "keys"))
    index = copy / "apis" / "2" / "public" / "epochs" / f"{epoch:06d}.readings.json"
    path = copy / "apis" / "2" / "public" / "objects" / json.loads(index.read_bytes())["readings"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    done = verify(copy, epoch)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["broken"] == "measurements"


def test_a_race_on_the_contracts_is_refused_with_the_reason():
    done = CliRunner().invoke(main, ["nym", "ephemera", "--mode", "race", "--chain"])
    assert done.exit_code == 2
    assert "--mode quorum" in done.stderr
