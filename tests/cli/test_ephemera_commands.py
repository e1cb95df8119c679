"""`meridian ephemera`: what the commands make, print and refuse; running nodes are tested in tests/node/ephemera."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meridian.cli.main import main
from meridian.node.ephemera.config import NodeConfig
from meridian.node.ephemera.members_file import read_members
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.observe_mark import OBSERVE_FILE
from meridian.primitives.base58 import parse_public_key


def ephemera(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["ephemera", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def test_generate_keypair_prints_the_public_halves_only(tmp_path):
    key, link = tmp_path / "a.key", tmp_path / "b.key"
    arguments = ("generate-keypair", "--key-file", key, "--link-key-file", link)
    said = json.loads(ephemera(*arguments, "--json").output)
    assert said["address"] == "0x" + load_or_create_key(key).address.hex()
    identity = link_identity(load_or_create_secret(link))
    assert (
        bytes.fromhex(said["link_key"]) == identity.link_key == parse_public_key(said["public_key"])
    )
    assert said["peer_id"].startswith("12D3KooW")
    for path in (key, link):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip() not in json.dumps(said)
    before = key.read_bytes()
    assert "never overwritten" in ephemera(*arguments, code=2).output
    assert key.read_bytes() == before


def test_init_config_makes_a_node_once(tmp_path):
    where = tmp_path / "node"
    shown = ephemera(
        "init-config", "--dir", where, "--network", "n", "--no-producer", "--port", 3005
    )
    assert "peer_id" in shown.output
    config = NodeConfig.load(where / "ephemera.toml")
    assert (config.links.port, config.blocks.producer) == (3005, False)
    assert "# Port to listen on." in (where / "ephemera.toml").read_text()
    assert (where / "data" / OBSERVE_FILE).read_text().startswith("-1 ")
    assert (
        "exists already" in ephemera("init-config", "--dir", where, "--network", "n", code=2).output
    )


def test_update_config(tmp_path):
    ephemera("init-config", "--dir", tmp_path, "--network", "n")
    path = tmp_path / "ephemera.toml"
    ephemera("update-config", "--config", path, "--key", "api.port", "--value", 7009)
    assert NodeConfig.load(path).api.port == 7009
    refused = ephemera("update-config", "--config", path, "--key", "api.prt", "--value", 1, code=2)
    assert "did you mean api.port" in refused.output


@pytest.mark.parametrize("pattern", [None, "node-{}"])
def test_init_local_cluster_prints_a_line_for_every_node(tmp_path, pattern):
    where = tmp_path / "a cluster"
    more = () if pattern is None else ("--host-pattern", pattern)
    lines = ephemera("init-local-cluster", "-n", 3, "--dir", where, *more).output.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("meridian ephemera run-node --config '") for line in lines)
    members = read_members(where / "members.toml")
    for i, entry in enumerate(members.members):
        config = NodeConfig.load(where / f"node-{i + 1}" / "ephemera.toml")
        if pattern is None:
            assert (entry.host, entry.port) == (config.links.host, 3000 + i)
            assert (config.links.port, config.api.port) == (3000 + i, 7000 + i)
        else:
            assert (entry.host, entry.port) == (f"node-{i + 1}", 3000)
            assert (config.links.host, config.links.public_host) == ("0.0.0.0", entry.host)
        assert (
            where / f"node-{i + 1}" / config.membership.file
        ).resolve() == where / "members.toml"
    assert "exists already" in ephemera("init-local-cluster", "--dir", where, code=2).output


def test_what_cannot_work_is_refused(tmp_path):
    key = tmp_path / "k"
    load_or_create_key(key)
    base = ("submit", "--url", "http://127.0.0.1:9", "--label", "x", "--key-file", key)
    assert "either --data or --file" in ephemera(*base, code=2).output
    assert "either --data or --file" in ephemera(*base, "--data", "x", "--file", key, code=2).output
    ephemera(*base, "--data", "x", code=4)
    ephemera("blocks", "--url", "http://127.0.0.1:9", code=4)
    ephemera("blocks", "--url", "http://127.0.0.1:9", "--follow", code=4)
    ephemera("blocks", "--url", "nonsense", code=4)


@pytest.mark.parametrize("text", ["", "{}", "[]", "x", '{"path": 1}', "[" * 10_000])
def test_verify_block_says_what_does_not_hold(tmp_path: Path, text: str):
    path = tmp_path / "blocks"
    path.write_text(text)
    result = ephemera("verify-block", path, code=1 if text else 0)
    assert ("✗" in result.output) is bool(text)
