"""The server of signed chains as processes: a publisher's, and a consumer that listens to given owners."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from meridian.journey.processes import Child, module_command
from meridian.primitives.ids import Address, address_text

MODULE = "meridian.node.stores.announce_server"


@contextmanager
def chain_server(root: Path, publishers: Mapping[Address, str] | None = None) -> Iterator[str]:
    """Serve the chains in `root / "chains"` as long as the context lasts; yields the URL."""
    more = []
    root.mkdir(parents=True, exist_ok=True)
    if publishers is not None:
        path = root / "publishers.json"
        path.write_text(json.dumps({address_text(one): url for one, url in publishers.items()}))
        more = ["--publishers", str(path)]
    command = module_command(MODULE, "--root", str(root / "chains"), *more)
    child = Child("chains", command, root / "server.log", lambda _name, _event: None)
    try:
        yield str(child.wait_ready()["url"])
    finally:
        child.stop()
