"""Networks and their files, by name."""

from pathlib import Path

import pytest

from meridian.errors import InvalidInput, NotFound
from meridian.networks.attestation import INTERVAL_S
from meridian.networks.sources import NETWORKS, load, network_named


def test_networks_are_known_by_name() -> None:
    assert sorted(NETWORKS) == ["attestation", "nym", "saturn", "spark", "spark-chain", "worldcup"]
    for name, definition in NETWORKS.items():
        assert network_named(name) is definition
        assert definition.schema.name == definition.name == name
        assert definition.parameters.function == definition.function_parameters
    assert len({definition.schema.id for definition in NETWORKS.values()}) == len(NETWORKS)
    assert len({definition.parameters.digest for definition in NETWORKS.values()}) == len(NETWORKS)
    with pytest.raises(NotFound, match="saturn"):
        network_named("spark?")


def test_files_are_loaded_by_the_name_of_their_network(shared_dir: Path) -> None:
    log = shared_dir / "data" / "worldcup98" / "wc_day50_4.head"
    assert load("worldcup", [log]).n_epochs == 3
    assert load("worldcup", [log], epoch_seconds=5).n_epochs == 9
    rows = shared_dir / "data" / "saturn" / "sample-logs.ndjson"
    assert load("saturn", [rows]).epoch_seconds == 3_600
    for network, path in (("worldcup", log), ("saturn", rows)):
        with pytest.raises(InvalidInput, match="epoch_seconds"):
            load(network, [path], epoch_seconds=0)
    with pytest.raises(NotFound):
        load("worldcup", [log.with_name("nothing")])


def test_the_intervals_of_attestations_have_a_length_of_their_own(shared_dir: Path) -> None:
    duties = shared_dir / "data" / "rocketpool" / "performance-testnet-60.json.gz"
    assert load("attestation", [duties], epoch_seconds=INTERVAL_S).n_epochs == 1
    with pytest.raises(InvalidInput, match="epoch_seconds"):
        load("attestation", [duties], epoch_seconds=60)
