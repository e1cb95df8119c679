"""Everything that is signed as an EIP-712 struct is in the pages: the list is read off the code, so that none is forgotten."""

import importlib
import pkgutil
import re

import pytest
from markdown_pages import ROOT, spans, table, tables
from spec_examples import SPEC

import meridian
from meridian.primitives.eip712 import StructType


def found_structs() -> dict[str, StructType]:
    """All struct types that the modules of the package hold, by name."""
    found: dict[str, StructType] = {}
    for module in pkgutil.walk_packages(meridian.__path__, "meridian."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, StructType):
                assert found.setdefault(value.name, value) is value, f"two structs {value.name}"
    return found


STRUCTS = found_structs()
LISTED = {
    spans(row[0])[0]: int(re.match(r"\[(\d+)\]", row[3])[1])
    for row in table((SPEC / "01-encodings-and-tags.md").read_text(), "Signatures", "struct").rows
}
"""Struct and page."""
TYPE_ONLY = {6, 8}
"""Pages that show the type of a struct and no field table."""


def test_all_signed_structs_are_listed():
    assert LISTED.keys() == STRUCTS.keys()


def test_no_struct_hides_inside_a_function():
    """Every place where one is made is a constant of a module, which the list above is read off."""
    made = [
        (path.name, line)
        for path in sorted((ROOT / "src" / "meridian").rglob("*.py"))
        for line in path.read_text().split("\n")
        if "StructType(" in line
    ]
    assert len(made) == len(STRUCTS)
    assert all(re.match(r"[A-Z_]+(: Final)? = StructType\($", line) for _, line in made), made


@pytest.mark.parametrize("name", LISTED)
def test_a_signed_struct_has_its_fields_in_order(name):
    """By a field table, or, where a page has none, by the type as it is hashed."""
    (path,) = SPEC.glob(f"{LISTED[name]:02}-*.md")
    text, struct = path.read_text(), STRUCTS[name]
    shapes = [
        tuple((row[0], "".join(spans(row[1]))) for row in t.rows)
        for t in tables(text)
        if t.header[:2] == ("field", "type")
    ]
    if LISTED[name] in TYPE_ONLY:
        assert f"type: {struct.description}\n" in text
    else:
        assert struct.fields in shapes
