"""An S3-protocol server as a process: nanio, which keeps buckets on the disk and checks Signature Version 4.

It is a small server of its own, not Amazon's, MinIO or Ceph: what it has in common with them is the protocol. It does not
compare the body with its signed hash, as those do, and every object of a bucket is a file.
"""

import contextlib
import http.client
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meridian.journey.host import free_port
from meridian.node.stores.s3 import Bucket
from meridian.node.stores.sigv4 import Credentials

ACCOUNT = Credentials("AKIAEXAMPLE", "a secret of forty letters or so", "us-east-1")
BUCKET = "artefacts"


@contextlib.contextmanager
def s3_server(root: Path) -> Iterator[Bucket]:
    """Serve one empty bucket as long as the context lasts."""
    if importlib.util.find_spec("nanio") is None:
        pytest.skip("nanio is not installed: pip install -r requirements/dev.txt")
    port = free_port(0)
    (root / "s3" / BUCKET).mkdir(parents=True)
    command = [sys.executable, "-m", "nanio", "serve", "--data-dir", str(root / "s3")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    keys = {
        "NANIO_ACCESS_KEY": ACCOUNT.access_key,
        "NANIO_SECRET_KEY": ACCOUNT.secret_key,
    }
    with (root / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | keys, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, port)
        yield Bucket(f"http://127.0.0.1:{port}", BUCKET, "meridian/", ACCOUNT, timeout_s=10)
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(400):
        if process.poll() is not None:
            pytest.fail("the S3 server has ended")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/")
            connection.getresponse()
            return
        time.sleep(0.05)
    pytest.fail("the S3 server does not answer")
