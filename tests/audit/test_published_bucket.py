"""`meridian publish`: a network's public files in a bucket of a real S3-protocol server, and verified from there."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_published_url import served

from audit.audit_world import EPOCHS, EVALUATORS, MEASURE, World, make_world
from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import State
from meridian.cli.main import main
from meridian.node.network_file import NetworkFile
from meridian.node.published_url import PublishedUrl, RemoteSource
from meridian.node.stores.config import ACCOUNT_VARIABLES
from node.stores.s3_server import ACCOUNT, s3_server
from node.unreachable_network import write_unreachable_network

PUBLICATIONS = (MEASURE, *EVALUATORS)


def publish(world: World, settings: Path) -> Any:
    asked = ["publish", "--data-dir", str(world.root), "--store", str(settings), "--json"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_what_is_in_a_bucket_verifies_as_the_directory_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path / "run")
    write_unreachable_network(world.root)
    network = NetworkFile.load(world.root)
    dataclasses.replace(network, publications=PUBLICATIONS).save(world.root)
    (world.root / MEASURE / "objects/.half.tmp").write_bytes(b"being written")
    settings = tmp_path / "store.toml"
    with s3_server(tmp_path) as bucket:
        settings.write_text(
            f'kind = "s3"\nendpoint = "{bucket.endpoint}"\nbucket = "{bucket.name}"\nprefix = "net/"\n'
        )
        for name, value in zip(
            ACCOUNT_VARIABLES, (ACCOUNT.access_key, ACCOUNT.secret_key), strict=True
        ):
            monkeypatch.setenv(name, value)
        first = publish(world, settings)
        again = publish(world, settings)
    assert first["url"] == f"{bucket.endpoint}/{bucket.name}/net"
    assert first["put"] == first["files"] == again["files"] > again["put"] > 0
    kept = tmp_path / "s3" / bucket.name / "net"  # nanio keeps each object as a file
    assert not list(kept.rglob("*.tmp"))
    with served(kept) as url:
        source = RemoteSource(
            PublishedUrl(url, tmp_path / "fetched"), PUBLICATIONS, world.network, world.chain
        )
        links = verify_epoch_evidence(source, EPOCHS[0])
    assert {link.state for link in links} == {State.HOLDS}
    assert links == verify_epoch_evidence(world.source, EPOCHS[0])


def test_without_an_account_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ACCOUNT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "store.toml").write_text(
        'kind = "s3"\nendpoint = "http://127.0.0.1:9"\nbucket = "b"\n'
    )
    asked = ["publish", "--data-dir", str(tmp_path), "--store", str(tmp_path / "store.toml")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2, done.output
