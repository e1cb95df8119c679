"""`meridian seal` at a running service: one epoch, or every one that is over."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from measure_world import CALENDAR, CONTRACT, Process, make_config

from meridian.cli.main import main
from meridian.contracts.deployment import Addresses
from meridian.node.keystore import read_secret
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import ZERO_ADDRESS


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    """The command for a service whose clock stands where its third epoch ends."""
    config = make_config(tmp_path / "service")
    process = Process(tmp_path / "service", config)
    client = process.client()
    client.set_clock(CALENDAR.end_us(CALENDAR.first_epoch + 2))
    NetworkFile(
        network="own",
        chain_id=31337,
        rpc_url="http://127.0.0.1:1",
        contracts=Addresses(*[CONTRACT] * 4),
        deploy_block=0,
        genesis_s=CALENDAR.genesis_s,
        epoch_seconds=CALENDAR.epoch_seconds,
        first_epoch=CALENDAR.first_epoch,
        measure_url=process.url,
        publications=(),
        function="count",
        aggregator=ZERO_ADDRESS,
        log_vkey="",
        schema_digest=bytes(32),
        parameters_digest=bytes(32),
        evaluators=(),
    ).save(tmp_path)
    token = tmp_path / "token"
    token.write_text(read_secret(config.admin_token_file).hex() + "\n")
    yield ["seal", "--data-dir", str(tmp_path), "--token-file", str(token)]
    client.close()
    assert process.stop() == 0


def run(words: list[str], *more: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*words, *more])
    assert result.exit_code == code, result.output
    return result


def test_every_epoch_that_is_over_is_sealed_once(words: list[str]) -> None:
    first = CALENDAR.first_epoch
    [one] = run(words, "--epoch", str(first), "--json").stdout.splitlines()
    assert json.loads(one)["epoch"] == first
    lines = run(words, "--json").stdout.splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [first + 1, first + 2]
    assert {json.loads(line)["state"] for line in lines} == {"committed"}
    assert run(words).output == "no epoch is over\n"
    refused = run(words, "--epoch", str(first), "--every-s", "1", code=2)
    assert "not for --epoch" in refused.output
