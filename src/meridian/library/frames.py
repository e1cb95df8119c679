"""Tables for people: Arrow always, pandas and polars where they are installed.

Numbers of atto and weights are exact decimals without a fraction; a second column with coins or shares, as floats, is there
for plots and never for money.
"""

import importlib
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa

from meridian.errors import InvalidInput, NotFound

Form: TypeAlias = Literal["arrow", "pandas", "polars"]
"""What a table is returned as."""

WHOLE: Final = pa.decimal128(38, 0)
"""Integers of up to 38 digits."""
_EXACT: Final = Context(prec=38)
_END: Final = 10**38


def in_form(table: pa.Table, form: Form) -> Any:
    """Return a table as Arrow, or as a frame of pandas or polars.

    Raises:
        InvalidInput: If the form is none of them.
        NotFound: If the package for it is not installed.
    """
    if form == "arrow":
        return table
    if form == "pandas":
        _installed(form)
        return table.to_pandas()
    if form == "polars":
        return _installed(form).from_arrow(table)
    raise InvalidInput("form", f"{form!r} is none of arrow, pandas, polars")


def _installed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise NotFound(
            f"{package} is not installed: `pip install meridian-ie[frames]`, or form='arrow'"
        ) from None


def whole(values: Iterable[int | None]) -> pa.Array:
    """Return a column of integers of up to 38 digits.

    Raises:
        InvalidInput: If one is longer.
    """
    exact: list[Decimal | None] = []
    for value in values:
        if value is not None and abs(value) >= _END:
            raise InvalidInput("weight", f"{value} has more than 38 digits")
        exact.append(None if value is None else _EXACT.create_decimal(value))
    return pa.array(exact, WHOLE)


def coins(values: Iterable[int | None]) -> pa.Array:
    """Return atto as floats of whole coins, for plots."""
    return pa.array([None if value is None else value / 10**18 for value in values], pa.float64())


def shares(values: Iterable[int | None]) -> pa.Array:
    """Return weights as floats that add up to 1, for plots; all null where no weight is above 0."""
    known = list(values)
    total = sum(value for value in known if value is not None)
    return pa.array(
        [None if value is None or not total else value / total for value in known], pa.float64()
    )


def table(columns: Mapping[str, Any]) -> pa.Table:
    """Return a table of columns."""
    return pa.table(dict(columns))
