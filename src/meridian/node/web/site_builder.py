"""The builder of a site's files, as the server uses it."""

import contextlib
import shutil
from collections.abc import Collection, Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from meridian.errors import StorageFailure
from meridian.node.web.site_keeper import Builder

ASSETS: Final = "meridian.web"


class _AssetsOnly:
    """Writes the static part once."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._done = False

    def update(self) -> Collection[int]:
        """Copy what is not there yet."""
        if not self._done:
            copy_assets(self._out)
            self._done = True
        return ()


@contextlib.contextmanager
def open_builder(_data_dir: Path, out: Path) -> Iterator[Builder]:
    """Open the builder for as long as the context lasts."""
    yield _AssetsOnly(out)


def copy_assets(out: Path) -> None:
    """Copy the built front end into a site.

    Raises:
        StorageFailure: If the disk refuses.
    """
    try:
        with resources.as_file(resources.files(ASSETS) / "assets") as assets:
            shutil.copytree(assets, out, dirs_exist_ok=True)
    except OSError as error:
        raise StorageFailure(f"{error.filename}: {error.strerror}") from error
