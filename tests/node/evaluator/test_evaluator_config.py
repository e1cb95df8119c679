"""An evaluator's configuration file: what was saved is loaded, anything else is refused by its key."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from meridian.errors import InvalidInput, NotFound
from meridian.node.evaluator.config import EvaluatorConfig

CONFIG = EvaluatorConfig(
    network_dir=Path("/net"),
    data_dir=Path("/net/evaluators/1"),
    key_file=Path("/keys/one.key"),
    link_key_file=Path("/keys/link.key"),
    listen_port=9000,
)


def written(root: Path, **change: Any) -> Path:
    path = root / "config.toml"
    CONFIG.save(path)
    value = tomllib.loads(path.read_text()) | change
    path.write_text(tomlkit.dumps({name: item for name, item in value.items() if item != "gone"}))
    return path


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.toml"
    CONFIG.save(path)
    assert EvaluatorConfig.load(path) == CONFIG


def test_relative_paths_start_where_the_file_is(tmp_path: Path) -> None:
    path = written(tmp_path, data_dir="mine", key_file="../one.key")
    config = EvaluatorConfig.load(path)
    assert config.data_dir == tmp_path / "mine"
    assert config.key_file == tmp_path / "../one.key"


def test_pauses_and_host_have_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, poll_ms="gone", stage_ms="gone", listen_host="gone")
    assert EvaluatorConfig.load(path) == CONFIG


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("data_dir", 5),
        ("key_file", ["a"]),
        ("network_dir", "gone"),
        ("listen_port", "gone"),
        ("listen_port", "9000"),
        ("listen_port", 0),
        ("listen_port", 65_536),
        ("listen_port", True),
        ("listen_host", 127),
        ("poll_ms", 0),
        ("poll_ms", -1),
        ("poll_ms", 0.5),
        ("stage_ms", -3000),
        ("stage_ms", 10**9),
        ("colour", "blue"),
    ],
)
def test_a_wrong_missing_or_unknown_key_is_refused_by_its_name(
    tmp_path: Path, name: str, wrong: object
) -> None:
    path = written(tmp_path, **{name: wrong})
    with pytest.raises(InvalidInput, match=name) as refusal:
        EvaluatorConfig.load(path)
    assert refusal.value.field == str(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'data_dir = "\xff"', b"7"])
def test_a_file_that_is_no_such_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as refusal:
        EvaluatorConfig.load(path)
    assert refusal.value.field == str(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        EvaluatorConfig.load(tmp_path / "nowhere.toml")
