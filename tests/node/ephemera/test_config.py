"""The configuration is strict, says what is wrong by its key, and survives being edited."""

from pathlib import Path

import pytest

from meridian.errors import InvalidInput, NotFound
from meridian.node.ephemera.config import NodeConfig, keys, render, update


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[apii]\nport = 1", "unknown section apii; did you mean api"),
        ("[api]\nprt = 1", "unknown key api.prt; did you mean port"),
        ("[api]\nzzzzzz = 1", "unknown key api.zzzzzz; known are admin_token_file"),
        ("[api]\nport = '7000'", "Expected `int`, got `str` - at `api.port`"),
        ("[api]\nport = 0", "Expected `int` >= 1 - at `api.port`"),
        ("[api]\nport = 65536", "Expected `int` <= 65535"),
        ("[blocks]\nproducer = 1", "Expected `bool`"),
        ("[log]\nlevel = 'loud'", "matching regex"),
        ("[storage]\nbackend = 'rocksdb'", "matching regex"),
        ("[membership]\nkind = 'contract'", "membership.network_dir: kind contract needs it"),
        ("[mempool]\nclients = ['nobody']", "mempool.clients: 'nobody' is not 0x"),
        ("port = 1", "unknown section port"),
        ("api = 1", "Expected `object`"),
        ("[api]\nport = 1\nport = 2", "is no TOML"),
        ("=", "is no TOML"),
        ("[node]\nprivate_key = '00'", "unknown key node.private_key; did you mean link_key_file"),
    ],
)
def test_what_is_wrong_is_named(text, reason):
    with pytest.raises(InvalidInput) as caught:
        NodeConfig.parse(text, "ephemera.toml")
    assert caught.value.field == "ephemera.toml"
    assert reason in caught.value.reason


def test_an_empty_file_and_the_written_defaults_are_the_defaults():
    assert NodeConfig.parse("", "x") == NodeConfig() == NodeConfig.parse(render({}), "x")
    assert len(keys()) > 40


def test_the_settings_of_the_core_follow():
    text = render(
        {"blocks.interval_ms": 77, "mempool.ttl_ms": 5_000, "mempool.clients": ["0x" + "ab" * 20]}
    )
    settings = NodeConfig.parse(text, "x").block_settings()
    assert (settings.interval_ms, settings.mempool.ttl_ms) == (77, 5_000)
    assert settings.clients == {b"\xab" * 20}


def test_rendering_an_unknown_key_is_an_error():
    with pytest.raises(InvalidInput, match=r"did you mean api\.port"):
        render({"api.prt": 1})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "ephemera.toml"
    found.write_text("# mine\n[api]\nport = 7000  # as agreed\n\n[node]\nname = 'n'\n")
    return found


def test_an_update_keeps_comments_and_order(path):
    update(path, "api.port", "7001")
    update(path, "node.name", "7")
    update(path, "blocks.producer", "false")
    update(path, "mempool.clients", f'["0x{"00" * 20}"]')
    text = path.read_text()
    assert text.startswith('# mine\n[api]\nport = 7001  # as agreed\n\n[node]\nname = "7"\n')
    config = NodeConfig.load(path)
    assert (config.api.port, config.node.name, config.blocks.producer) == (7001, "7", False)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("api.prt", "1", "did you mean api.port"),
        ("port", "1", "known are|did you mean"),
        ("api.port.x", "1", "did you mean api.port"),
        ("api.port", "many", "no TOML value"),
        ("api.port", "true", "Expected `int`, got `bool`"),
        ("api.port", "0", ">= 1"),
        ("log.level", "loud", "matching regex"),
    ],
)
def test_an_update_that_does_not_fit_changes_nothing(path, key, value, reason):
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match=reason):
        update(path, key, value)
    assert path.read_bytes() == before


def test_a_missing_file(tmp_path):
    with pytest.raises(NotFound):
        NodeConfig.load(tmp_path / "none.toml")
