"""Configuration files: comments, suggestions, lines, and every configuration that there is."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from meridian.errors import InvalidInput
from meridian.node import config_file
from meridian.node.config_keys import MISSING, keys_of
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.measure.config import ChainAccess, MeasureConfig, WitnessAccess
from meridian.node.stores.config import StoreConfig
from meridian.node.witness.config import WitnessConfig, WitnessedLog

MEASURE = MeasureConfig(
    network="bazaar",
    schema_file=Path("/n/schema.cbor"),
    artefact_files=(Path("/n/a"), Path("/n/b")),
    data_dir=Path("/n"),
    key_file=Path("/k/aggregator"),
    log_key_file=Path("/k/log"),
    secret_file=Path("/k/secret"),
    gateway_token_file=Path("/k/gateway"),
    admin_token_file=Path("/k/admin"),
    witnesses=(WitnessAccess(url="https://w", vkey="v"), WitnessAccess(url="https://x", vkey="u")),
    store=StoreConfig(kind="car", file=Path("/n/x.car")),
    chain_id=314,
    commitments="0x" + "11" * 20,
    chain=ChainAccess(
        rpc_url="http://c", registry="a", evaluations="b", rewards="c", deploy_block=7
    ),
    genesis_s=5,
    epoch_seconds=60,
    first_epoch=1,
    listen_port=0,
)
LINES = """\
network_dir = "."
data_dir = "."
key_file = "k"  # mine
link_key_file = "l"

listen_port = 9000
"""


def explained(text: str, kind: type[msgspec.Struct] = EvaluatorConfig) -> str:
    with pytest.raises(InvalidInput) as refusal:
        config_file.parse(text, kind, Path("x.toml"))
    assert refusal.value.field == "x.toml"
    return refusal.value.reason


@pytest.mark.parametrize(
    "config",
    [
        MEASURE,
        msgspec.structs.replace(MEASURE, chain=None, nodes_file=Path("/nodes"), witnesses=()),
        WitnessConfig(name="w.example", logs=(WitnessedLog(keys=("a", "b"), origin="o"),)),
    ],
)
def test_every_configuration_survives_its_file(config: msgspec.Struct, tmp_path: Path) -> None:
    config_file.save(tmp_path / "c.toml", config)
    assert config_file.load(tmp_path / "c.toml", type(config)) == config


def test_every_key_is_in_the_file_with_its_comment() -> None:
    text = config_file.render(EvaluatorConfig, {"listen_port": 9000, **dict.fromkeys(
        ("network_dir", "data_dir", "key_file", "link_key_file"), "here")})  # fmt: skip
    for key in keys_of(EvaluatorConfig):
        if key.table is None:
            assert f"# {key.description} [{key.kind}]\n" in text
            assert f"{key.name} = " in text
        else:
            assert re.search(f"# {re.escape(key.description)}\n(# )?\\[{key.name}]\n", text)
    chosen = {name: value for name, value in tomllib.loads(text).items() if value != {}}
    assert set(chosen) == {k.name for k in keys_of(EvaluatorConfig) if k.default is MISSING}


def test_what_is_commented_out_can_be_uncommented() -> None:
    values = msgspec.to_builtins(MEASURE, enc_hook=str)
    text = config_file.render(MeasureConfig, values)
    lines = re.sub(r"^# \[.*?(?=^\[|\Z)", "", text, flags=re.DOTALL | re.MULTILINE).split("\n")
    plain = [
        line.removeprefix("# ") if " = " in line and not line.endswith("= ") else line
        for line in lines
    ]
    open_ = [line for line in plain if not line.startswith("# ")]
    assert config_file.parse("\n".join(open_), MeasureConfig, Path("/x")) == MEASURE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            ("listen_port", "listen_prot"),
            "line 6: unknown key listen_prot; did you mean listen_port?",
        ),
        (("9000", '"9000"'), "line 6: listen_port = '9000': expected `int`, got `str`"),
        (("9000", "0"), "line 6: listen_port = 0: expected `int` >= 1"),
        (('data_dir = "."\n', ""), "data_dir is missing: The evaluator's own directory"),
        (("= 9000", "= "), "is no TOML: Invalid value (at line 6, column 15)"),
    ],
)
def test_a_wrong_key_is_named_with_its_line_and_the_reason(
    change: tuple[str, str], reason: str
) -> None:
    assert explained(LINES.replace(*change)).startswith(reason)


def test_wrong_keys_of_tables_are_found_there() -> None:
    good = config_file.render(MeasureConfig, msgspec.to_builtins(MEASURE, enc_hook=str))
    at = good.split("\n")
    line = at.index("deploy_block = 7") + 1
    assert explained(good.replace("deploy_block = 7", "deploy_blok = 7"), MeasureConfig) == (
        f"line {line}: unknown key chain.deploy_blok; did you mean deploy_block?"
    )
    line = at.index('url = "https://x"') + 1
    assert explained(good.replace('"https://x"', "5"), MeasureConfig) == (
        f"line {line}: witnesses[1].url = 5: expected `str`, got `int`"
    )
    wrong = good.replace('network = "bazaar"', 'network = "bazaar"\nbucket = "b"')
    assert explained(wrong, MeasureConfig).endswith("unknown key bucket; it belongs to [store]")
    line = at.index('kind = "car"') + 1
    assert explained(good.replace('"car"', '"cart"'), MeasureConfig).startswith(
        f"line {line}: store.kind = 'cart': invalid"
    )


def test_rules_of_the_declaration_itself_name_the_key_and_its_line() -> None:
    good = config_file.render(MeasureConfig, msgspec.to_builtins(MEASURE, enc_hook=str))
    line = good.split("\n").index("# seal_memory_mib = 2048") + 1
    wrong = good.replace("# seal_memory_mib = 2048", "seal_memory_mib = 5")
    assert explained(wrong, MeasureConfig) == f"line {line}: seal_memory_mib: at least 768"


def test_json_is_refused_with_the_reason() -> None:
    assert "configurations are TOML" in explained('{"listen_port": 9000}')


def test_a_file_without_what_is_needed_is_not_written() -> None:
    with pytest.raises(InvalidInput, match="listen_port: is needed"):
        config_file.render(EvaluatorConfig, dict.fromkeys(
            ("network_dir", "data_dir", "key_file", "link_key_file"), "here"))  # fmt: skip


@pytest.mark.parametrize("kind", [MeasureConfig, EvaluatorConfig, WitnessConfig])
def test_every_key_says_what_it_is_for(kind: type) -> None:
    def below(kind: type) -> list[str]:
        tables = [key.table for key in keys_of(kind) if key.table is not None]
        own = [f"{kind.__name__}.{key.name}" for key in keys_of(kind) if not key.description]
        return [*own, *(name for table in tables for name in below(table))]

    assert below(kind) == []
