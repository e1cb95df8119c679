"""The pages of docs/spec say what the code does: examples, field tables, tables of names, limits."""

import dataclasses
import importlib
import inspect
import re

import pytest
from markdown_pages import ROOT, fenced, spans, table, tables
from spec_examples import BLOCK, PAGES, SPEC, blocks, examples, refreshed, rendered
from spec_layout import Cbor, Json, Layout, Values, layout
from spec_world import MANIFEST, PARAMETERS, SCHEMA

from meridian import verifier
from meridian.audit import evidence
from meridian.contracts import deployment
from meridian.ephemera import journal, limits
from meridian.ephemera.broadcast import broadcaster, seat, serving, slot
from meridian.ephemera.broadcast import frame as broadcast_frame
from meridian.ephemera.closed import REQUEST_COST_BYTES
from meridian.ephemera.context import VIEW_MAX, Kind
from meridian.ephemera.evidence_file import EVIDENCE_FILE_BYTES_MAX
from meridian.ephemera.frame import EVIDENCE_BYTES_MAX
from meridian.ephemera.messages import (
    block,
    block_channel,
    member_set,
    message,
    settings,
    store_channel,
)
from meridian.evaluate import aggregate, function, inputs, parameters, row
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.registry import FUNCTIONS
from meridian.measure import (
    admission,
    columns,
    explain,
    ipc_limits,
    manifest,
    parquet_limits,
    record,
    schema,
    signed_note,
)
from meridian.node import link_connection, link_frames, network_file
from meridian.node.ephemera import address_hints
from meridian.node.link_peers import PEERS_MAX
from meridian.node.measure import bodies, grouping, jobs_route, openapi
from meridian.primitives import dagcbor, eip712, hashing
from meridian.primitives.sumtree import LaneKind
from meridian.reward.allocation import ALLOCATIONS
from meridian.reward.claims import CLAIMS_MAX

REPEATED = "n \u00d7 "
REFRESH = "run .venv/bin/python tests/docs/spec_examples.py --write"


def page(number: int) -> str:
    (path,) = SPEC.glob(f"{number:02}-*.md")
    return path.read_text()


# -------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("name", PAGES)
def test_every_example_is_what_the_code_computes(name):
    text = (SPEC / name).read_text()
    shown = blocks(text)
    assert shown.keys() == examples(name).keys(), "examples that are not shown, or not computed"
    for example, text_shown in shown.items():
        assert text_shown == rendered(examples(name)[example]), f"{name}: {example}: {REFRESH}"
    assert refreshed(name, text) == text


def test_every_page_is_listed_and_nothing_else_lies_there():
    listed = table((SPEC / "README.md").read_text(), "Formats", "page")
    names = {re.search(r"\((.+)\)", row[0])[1] for row in listed.rows}
    assert names == PAGES.keys()
    assert {path.name for path in SPEC.iterdir()} == {"README.md", *PAGES}


def test_a_page_that_lies_is_found():
    """A changed digit is put right by a refresh, so the comparison above sees it."""
    text = page(2)
    wrong = text.replace("leaf hash: ", "leaf hash: 0", 1)
    assert wrong != text
    assert refreshed("02-jobs-and-records.md", wrong) == text


def test_a_layout_refuses_fields_that_are_not_the_bytes():
    with pytest.raises(AssertionError):
        layout(b"\x00\x01", ("a", "u16", 2))
    with pytest.raises(AssertionError):
        layout(b"\x00\x01", ("a", "bytes3", b"\x00\x01"))


def test_all_kinds_of_examples_are_used():
    kinds = {type(item) for name in PAGES for item in examples(name).values()}
    assert kinds == {Layout, Values, Json, Cbor}


# ---------------------------------------------------------------------------------- field tables


def field_tables():
    """(page, example) of every layout that has a field table before it."""
    found = []
    for name in PAGES:
        text, behind = (SPEC / name).read_text(), 0
        known = [t for t in tables(text) if t.header[:2] == ("field", "type")]
        for match in BLOCK.finditer(text):
            before = [t for t in known if behind <= t.start < match.start()]
            behind = match.end()
            if before and isinstance(examples(name)[match["name"]], Layout):
                found.append(pytest.param(name, match["name"], before[-1], id=match["name"]))
    return found


FIELD_TABLES = field_tables()


@pytest.mark.parametrize(("name", "example", "fields"), FIELD_TABLES)
def test_a_field_table_has_the_fields_of_its_example(name, example, fields):
    parts = [(field, kind) for field, kind, _ in examples(name)[example].parts]
    for place, row_ in enumerate(fields.rows):
        kind = "".join(spans(row_[1]))
        if row_[1].startswith(REPEATED):
            assert [k for _, k in parts[place:]].count(kind), f"{row_[0]} repeats {kind}"
            continue
        assert parts[place] == (row_[0], kind)
    if not any(row_[1].startswith(REPEATED) for row_ in fields.rows):
        assert len(fields.rows) == len(parts)


def test_the_field_tables_are_found():
    names = {parameter.id for parameter in FIELD_TABLES}
    assert {
        "job-row",
        "node-row",
        "committed-root",
        "row-body",
        "frame-echo",
        "claim-leaf",
    } <= names
    assert len(FIELD_TABLES) >= 16


def test_the_domain_has_its_values():
    domain = eip712.Domain(1, b"\x00" * 20)
    values = {
        row_[0]: "".join(spans(row_[2])) for row_ in table(page(1), "Signatures", "field").rows
    }
    assert (values["name"], values["version"]) == (domain.name, domain.version)


# ---------------------------------------------------------------------------------------- names


WIDTHS = {"DIGEST_BYTES", "TYPE_CHECKING"}


def test_the_tag_table_is_the_table_of_the_code():
    tags = {
        name: value
        for name, value in vars(hashing).items()
        if name.isupper() and isinstance(value, int) and name not in WIDTHS and name[0] != "_"
    }
    listed = {row_[1]: int(spans(row_[0])[0], 16) for row_ in table(page(1), "Tags", "tag").rows}
    assert listed == tags
    assert len(set(tags.values())) == len(tags)


def test_message_kinds_and_link_kinds_are_those_of_the_code():
    kinds = {row_[0]: int(row_[1]) for row_ in table(page(6), "Statements", "kind").rows}
    assert kinds == {kind.name: kind.value for kind in Kind}
    linked = {row_[0]: int(row_[1]) for row_ in table(page(6), "Links", "kind").rows}
    assert linked == {kind.name: kind.value for kind in link_frames.Kind}
    frames = {
        name.removeprefix("frame-")
        for name in examples("06-ephemera.md")
        if name.startswith("frame-")
    }
    assert {kind.name.lower().replace("_", "-") for kind in Kind} <= frames


def test_reasons_of_refusal_are_those_of_the_code():
    listed = table(page(2), "Refusals", "reason").codes()
    assert len(set(listed)) == len(listed)
    documented = [
        word
        for line in explain.__doc__.split("\n")
        if line.startswith("    ")
        for word in line.split("(")[0].split()
    ]
    assert sorted(listed) == sorted(documented)
    sources = "".join(inspect.getsource(module) for module in (explain, record, admission))
    assert [reason for reason in listed if f'"{reason}"' not in sources] == []


def test_schema_kinds_spellings_and_reserved_names():
    spellings = {
        spans(row_[0])[0]: tuple(spans(row_[1]))
        for row_ in table(page(2), "The schema", "kind", "accepted spellings").rows
    }
    assert spellings == {kind.value: kind.spellings for kind in schema.FieldKind}
    (sentence,) = re.findall(r"A field MUST NOT be called (.*?):", page(2))
    assert set(spans(sentence)) == schema.RESERVED_COLUMNS
    document = dagcbor.decode(SCHEMA.encode())
    assert table(page(2), "The schema", "key", "meaning").codes() != []
    assert set(table(page(2), "The schema", "key", "meaning").codes()) >= document.keys()
    keys = table(page(2), "The schema", "key of a field").codes()
    assert set(keys) >= document["evaluation_fields"][0].keys()
    assert {kind.value for kind in LaneKind} == {"pair_u64", "u128"}


def first_codes(number: int, heading: str, header: str) -> set[str]:
    return set(table(page(number), heading, header).codes())


def test_keys_of_artefacts():
    assert first_codes(3, "The manifest", "key") == manifest._keys(2)
    assert dagcbor.decode(MANIFEST.encode()).keys() == manifest._KEYS
    named = dagcbor.decode(PARAMETERS.encode()).keys() | parameters._OPTIONAL
    assert first_codes(5, "Parameters", "key") == named
    bundle = dagcbor.decode(FUNCTIONS["count"].bundle)
    assert first_codes(5, "Functions", "key") == bundle.keys()
    own = {*Bundle.__dataclass_fields__, "verdict", "weight", "totals", "source"} - {"code"}
    assert first_codes(5, "Own functions", "key") == own - {"name", "version"}
    outcome = dagcbor.decode(examples("07-report-and-claims.md")["outcome"].data)
    assert first_codes(7, "The outcome artefact", "key") == outcome.keys() | {"union"}
    described = next(
        r for r in table(page(7), "The outcome artefact", "key").rows if "`report`" in r[0]
    )
    assert set(spans(described[1])) == outcome["report"].keys()


def test_columns_of_segments():
    listed = table(page(3), "Segments", "column").rows
    fixed = [(spans(row_[0])[0], row_[1]) for row_ in listed[:-1]]
    own = columns.segment_columns(SCHEMA)
    assert fixed == [(f.name, str(f.type)) for f in own][: -len(SCHEMA.fields)]
    for kind in schema.FieldKind:
        assert re.search(rf"{kind.value}[^;]*: {columns._FIELD_TYPES[kind]}", listed[-1][1])


def test_keys_of_the_network_file():
    source = inspect.getsource(network_file.NetworkFile.save)
    written = set(re.findall(r'"(\w+)":', source))
    written |= {field.name for field in dataclasses.fields(deployment.Addresses)}
    assert {
        code
        for row_ in table(page(9), "The network file", "key").rows
        for cell in row_
        for code in spans(cell)
    } == written


def test_keys_of_proof_files():
    shown = examples("09-publication-and-proofs.md")
    kinds_ = table(page(9), "Proof files", "kind").codes()
    assert kinds_ == list(verifier.KINDS)
    written = {name: set(shown[f"proof-{name.replace('_', '-')}"].value) for name in kinds_}
    keys: dict[str, set[str]] = {name: set() for name in kinds_}
    for row_ in table(page(9), "Proof files", "key").rows:
        parts = row_[1].split("; ")
        for place, code in enumerate(spans(row_[0])):
            kinds = parts[place] if len(parts) > 1 else parts[0]
            for kind in kinds_ if kinds == "all" else kinds.split(", "):
                keys[kind].add(code)
    assert keys == written


def test_links_of_the_evidence():
    assert tuple(table(page(9), "The chain of evidence", "link").codes()) == evidence.LINKS
    said = set(re.findall(r"\*(holds|broken|sealed|unchecked)\*", page(9)))
    assert said == {state.value for state in evidence.State}


def test_functions_averages_and_allocations():
    listed = {
        spans(row_[0])[0]: tuple(spans(row_[1]))
        for row_ in table(page(5), "Functions", "function").rows
    }
    modules = {
        name: importlib.import_module(f"meridian.evaluate.functions.{name.replace('-', '_')}")
        for name in FUNCTIONS
    }
    assert listed == {name: module.REASONS for name, module in modules.items()}
    saturn = modules["saturn"]
    parameters = {*saturn._DEFAULTS, *saturn._QUANTILES, saturn._NULL_IS_MISS, saturn._FLAGGED}
    parameters |= {saturn.HEALTH_CHECKS}
    (sentence,) = re.findall(r"^- `saturn`: (.*)$", page(5), re.MULTILINE)
    assert set(spans(sentence)[1:]) == parameters
    assert set(table(page(5), "Averages", "rule").codes()) == aggregate.AGGREGATES.keys()
    assert set(table(page(5), "Amounts", "rule").codes()) == ALLOCATIONS.keys()
    said = " ".join(cell for row_ in table(page(5), "Parameters", "key").rows for cell in row_)
    assert aggregate.AGGREGATES.keys() | ALLOCATIONS.keys() <= set(spans(said))


def test_kinds_of_durable_records():
    source = inspect.getsource(journal._read)
    assert set(table(page(6), "Durable records", "kind").codes()) == set(
        re.findall(r'case "(\w+)"', source)
    )


def test_kinds_and_channels_of_the_broadcast_are_those_of_the_code():
    kinds = {row_[0]: int(row_[1]) for row_ in table(page(10), "Frames", "kind").rows}
    assert kinds == {kind.name: kind.value for kind in slot.Kind}
    shown = examples("10-broadcast-and-blocks.md").keys()
    assert {f"broadcast-{kind.name.lower()}" for kind in slot.Kind} <= shown
    channels = {
        row_[0]: int(row_[1]) for row_ in table(page(10), "Member sets and slots", "channel").rows
    }
    assert channels == {"blocks": block.BLOCK_CHANNEL, "store": store_channel.STORE_CHANNEL}


def test_kinds_of_records_of_the_broadcast():
    source = "".join(map(inspect.getsource, (broadcaster, seat, member_set)))
    written = set(re.findall(r'persist\(\s*"(\w+)"', source))
    assert len(re.findall(r"persist\(kind", source)) == 1, "one place: ECHO and VOTE"
    ballots = {slot.Kind.ECHO.name.lower(), slot.Kind.VOTE.name.lower()}
    assert set(table(page(10), "What is durable", "kind").codes()) == written | ballots


def test_limits_of_the_broadcast_are_those_of_the_code():
    modules = (broadcast_frame, message, block, store_channel, serving, broadcaster, member_set)
    rows = table(page(10), "Limits", "limit").rows
    assert len(rows) >= 15
    for row_ in rows:
        (name,) = spans(row_[0])
        found = {vars(module)[name] for module in modules if name in vars(module)}
        assert found == {int(row_[1].replace(",", ""))}, name


def test_settings_of_the_broadcast_are_those_of_the_code():
    listed = {spans(row_[0])[0]: row_[1] for row_ in table(page(10), "Limits", "setting").rows}
    defaults = {}
    for item in (settings.BlockSettings(), settings.MempoolLimits()):
        for field in dataclasses.fields(item):
            if field.name not in {"clients", "mempool"}:
                value = getattr(item, field.name)
                defaults[field.name] = "yes" if value is True else f"{value:,}"
    assert listed == defaults


def test_http_interface_is_the_described_one():
    described = {}
    for path, operations in openapi.document()["paths"].items():
        for method, operation in operations.items():
            described[f"{method.upper()} {path}"] = (
                set(operation["responses"]),
                "security" in operation,
            )
    listed = {
        spans(row_[0])[0]: (set((row_[2] + " " + row_[3]).split()), row_[1] != "")
        for row_ in table(page(4), "HTTP", "method and path").rows
    }
    assert listed == described
    answer = set(
        re.findall(r'^            "(\w+)":', inspect.getsource(grouping._response), re.MULTILINE)
    )
    shown = {row_[0].strip("`") for row_ in table(page(4), "A batch", "key of the answer").rows}
    assert shown == answer


def test_the_forms_of_a_body_are_those_of_the_code():
    listed = {
        name for row_ in table(page(2), "Bodies", "content type").rows for name in spans(row_[0])
    }
    assert listed == bodies.CONTENT_TYPES.keys()


# --------------------------------------------------------------------------------------- limits

LIMITS = [
    (
        2,
        f"at most {explain.RECORD_BYTES_MAX:,} bytes; a batch holds at most {record.RECORDS_MAX:,} records",
    ),
    (2, f"text of 1 to {columns.ID_BYTES_MAX} bytes"),
    (
        2,
        f"at most {bodies.SENT_BYTES_MAX >> 20} MiB as it is sent and {record.BODY_BYTES_MAX >> 20} MiB decompressed",
    ),
    (2, f"a window of more than {bodies.WINDOW_BYTES_MAX >> 20} MiB"),
    (
        2,
        f"at most {ipc_limits.MESSAGES_MAX:,} messages of at most {ipc_limits.METADATA_BYTES_MAX >> 10} KiB",
    ),
    (
        2,
        f"at most {parquet_limits.ROW_GROUPS_MAX} row groups, {parquet_limits.PAGES_MAX:,} pages",
    ),
    (
        2,
        f"a footer of {parquet_limits.FOOTER_BYTES_MAX >> 10} KiB",
    ),
    (2, f"at most {schema.FIELDS_MAX} fields and at most {schema.PACKED_BYTES_MAX} packed bytes"),
    (2, f"1 to {schema.NAME_BYTES_MAX} bytes; unique"),
    (2, f"0 to {schema.SCALE_MAX}; the column"),
    (2, f"1 to {schema.STRING_BYTES_MAX}"),
    (3, f"at most {columns.SEGMENT_ROWS_MAX:,} rows and {columns.SEGMENT_BYTES_MAX >> 30} GiB"),
    (3, f"At most {manifest.NODES_MAX:,} nodes"),
    (3, f"at most {manifest.SEGMENTS_MAX}, in order"),
    (3, f"at most {manifest.INPUTS_MAX}, sorted by name"),
    (3, f"at most {signed_note.SIGNATURES_MAX} in all"),
    (4, f"at most {bodies.SENT_BYTES_MAX >> 20} MiB and {record.RECORDS_MAX:,} records"),
    (4, f"at most {record.BODY_BYTES_MAX >> 20} MiB when it is unpacked"),
    (
        4,
        f"within {jobs_route.BODY_WAIT_S:.0f} s and the time that it needs at {jobs_route.BODY_BYTES_PER_S >> 10} KiB/s",
    ),
    (4, f"have at most {manifest.INPUT_NAME_BYTES_MAX} bytes"),
    (5, f"at most {inputs.INPUTS_MAX}, with names of 1 to {inputs.NAME_BYTES_MAX} bytes"),
    (5, f"number of nodes, at most 2^{row.NODES_MAX.bit_length() - 1}"),
    (6, f"at most {limits.MEMBERS_MAX}."),
    (6, f"No frame is longer than {limits.FRAME_BYTES_MAX:,} bytes"),
    (6, f"comes along has at most {limits.PUSHED_BODY_BYTES_MAX:,} bytes"),
    (6, f"a piece of at most {limits.PIECE_BYTES_MAX:,} bytes"),
    (6, f"at most {EVIDENCE_BYTES_MAX} bytes"),
    (6, f"A file is at most {EVIDENCE_FILE_BYTES_MAX:,} bytes"),
    (6, f"the newest {limits.Limits().closed_epochs_max:,} that it closed"),
    (6, f"{limits.Limits().closed_bytes_per_s_max >> 20} MiB per second"),
    (6, f"costs {REQUEST_COST_BYTES >> 10} KiB"),
    (6, f"at most {PEERS_MAX} others"),
    (6, f"A view is at most 2^32 - {(1 << 32) - VIEW_MAX}"),
    (6, f"a piece of at most {link_frames.CHUNK_BYTES:,} bytes"),
    (6, f"A message is at most {link_connection.LinkLimits().frame_max_bytes >> 20} MiB"),
    (10, f"at most {broadcast_frame.PAYLOAD_BYTES_MAX >> 20} MiB"),
    (10, f"at most {broadcast_frame.CHANNELS_MAX} \u00d7 n entries"),
    (10, f"at most {serving.CERTIFICATES_MAX} for one FRONTIER"),
    (10, f"up to {broadcaster.BACKOFF_MAX} times"),
    (10, f"at most {member_set.TOLD_MAX} times"),
    (10, f"the next {block_channel.BlockChannel.sends_ahead_max} of its sender (blocks)"),
    (10, f"the next {store_channel.StoreChannel.sends_ahead_max} (store)"),
    (10, f"at most 2^{store_channel.CLOCK_AHEAD_MAX.bit_length() - 1} beyond the highest"),
    (10, f"at most {message.LABEL_BYTES_MAX} bytes of UTF-8"),
    (10, f"at most {message.DATA_BYTES_MAX:,} bytes"),
    (10, f"messages, at most {block.MESSAGES_MAX:,}"),
    (10, f"a block is at most {block.BLOCK_BYTES_MAX:,} bytes"),
    (10, f"1 to {store_channel.KEY_BYTES_MAX} bytes"),
    (10, f"at most {store_channel.VALUE_BYTES_MAX:,} bytes"),
    (7, f"at most 2^{CLAIMS_MAX.bit_length() - 1}"),
    (10, f"at most {limits.MEMBERS_MAX} in one document"),
    (10, f"at most 2^{address_hints.SEQUENCE_MAX.bit_length()} - 1; greater"),
    (9, f"beyond {verifier.FILE_BYTES_MAX >> 20} MiB"),
]


@pytest.mark.parametrize(("number", "said"), LIMITS, ids=[f"{n}: {said}" for n, said in LIMITS])
def test_limits_are_those_of_the_code(number, said):
    assert said in page(number)


def test_a_weight_and_a_verdict_have_their_widths():
    assert (function.WEIGHT_END, function.REASONS_MAX) == (1 << 128, 256)


def test_the_readme_of_the_pages_names_the_command_that_refreshes_them():
    assert "tests/docs/spec_examples.py --write" in (SPEC / "README.md").read_text()
    assert (ROOT / "tests" / "docs" / "spec_examples.py").is_file()
    assert fenced("```x\na\n```", "x") == ["a\n"]
