"""What `meridian nym` refuses before anything starts: the option is named."""

import pytest
from click.testing import CliRunner
from nym_world import network

from meridian.cli.main import main
from meridian.errors import InvalidInput, NotFound
from meridian.nym.acceptance import Mode
from meridian.nym.network import NymNetwork


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["standalone", "--apis", "0"], "--apis"),
        (["standalone", "--apis", "32"], "--apis"),
        (["standalone", "--epochs", "0"], "--epochs"),
        (["standalone", "--epoch-seconds", "0"], "--epoch-seconds"),
        (["standalone", "--mixnodes", "0"], "--mixnodes"),
        (["standalone", "--mixnodes", "5001"], "--mixnodes"),
        (["standalone", "--seed", "-1"], "--seed"),
        (["standalone", "--liars", "5"], "--liars"),
        (["ephemera"], "--mode"),
        (["ephemera", "--mode", "all"], "--mode"),
        (["ephemera", "--mode", "race", "--aggregate", "max"], "--aggregate"),
        (["ephemera", "--mode", "race", "--kill-api", "--epochs", "2"], "--kill-api"),
        (["ephemera", "--mode", "race", "--kill-api", "--apis", "3"], "--kill-api"),
        (["ephemera", "--mode", "race", "--chain"], "--chain"),
        (["compare", "--apis", "3"], "--apis"),
        (["verify", "--epoch", "1"], "--data-dir"),
    ],
)
def test_a_wrong_option_is_named(options, named):
    done = CliRunner().invoke(main, ["nym", *options])
    assert done.exit_code == 2
    assert named in done.stderr


def test_a_directory_without_a_system_is_not_found(tmp_path):
    done = CliRunner().invoke(main, ["nym", "verify", "--data-dir", str(tmp_path), "--epoch", "0"])
    assert done.exit_code == 3


def test_the_description_comes_back_and_damage_is_named(tmp_path):
    system = network(Mode.QUORUM)
    system.save(tmp_path)
    assert NymNetwork.load(tmp_path) == system
    assert system.number(system.address(3)) == 3
    with pytest.raises(NotFound):
        system.number(b"\x00" * 20)
    good = (tmp_path / "nym.json").read_text()
    for old, new, named in [
        ('"quorum"', '"vote"', "mode"),
        ('"mean"', '"max"', "aggregate"),
        ('"mixnodes": 3', '"mixnodes": 0', "mixnodes"),
        ('"seed"', '"sead"', "sead"),
        ("{", "", "Expected `object`"),
        (system.apis[0].address, system.apis[1].address, "apis.address"),
    ]:
        (tmp_path / "nym.json").write_text(good.replace(old, new, 1))
        with pytest.raises(InvalidInput, match=named):
            NymNetwork.load(tmp_path)
