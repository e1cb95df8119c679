"""Page 8 says what the contracts are: functions, events, constructors and reasons, from the artefacts and sources."""

import re

import pytest
from markdown_pages import ROOT, spans, table, tables

from meridian.contracts import calldata
from meridian.contracts.artefact import ALONE, JUDGES, NAMES, load
from meridian.primitives.quorum import quorum

TEXT = (ROOT / "docs" / "spec" / "08-contracts.md").read_text()
SOURCES = {path.stem: path.read_text() for path in (ROOT / "contracts").glob("*.vy")}
MODULES = {
    "Registry": ("Registry",),
    "Commitments": ("Commitments",),
    "Evaluations": ("Evaluations",),
    "Rewards": ("Rewards", "sum_tree"),
    "Disputes": ("Disputes",),
    "CommitmentProofs": ("CommitmentProofs", "trees"),
    "ReportProofs": ("ReportProofs",),
    "Referees": ("Referees",),
}
# Spark's variant has one function more, which the page says in a sentence.
DESCRIBED = tuple(name for name in ALONE if name != "SparkImpactEvaluator")


def kind(entry):
    if not entry["type"].startswith("tuple"):
        return entry["type"]
    return f"({','.join(map(kind, entry['components']))}){entry['type'].removeprefix('tuple')}"


def entries(contract, what):
    return [entry for entry in load(contract).abi if entry["type"] == what]


@pytest.mark.parametrize("contract", NAMES + JUDGES + DESCRIBED)
def test_functions_are_those_of_the_artefact(contract):
    listed = {spans(row[0])[0]: row[1] for row in table(TEXT, contract, "function").rows}
    assert listed == {
        f"{e['name']}({','.join(map(kind, e['inputs']))})": e["stateMutability"]
        for e in entries(contract, "function")
    }


@pytest.mark.parametrize("contract", NAMES + JUDGES + DESCRIBED)
def test_events_are_those_of_the_artefact(contract):
    listed = table(TEXT, contract, "event").codes()
    described = {
        f"{e['name']}("
        + ", ".join(
            f"{kind(i)} {'indexed ' if i['indexed'] else ''}{i['name']}" for i in e["inputs"]
        )
        + ")"
        for e in entries(contract, "event")
    }
    assert {code for code in listed if "(" in code} == described


@pytest.mark.parametrize("contract", NAMES + JUDGES)
def test_constructors_are_those_of_the_artefact(contract):
    listed = {row[0]: spans(row[1])[0] for row in table(TEXT, "Deployment", "contract").rows}
    (constructor,) = entries(contract, "constructor")
    said = ", ".join(f"{i['name'].removesuffix('_')} {kind(i)}" for i in constructor["inputs"])
    assert listed[contract] == said


@pytest.mark.parametrize("contract", NAMES + JUDGES)
def test_reasons_are_those_of_the_sources(contract):
    listed = table(TEXT, contract, "reason").codes()
    used = set()
    for module in MODULES[contract]:
        code = re.sub(r'""".*?"""', "", SOURCES[module], flags=re.DOTALL)
        used |= set(re.findall(r'"([a-z ]+: [a-z ]+)"', code))
    assert len(set(listed)) == len(listed)
    assert set(listed) == used


def texts(module):
    """All of a source's strings that are not docstrings."""
    code = re.sub(r'""".*?"""', "", SOURCES[module], flags=re.DOTALL)
    return set(re.findall(r'assert [^"]*?"([^"]+)"', code))


@pytest.mark.parametrize(
    ("contract", "modules"),
    [
        ("ImpactEvaluator", ("ImpactEvaluator", "impact_rounds")),
        ("Naive", ("Naive", "job_sums")),
        ("Subnet", ("Subnet", "job_sums", "quorums")),
        ("SubnetGateway", ("SubnetGateway", "quorums", "sum_tree")),
        ("Locations", ("Locations", "sum_tree")),
    ],
)
def test_reasons_of_contracts_that_stand_alone_are_those_of_the_sources(contract, modules):
    used = set().union(*map(texts, modules))
    assert set(table(TEXT, contract, "reason").codes()) == used


def test_reasons_of_the_earlier_contract_are_reached_by_tests():
    tests = ROOT / "tests" / "contracts"
    reached = "".join(path.read_text() for path in tests.glob("test_impact_*.py"))
    used = texts("impact_rounds") | texts("ImpactEvaluator") | texts("SparkImpactEvaluator")
    assert {reason for reason in used if f'"{reason}' not in reached} == set()


def test_limits_are_those_of_the_sources():
    def constant(module, name):
        (value,) = re.findall(
            rf"^{name}: constant\(u?int\d+\) = (\S+)$", SOURCES[module], re.MULTILINE
        )
        return int(eval(value))  # "128" or "2**16", from our own sources

    assert constant("Rewards", "EPOCHS_AHEAD_MAX") == 2**16
    sentence = (
        f"Limits: {constant('Commitments', 'AGGREGATORS_MAX')} aggregators, {constant('Registry', 'MEMBERS_MAX')} members, "
        f"{constant('Registry', 'NODES_PER_CALL')} node registrations, {constant('Rewards', 'CLAIMS_PER_CALL')} claims and "
        f"{constant('Rewards', 'EPOCHS_PER_CALL')} settled epochs in one call, "
        f"{constant('Registry', 'EPOCHS_PER_CALL')} epochs opened in one call"
    )
    assert sentence in TEXT
    assert constant("Registry", "NODES_PER_CALL") == calldata.NODES_PER_CALL
    assert constant("Rewards", "CLAIMS_PER_CALL") == calldata.CLAIMS_PER_CALL
    assert constant("sum_tree", "DEPTH_MAX") == calldata.PATH_MAX
    assert constant("Registry", "ENDPOINT_MAX") == calldata.ENDPOINT_BYTES_MAX


def test_the_quorum_of_the_contract_is_that_of_the_glossary():
    assert "(n + (n - 1) // 3) // 2 + 1" in SOURCES["Evaluations"]
    assert all(quorum(n) == (n + (n - 1) // 3) // 2 + 1 for n in range(1, 129))


def test_every_table_has_its_rows():
    assert all(found.rows for found in tables(TEXT))
