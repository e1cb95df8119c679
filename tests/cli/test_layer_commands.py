"""`meridian layer`: what it shows, and that what it writes is what evaluators read."""

import json
import stat
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from meridian.cli.main import main
from meridian.evaluate.layer import Layer
from meridian.evaluate.sealed_layer import SealedLayer
from meridian.evaluate.shipped_layers import layer_named, shipped_layers
from meridian.node.private_layers import load_private_layers

DEFINITION = """
name = "big"
version = 1
reasons = ["too_big"]
verdict = "bytes > $limit"
[columns]
bytes = { field = "num_bytes_sent", type = "integer" }
[parameters]
limit = { type = "integer", default = 10 }
"""


def layer(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["layer", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_shipped_layers_are_listed_and_shown() -> None:
    listed = json.loads(layer("list", "--json"))
    assert [one["name"] for one in listed] == list(shipped_layers())
    assert "bot-bytes" in layer("list")
    shown = json.loads(layer("show", "bot-requests", "--json"))
    assert shown["digest"] == layer_named("bot-requests").digest.hex()
    assert shown["parameters"]["times"] == 100
    assert "known are bot-bytes" in layer("show", "no-such-layer", code=3)


def test_a_definition_becomes_an_artefact_and_can_be_sealed(tmp_path: Path) -> None:
    definition, built = tmp_path / "big.toml", tmp_path / "big.cbor"
    definition.write_text(DEFINITION)
    assert "big version 1: baf" in layer("build", definition, "-o", built)
    assert Layer.decode(built.read_bytes()).name == "big"
    assert json.loads(layer("show", built, "--json"))["verdict"] == "bytes > $limit"
    private, public = tmp_path / "private" / "big.cbor", tmp_path / "public.cbor"
    private.parent.mkdir()
    sealing = ("seal", definition, "--private", private, "--public", public)
    layer(*sealing, "--parameters", '{"limit": 7}')
    (bundle,) = load_private_layers(private.parent).values()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert bundle.parameters == {"limit": 7}
    assert SealedLayer.decode(public.read_bytes()) == bundle.public
    assert "there already" in layer(*sealing, code=2)
    assert "sealed" in layer("show", public, code=3)
    assert "limit" in layer(*sealing, "--parameters", '{"limit": -1}', code=2)
    definition.write_text("name = ")
    layer("build", definition, "-o", built, code=2)
