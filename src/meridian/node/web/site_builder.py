"""The builder of a site's files, as the server uses it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from meridian.node.explorer.site_builder import SiteBuilder
from meridian.node.web.site_keeper import Builder


@contextlib.contextmanager
def open_builder(data_dir: Path, out: Path) -> Iterator[Builder]:
    """Open the builder for as long as the context lasts.

    Raises:
        NotFound: If there is no network in the data directory.
    """
    with contextlib.closing(SiteBuilder(data_dir, out)) as builder:
        yield builder
