"""A real PostgreSQL server as a process, in a directory of its own; tests that want one take `postgres_server`.

It refuses to run as root, so there it runs as the unprivileged user `postgres` or `nobody`. It listens on the loopback
only and keeps nothing: without `fsync`, for what is tested is what our statements mean, not PostgreSQL's disk.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meridian.journey.host import free_port

USER = "meridian"
_UNPRIVILEGED = ("postgres", "nobody")


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Serve one database as long as the context lasts; yields its URL. Skips where PostgreSQL or psycopg is absent."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install meridian-ie[postgres]")
    programmes = [_programme(name) for name in ("initdb", "postgres")]
    if None in programmes:
        pytest.skip("no PostgreSQL server (initdb, postgres) is on this machine")
    initdb, postgres = map(str, programmes)
    with tempfile.TemporaryDirectory(
        prefix="meridian-postgres-", dir="/tmp"
    ) as folder:  # short: a socket lies in it
        root, user = Path(folder), _user()
        if user is not None:
            os.chown(root, user.pw_uid, user.pw_gid)
        rights = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        data, port = root / "data", free_port(0)
        made = subprocess.run(
            [initdb, "-D", data, "-U", USER, "-A", "trust", "-N", "-E", "UTF8", "--locale=C"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            **rights,
        )
        assert made.returncode == 0, made.stderr
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [postgres, "-D", data, "-p", str(port), *settings],
                cwd=root,
                stdout=log,
                stderr=subprocess.STDOUT,
                **rights,
            )
        url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        try:
            _wait(process, url, root / "log")
            yield url
        finally:
            process.terminate()  # waits until all clients are gone; ours are by now, or are cut off
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.send_signal(2)  # SIGINT: a fast shutdown
                process.wait(10)


def _programme(name: str) -> str | None:
    """Return where a programme of PostgreSQL is: on the path, or where Debian keeps it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


def _user() -> pwd.struct_passwd | None:
    """Return who runs the server; None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL refuses to run as root, and there is no unprivileged user here")


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    import psycopg

    for _ in range(400):
        if process.poll() is not None:
            pytest.fail(f"PostgreSQL has ended: {log.read_text()[-1000:]}")
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2).close()
            return
        time.sleep(0.05)
    pytest.fail("PostgreSQL does not answer")
