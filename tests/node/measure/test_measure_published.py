"""The measure service as a process with a witness and a bucket: each epoch is cosigned, and is in both places."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from measure_world import CALENDAR, Process, lines, make_config, record

from meridian.measure.signed_note import COSIGNATURE, Note, Verifier, verifier_of
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.config import WitnessAccess
from meridian.node.stores.config import StoreConfig
from meridian.node.stores.s3 import Bucket, S3Store
from node.stores.s3_server import ACCOUNT, s3_server


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with s3_server(tmp_path) as one:
        yield one


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessAccess]:
    """A witness of the log that the service will keep."""
    seed = load_or_create_secret(make_config(tmp_path / "m").log_key_file)
    command = [sys.executable, "-m", "meridian.cli.main", "witness"]
    place = ["--dir", str(tmp_path / "w")]
    vkey = verifier_of("meridian/test", seed).text
    subprocess.run(
        [*command, "init", *place, "--name", "w.example/1", "--log", vkey, "--port", "0"],
        check=True,
        capture_output=True,
    )
    process = subprocess.Popen([*command, "run", *place], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        yield WitnessAccess(url=ready["url"], vkey=ready["vkey"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


def health(process: Process) -> Any:
    with urllib.request.urlopen(f"{process.url}/healthz", timeout=10) as answer:
        return json.loads(answer.read())


def test_an_epoch_is_cosigned_and_lies_in_directory_and_bucket(
    tmp_path: Path, bucket: Bucket, witness: WitnessAccess
) -> None:
    credentials = tmp_path / "s3.key"
    credentials.write_text(f"{ACCOUNT.access_key}\n{ACCOUNT.secret_key}\n")
    credentials.chmod(0o600)
    config = make_config(
        tmp_path / "m",
        witnesses=(witness,),
        store=StoreConfig(
            kind="s3",
            endpoint=bucket.endpoint,
            bucket=bucket.name,
            prefix=bucket.prefix,
            credentials_file=credentials,
        ),
    )
    process = Process(tmp_path / "m", config)
    client = process.client()
    client.set_clock(CALENDAR.end_us(5))
    client.submit(lines(record(at) for at in range(40)))
    client.seal(5)
    client.wait_committed(5)
    assert health(process)["witnesses"] == {
        "asked": 1, "quorum": 1, "required": False, "cosigned": 1, "problems": {},
    }  # fmt: skip
    assert process.stop() == 0
    note = Note.parse((config.public_dir / "log/checkpoint").read_bytes())
    assert note.signed_by(Verifier.parse(witness.vkey, COSIGNATURE))
    public = {
        path.relative_to(config.public_dir).as_posix()
        for path in config.public_dir.rglob("*")
        if path.is_file()
    }
    store = S3Store(bucket)
    assert set(store.names()) == public
    assert {"log/checkpoint", "log/tile/0/000.p/1", "epochs/000005.json"} < public
    for digest in store.digests():
        store.get(digest)
