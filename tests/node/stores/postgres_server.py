"""A real PostgreSQL server in a temporary directory, over a Unix socket only.

It refuses to run as root; a test that runs as root starts it as the account ``nobody``.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_START_S = 30.0


def _unprivileged() -> dict[str, int]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid}


class PostgresServer:
    """The server; `conninfo` is how libpq reaches it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._as = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self.conninfo = f"host={root} user=meridian dbname=postgres"
        if self._as:
            os.chown(root, self._as["user"], self._as["group"])
        command = ["initdb", "--no-sync", "--no-locale", "-E", "UTF8", "-A", "trust"]
        subprocess.run(
            [*command, "-U", "meridian", "-D", str(root / "data")],
            check=True,
            capture_output=True,
            cwd=root,
            **self._as,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["postgres", "-D", str(self._root / "data"), "-k", str(self._root)]
        command += ["-c", "listen_addresses=", "-c", "shared_buffers=16MB"]
        with (self._root / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._root, **self._as
            )
        deadline = time.monotonic() + _START_S
        ready = ["pg_isready", "-q", "-h", str(self._root), "-U", "meridian"]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, (self._root / "server.log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, as a crash of the machine would."""
        assert self._process is not None
        self._process.send_signal(3)  # SIGQUIT: no clean shutdown, its log is replayed at the start
        self._process.wait(10)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Serve an empty database as long as the context lasts; skip the test where there is no server."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: the extra `postgres`")
    missing = [name for name in ("initdb", "postgres", "pg_isready") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no PostgreSQL server on this machine: {', '.join(missing)} not found")
    # The path of a socket has at most 107 bytes, and nobody must be able to reach it.
    with tempfile.TemporaryDirectory(prefix="mpg-", dir="/tmp") as root:
        server = PostgresServer(Path(root))
        server.start()
        try:
            yield server
        finally:
            server.stop()
