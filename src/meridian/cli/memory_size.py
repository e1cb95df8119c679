"""Sizes of memory as options: ``512MiB``, ``2GiB``."""

import re
from typing import Any, Final

import click

from meridian.node.job_store import MEMORY_MIB_MIN

_UNITS: Final = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SIZE: Final = re.compile(r"([1-9][0-9]{0,5})\s?(MiB|GiB|TiB)")


class MemorySize(click.ParamType[int]):
    """A size in MiB, GiB or TiB; its value is MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return MiB."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a size as 512MiB or 2GiB", param, ctx)
        size = int(found[1]) * _UNITS[found[2]]
        if size < MEMORY_MIB_MIN:
            self.fail(f"{value!r} is less than {MEMORY_MIB_MIN}MiB", param, ctx)
        return size


MEMORY: Final = MemorySize()
