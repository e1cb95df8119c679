"""Ranges of epochs as options: ``7``, ``7..9``."""

import re
from typing import Any, Final

import click

_RANGE: Final = re.compile(r"([0-9]{1,9})(?:\.\.([0-9]{1,9}))?")


class EpochRange(click.ParamType[range]):
    """Epochs from one to another, both among them."""

    name = "epochs"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        """Return the epochs."""
        if isinstance(value, range):
            return value
        found = _RANGE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not an epoch, or two of them as 7..9", param, ctx)
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return range(first, last + 1)


EPOCHS: Final = EpochRange()
