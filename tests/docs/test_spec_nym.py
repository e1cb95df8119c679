"""Page 11 says what the code does: tables of the databases, links, operations, limits."""

import inspect
import re
import sqlite3

import pytest
from markdown_pages import spans, table, tables
from spec_examples import SPEC

from meridian.nym import api_store, contract, contract_store, evidence, network, rows, stored, wire
from meridian.nym.mixnodes import READING_MAX
from meridian.nym.onchain import evidence as chain_evidence
from meridian.nym.onchain import measurements, uptime
from meridian.nym.race_rules import EPOCHS_KEPT, LABEL
from meridian.primitives import dagcbor

PAGE = (SPEC / "11-nym.md").read_text()


def columns(schema: str) -> list[tuple[str, list[str]]]:
    """(table, columns) of a schema, as SQLite reads it."""
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(schema)
        names = [n for (n,) in database.execute("SELECT name FROM sqlite_schema ORDER BY rowid")]
        return [
            (n, [c for (c,) in database.execute("SELECT name FROM pragma_table_info(?)", (n,))])
            for n in names
        ]
    finally:
        database.close()


def test_tables_of_the_databases_are_those_of_the_code():
    listed = [
        [(spans(row[0])[0], spans(row[1])) for row in found.rows]
        for found in tables(PAGE)
        if found.header[0] == "table"
    ]
    assert listed == [columns(contract_store._SCHEMA), columns(api_store._SCHEMA)]
    layout = network.NymLayout(SPEC)
    for path in (layout.contract, layout.api_store(1)):
        shown = str(path.relative_to(SPEC)).replace("/1/", "/N/")
        assert f"`{shown}`:" in PAGE


def test_links_are_those_of_the_code():
    steps = [step.name for step in evidence.QUORUM_STEPS]
    assert table(PAGE, "What is stored", "link").codes() == [*steps, stored.PRESENT]
    assert [step.name for step in evidence.RACE_STEPS] == steps
    assert {step.name for step in evidence.STANDALONE_STEPS} <= set(steps)
    on_chain = table(PAGE, "On Meridian's contracts", "link").codes()
    assert on_chain == [step.name for step in chain_evidence.STEPS]
    # What has no explanation here has one on the page that is named for it.
    general = set(
        table(
            (SPEC / "09-publication-and-proofs.md").read_text(), "The chain of evidence", "link"
        ).codes()
    )
    silent = {
        spans(row[0])[0]
        for row in table(PAGE, "On Meridian's contracts", "link").rows
        if not row[1]
    }
    assert silent <= general


def test_operations_are_those_of_the_contract():
    source = inspect.getsource(contract.ContractHttp.application)
    served = {f"{m.upper()} {p}" for m, p in re.findall(r'web\.(get|post)\("([^"]+)"', source)}
    assert set(table(PAGE, "The submission", "operation").codes()) == served


def test_statuses_are_those_of_the_contract():
    listed = {int(row[1]) for row in table(PAGE, "The submission", "check").rows}
    refusals = (
        contract.Unauthorised,
        contract.AlreadySettled,
        contract.TooEarly,
        contract.InvalidInput,
    )
    assert listed == {413, *(contract._status(kind("field", "reason")) for kind in refusals)}


def test_the_bundle_and_the_ids_are_those_of_the_code():
    bundle = dagcbor.decode(uptime.BUNDLE)
    (said,) = re.findall(r"bundle is `(.*?)`", PAGE)
    sources = bundle.pop("sources")
    assert list(sources) == ["rows.py"]
    assert said == (
        f'{{"name": "{bundle.pop("name")}", "version": {bundle.pop("version")}, '
        f'"engine": "{bundle.pop("engine")}", "sources": {{"rows.py": ...}}}}'
    )
    assert not bundle
    assert uptime.node_id(7) == "mixnode-7"


LIMITS = [
    f"there are 1 to {rows.MIXNODES_MAX:,}",
    f"at most {network.APIS_MAX}, in ascending order",
    f"chain id {network.CHAIN_ID}",
    f"an integer from 0 to {READING_MAX}.",
    f"an integer from 0 to {rows.VALUE_MAX:,}: millionths",
    f"`sum \u00d7 {rows.SCALE:,} // number`",
    f"label `{LABEL}`",
    f"more than {EPOCHS_KEPT:,} epochs before",
    f"that of `race` the number {network.MEMBER_SET}",
    f"at most {wire.BODY_BYTES_MAX:,} bytes",
    f"at most {contract_store.EPOCHS_LISTED_MAX:,} |",
    f"number of readings, at most {measurements.READINGS_MAX:,}",
]


@pytest.mark.parametrize("said", LIMITS)
def test_limits_are_those_of_the_code(said):
    assert said in PAGE
