"""`verify` names the link that was tampered with, whoever tampers: disk, publisher, aggregator, committee or chain."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pyarrow as pa
import pytest

from audit.audit_world import (
    AGGREGATOR,
    DOMAIN,
    EVALUATOR_KEYS,
    EVALUATORS,
    LOG_SEED,
    MEASURE,
    NODE_IDS,
    SCHEMA,
    Rules,
    World,
    address,
    jobs_of,
    make_world,
    payee,
    put_on_chain,
)
from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import LINKS, Link, State, first_broken
from meridian.audit.measured import epoch_digest
from meridian.audit.record import OutcomeRecord
from meridian.audit.source import Schedule
from meridian.contracts.events import Claimed
from meridian.ephemera.block import Block, Certificate
from meridian.ephemera.context import Context, Kind
from meridian.errors import NotFound
from meridian.evaluate.row import Row
from meridian.measure.columns import write_segment
from meridian.measure.commitment import commit_epoch
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import Manifest, SegmentRef
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import address_text, node_key
from meridian.reward.claims import Claim, ClaimsState

EPOCH = 8


def links_of(world: World, epoch: int = EPOCH) -> dict[str, Link]:
    links = verify_epoch_evidence(world.source, epoch)
    assert tuple(link.name for link in links) == LINKS
    return {link.name: link for link in links}


def broken_name(world: World) -> str | None:
    link = first_broken(list(links_of(world).values()))
    return link.name if link else None


def test_an_untouched_epoch_holds_link_by_link(pristine: World) -> None:
    for epoch in (7, 8):
        assert {link.state for link in links_of(pristine, epoch).values()} == {State.HOLDS}


def test_a_member_that_copied_its_row_is_named(tmp_path) -> None:
    """Its row is what the jobs give, byte for byte; but its trace root does not follow from the verdicts."""
    world = make_world(tmp_path, liars=0, rules=Rules(copiers=1))
    links = links_of(world, 7)
    assert {link.state for link in links.values()} == {State.HOLDS}
    copier = address_text(EVALUATOR_KEYS[0].address)
    notes = [item for item in links["evaluation"].items if "trace root" in item]
    assert [note.startswith(copier) for note in notes] == [True]
    assert "4 of 4 rows are exactly" in links["evaluation"].detail


def test_an_epoch_without_jobs_holds_and_pays_nobody(tmp_path) -> None:
    world = make_world(tmp_path, epochs=(7, 8, 9))
    links = links_of(world, 9)
    assert {link.state for link in links.values()} == {State.HOLDS}
    assert "0 jobs of 0 nodes" in links["jobs"].detail
    assert world.chain.reported[-1].total == world.chain.reported[-2].total


def test_a_network_whose_first_epoch_has_no_jobs_holds(tmp_path) -> None:
    world = make_world(tmp_path, epochs=(9, 7, 8))
    for epoch in (9, 7, 8):
        assert {link.state for link in links_of(world, epoch).values()} == {State.HOLDS}


def test_an_epoch_that_the_network_never_opened_is_not_found(pristine: World) -> None:
    with pytest.raises(NotFound, match="epoch 99 is not open"):
        verify_epoch_evidence(pristine.source, 99)


def test_a_minority_row_that_differs_is_a_note(pristine: World) -> None:
    notes = [item for item in links_of(pristine)["evaluation"].items if "differs" in item]
    assert len(notes) == 1
    assert EVALUATOR_KEYS[3].address.hex() in notes[0]
    assert "1 weights" in notes[0]


def test_a_false_majority_breaks_the_evaluation_and_nothing_else(tmp_path) -> None:
    world = make_world(tmp_path, liars=3)
    links = links_of(world)
    assert links["evaluation"].state is State.BROKEN
    assert any("decided 99" in item for item in links["evaluation"].items)
    assert links["claims"].state is State.UNCHECKED
    others = set(LINKS) - {"evaluation", "claims"}
    assert {links[name].state for name in others} == {State.HOLDS}


# --- bytes on disk -------------------------------------------------------------------------------

MEASURE_OBJECTS: dict[str, tuple[str, Callable[[Manifest], bytes]]] = {
    "manifest": ("manifest", lambda manifest: manifest.digest),
    "schema": ("manifest", lambda manifest: manifest.schema),
    "first segment": ("segments", lambda manifest: manifest.segments[0].digest),
    "last segment": ("segments", lambda manifest: manifest.segments[-1].digest),
    "nodes": ("jobs", lambda manifest: manifest.nodes),
    "input": ("inputs", lambda manifest: manifest.inputs[0].digest),
}
OUTCOME_OBJECTS: dict[str, tuple[str, Callable[[OutcomeRecord], bytes | None]]] = {
    "outcome": ("report", lambda record: record.digest),
    "verdicts": ("evaluation", lambda record: record.verdicts),
    "first row": ("rows", lambda record: record.rows[0]),
    "last row": ("rows", lambda record: record.rows[-1]),
    "block": ("block", lambda record: record.block),
    "certificate": ("certificate", lambda record: record.certificate),
    "earlier claims": ("aggregation", lambda record: record.previous_claims),
    "claims": ("rewards", lambda record: record.claims),
    "result": ("claims", lambda record: record.result),
}


def flip(path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0x01
    path.write_bytes(data)


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("what", MEASURE_OBJECTS)
def test_a_flipped_byte_of_a_measure_object_breaks_its_link(
    world: World, what: str, at: float
) -> None:
    link, digest = MEASURE_OBJECTS[what]
    path = world.path(MEASURE, digest(world.manifest(EPOCH)))
    flip(path, at)
    links = links_of(world)
    assert first_broken(list(links.values())) is links[link]
    assert any(path.name in item for item in links[link].items)


def test_a_flipped_byte_of_the_parameters_breaks_their_link(world: World) -> None:
    flip(world.path(MEASURE, world.chain.version.parameters), 0.5)
    assert broken_name(world) == "parameters"


@pytest.mark.parametrize("publication", EVALUATORS)
@pytest.mark.parametrize("what", OUTCOME_OBJECTS)
def test_one_bad_copy_of_an_outcome_object_breaks_its_link(
    world: World, what: str, publication: str
) -> None:
    link, digest = OUTCOME_OBJECTS[what]
    path = world.path(publication, digest(world.record(publication, EPOCH)))
    flip(path, 0.7)
    links = links_of(world)
    assert first_broken(list(links.values())) is links[link]
    assert any(publication in item for item in links[link].items)


@pytest.mark.parametrize("what", OUTCOME_OBJECTS)
def test_an_object_that_nobody_publishes_breaks_its_link(world: World, what: str) -> None:
    link, digest = OUTCOME_OBJECTS[what]
    wanted = {digest(world.record(publication, EPOCH)) for publication in EVALUATORS}
    for publication in EVALUATORS:
        for one in wanted:
            world.path(publication, one).unlink(missing_ok=True)
    assert broken_name(world) == link


def test_a_result_file_beside_the_publications_is_checked_too(world: World) -> None:
    value = msgspec.json.decode(world.find(world.record(EVALUATORS[0], EPOCH).result))
    path = world.root / "results" / "epoch-000008.json"
    path.parent.mkdir()
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))
    assert broken_name(world) is None
    value["payees"][0]["proportion"] = "1"
    for data in (msgspec.json.encode(value), b"[]", b"\xff", b""):
        path.write_bytes(data)
        links = links_of(world)
        assert first_broken(list(links.values())) is links["claims"]
        assert "results/epoch-000008.json" in links["claims"].detail


def test_an_object_that_some_publish_is_enough(world: World) -> None:
    record = world.record(EVALUATORS[0], EPOCH)
    for digest in (record.block, *record.rows, record.claims, record.result):
        world.path(EVALUATORS[0], digest).unlink(missing_ok=True)
    assert broken_name(world) is None


@pytest.mark.parametrize(
    ("publication", "name", "link"),
    [
        (MEASURE, "000008.json", "manifest"),
        (EVALUATORS[2], "000008.outcome.json", "report"),
    ],
)
@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"manifest": 5, "outcome": "b"}', b"[" * 5000]
)
def test_an_unreadable_index_breaks_the_link_that_it_names(
    world: World, publication: str, name: str, link: str, text: bytes
) -> None:
    (world.root / publication / "epochs" / name).write_bytes(text)
    links = links_of(world)
    assert first_broken(list(links.values())) is links[link]
    assert any(name in item for item in links[link].items)


@pytest.mark.parametrize("file", ["checkpoint", "tile/entries/000.p/2"])
def test_a_flipped_byte_of_the_epoch_log_breaks_its_link(world: World, file: str) -> None:
    flip(world.root / MEASURE / "log" / file, 0.5)
    assert broken_name(world) == "epoch-log"


# --- a publisher who names other objects, with every pointer updated ------------------------------


def republish(
    world: World, change: Callable[[OutcomeRecord], OutcomeRecord], everywhere: bool
) -> None:
    for publication in EVALUATORS if everywhere else EVALUATORS[1:2]:
        world.publish_record(publication, change(world.record(publication, EPOCH)))


def forged_row(world: World, record: OutcomeRecord) -> OutcomeRecord:
    row = Row.decode(world.read(EVALUATORS[0], record.rows[0]))
    body = replace(row, weights=(*row.weights[:-1], 10**9)).encode()
    return replace(record, rows=(world.put(EVALUATORS[1], body), *record.rows[1:]))


def forged_block_signature(world: World, record: OutcomeRecord) -> OutcomeRecord:
    block = Block.decode(world.read(EVALUATORS[0], record.block))
    rows = (replace(block.rows[0], signature=block.rows[1].signature), *block.rows[1:])
    return replace(record, block=world.put(EVALUATORS[1], replace(block, rows=rows).encode()))


def censored_block(world: World, record: OutcomeRecord) -> OutcomeRecord:
    block = Block.decode(world.read(EVALUATORS[0], record.block))
    smaller = Block(block.epoch, block.rows[1:], block.haves)
    return replace(record, block=world.put(EVALUATORS[1], smaller.encode()))


def other_valid_block(world: World, record: OutcomeRecord) -> OutcomeRecord:
    block = Block.decode(world.read(EVALUATORS[0], record.block))
    smaller = Block(block.epoch, block.rows, block.haves[:-1])
    return replace(record, block=world.put(EVALUATORS[1], smaller.encode()))


def other_bytes_for_a_block(world: World, record: OutcomeRecord) -> OutcomeRecord:
    return replace(record, block=world.put(EVALUATORS[1], b"\x00\x01 not a block"))


def forged_vote(world: World, record: OutcomeRecord) -> OutcomeRecord:
    certificate = Certificate.decode(world.find(record.certificate))
    votes = ((certificate.votes[0][0], certificate.votes[1][1]), *certificate.votes[1:])
    forged = replace(certificate, votes=votes)
    return replace(record, certificate=world.put(EVALUATORS[1], forged.encode()))


def too_few_votes(world: World, record: OutcomeRecord) -> OutcomeRecord:
    certificate = Certificate.decode(world.find(record.certificate))
    forged = replace(certificate, votes=certificate.votes[1:])
    return replace(record, certificate=world.put(EVALUATORS[1], forged.encode()))


def votes_for_another_block(world: World, record: OutcomeRecord) -> OutcomeRecord:
    context = Context(DOMAIN, record.network_id, EPOCH, record.members)
    other = digest_of(b"another block")
    votes = tuple(
        (number, key.sign(context.statement(Kind.VOTE, 0, other)))
        for number, key in enumerate(EVALUATOR_KEYS)
    )
    return replace(
        record, certificate=world.put(EVALUATORS[1], Certificate(0, other, votes).encode())
    )


def forged_verdicts(world: World, record: OutcomeRecord) -> OutcomeRecord:
    value = dagcbor.decode(world.read(EVALUATORS[0], record.verdicts))
    value["codes"] = bytes(len(value["codes"]))
    return replace(record, verdicts=world.put(EVALUATORS[1], dagcbor.encode(value)))


def forged_claims(world: World, record: OutcomeRecord) -> OutcomeRecord:
    state = ClaimsState.decode(world.read(EVALUATORS[0], record.claims))
    claims = dict(state.claims)
    first, second = list(claims)[:2]
    claims[first] = claims[first]._replace(cumulative=claims[first].cumulative + 1)
    claims[second] = claims[second]._replace(cumulative=claims[second].cumulative - 1)
    return replace(record, claims=world.put(EVALUATORS[1], ClaimsState(claims).encode()))


def forged_payee(world: World, record: OutcomeRecord) -> OutcomeRecord:
    state = ClaimsState.decode(world.read(EVALUATORS[0], record.claims))
    claims = dict(state.claims)
    first = next(iter(claims))
    claims[first] = Claim(address(0x66), claims[first].cumulative)
    return replace(record, claims=world.put(EVALUATORS[1], ClaimsState(claims).encode()))


def forged_earlier_claims(world: World, record: OutcomeRecord) -> OutcomeRecord:
    state = ClaimsState({node_key("alpha"): Claim(payee("alpha"), 5)})
    return replace(record, previous_claims=world.put(EVALUATORS[1], state.encode()))


def forged_result(world: World, record: OutcomeRecord) -> OutcomeRecord:
    value = msgspec.json.decode(world.read(EVALUATORS[0], record.result))
    value["payees"][0]["proportion"] = "0.500000000000000000"
    return replace(record, result=world.put(EVALUATORS[1], msgspec.json.encode(value)))


def unreadable_result(world: World, record: OutcomeRecord) -> OutcomeRecord:
    return replace(record, result=world.put(EVALUATORS[1], b"{"))


def forged_signature(world: World, record: OutcomeRecord) -> OutcomeRecord:
    (signer, _), *rest = record.signatures
    return replace(record, signatures=((signer, rest[0][1]), *rest))


def stranger_signs(world: World, record: OutcomeRecord) -> OutcomeRecord:
    signed = (AGGREGATOR.address, AGGREGATOR.sign(record.report_hash))
    return replace(record, signatures=tuple(sorted([*record.signatures, signed])))


def signatures_of_another_report(world: World, record: OutcomeRecord) -> OutcomeRecord:
    other = world.chain.reported[0].report_hash
    signed = tuple((key.address, key.sign(other)) for key in EVALUATOR_KEYS)
    return replace(record, signatures=signed)


FORGERIES = {
    "a row body with another weight": (forged_row, "rows"),
    "rows in another order": (lambda _, record: replace(record, rows=record.rows[::-1]), "rows"),
    "a row missing": (lambda _, record: replace(record, rows=record.rows[:-1]), "rows"),
    "a row signature in the block": (forged_block_signature, "block"),
    "a block that leaves out a row": (censored_block, "block"),
    "bytes that are no block": (other_bytes_for_a_block, "block"),
    "other members": (lambda _, record: replace(record, members=record.members[:3]), "block"),
    "a vote": (forged_vote, "certificate"),
    "too few votes": (too_few_votes, "certificate"),
    "a quorum for another block": (votes_for_another_block, "certificate"),
    "verdicts": (forged_verdicts, "evaluation"),
    "claims with a shifted atto": (forged_claims, "rewards"),
    "claims with another payee": (forged_payee, "rewards"),
    "earlier claims": (forged_earlier_claims, "aggregation"),
    "no earlier claims": (lambda _, record: replace(record, previous_claims=None), "aggregation"),
    "the report hash": (lambda _, record: replace(record, report_hash=bytes(32)), "report"),
    "the manifest": (lambda _, record: replace(record, manifest=bytes(32)), "report"),
    "the network": (lambda _, record: replace(record, network_id=bytes(32)), "report"),
    "a signature": (forged_signature, "signatures"),
    "a stranger's signature": (stranger_signs, "signatures"),
    "too few signatures": (
        lambda _, record: replace(record, signatures=record.signatures[1:]),
        "signatures",
    ),
    "signatures twice": (
        lambda _, record: replace(record, signatures=(record.signatures[0],) * 3),
        "signatures",
    ),
    "signatures of another report": (signatures_of_another_report, "signatures"),
    "the transmitter": (
        lambda _, record: replace(record, transmitter=EVALUATOR_KEYS[3].address),
        "contract",
    ),
    "the result": (forged_result, "claims"),
    "a result that is no JSON": (unreadable_result, "claims"),
}


@pytest.mark.parametrize("everywhere", [False, True], ids=["one publisher", "all publishers"])
@pytest.mark.parametrize("what", FORGERIES)
def test_a_consistent_forgery_breaks_the_link_that_it_forges(
    world: World, what: str, everywhere: bool
) -> None:
    forge, link = FORGERIES[what]
    republish(world, lambda record: forge(world, record), everywhere)
    links = links_of(world)
    found = first_broken(list(links.values()))
    assert found is not None
    assert (found.name, found.state) == (link, State.BROKEN)
    for name in LINKS[: LINKS.index(link)]:
        assert links[name].state in {State.HOLDS, State.UNCHECKED}


REPORT_FIELDS = (
    "network",
    "commitment",
    "function_digest",
    "parameters_digest",
    "inputs_root",
    "block_hash",
    "verdict_root",
    "reward_root",
    "previous",
    "epoch",
    "total",
)


@pytest.mark.parametrize("field", REPORT_FIELDS)
@pytest.mark.parametrize("everywhere", [False, True], ids=["one publisher", "all publishers"])
def test_a_changed_report_field_breaks_the_report_and_is_named(
    world: World, field: str, everywhere: bool
) -> None:
    def forge(record: OutcomeRecord) -> OutcomeRecord:
        value = getattr(record.report, field)
        other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        report = replace(record.report, **{field: other})
        return replace(record, report=report, report_hash=report.digest(DOMAIN))

    republish(world, forge, everywhere)
    links = links_of(world)
    assert first_broken(list(links.values())) is links["report"]
    assert any(f"{field} is" in item for item in links["report"].items)


@pytest.mark.parametrize("everywhere", [False, True])
def test_another_block_with_valid_signatures_is_not_the_decided_one(
    world: World, everywhere: bool
) -> None:
    republish(world, lambda record: other_valid_block(world, record), everywhere)
    # One publisher contradicts the others; where all agree on it, their certificates are for another block.
    assert broken_name(world) == ("certificate" if everywhere else "block")


def test_an_index_with_another_report_hash_breaks_the_report(world: World) -> None:
    digest = world.record(EVALUATORS[0], EPOCH).digest
    index = {"epoch": EPOCH, "outcome": cid_text(digest), "report_hash": "11" * 32}
    world.write_json(EVALUATORS[0], "000008.outcome.json", index)
    assert broken_name(world) == "report"


@pytest.mark.parametrize(
    "name", ["root", "annotation", "n_nodes", "jobs", "late", "duplicates", "epoch"]
)
def test_an_index_that_repeats_the_manifest_wrongly_breaks_it(world: World, name: str) -> None:
    manifest = world.manifest(EPOCH)
    index = {
        "epoch": EPOCH,
        "manifest": cid_text(manifest.digest),
        "state": "committed",
        "root": manifest.root.hex(),
        "annotation": manifest.annotation.hex(),
        "n_nodes": manifest.n_nodes,
        "jobs": manifest.jobs,
        "late": manifest.late,
        "duplicates": manifest.duplicates,
    }
    world.write_json(MEASURE, "000008.json", index)
    assert broken_name(world) is None
    index[name] = 77
    world.write_json(MEASURE, "000008.json", index)
    links = links_of(world)
    assert first_broken(list(links.values())) is links["manifest"]
    assert any("000008.json" in item for item in links["manifest"].items)


def other_aggregators(world: World) -> Manifest:
    return replace(world.manifest(EPOCH), aggregator=address(77), root=digest_of(b"its own"))


def test_what_another_aggregator_publishes_and_never_commits_is_a_note(world: World) -> None:
    other = other_aggregators(world)
    world.point_manifest(EPOCH, world.put(EVALUATORS[0], other.encode()), EVALUATORS[0])
    links = links_of(world)
    assert {link.state for link in links.values()} == {State.HOLDS}
    [note] = links["manifest"].items
    assert "000008.json: published by 0x" in note
    assert "but not committed" in note


@pytest.mark.parametrize("what", ["alone", "missing", "flipped", "own", "epoch", "network"])
def test_an_index_that_names_another_manifest_breaks_it_unless_it_is_anothers(
    world: World, what: str
) -> None:
    """The same note must not hide that the index of a committed manifest was changed."""
    changed = {
        "own": {"aggregator": AGGREGATOR.address},
        "epoch": {"epoch": EPOCH + 1},
        "network": {"network_id": bytes(32)},
    }
    other = replace(other_aggregators(world), **changed.get(what, {}))
    digest = world.put(EVALUATORS[0], other.encode())
    path = world.path(EVALUATORS[0], digest)
    if what == "missing":
        path.unlink()
    if what == "flipped":
        flip(path, 0.5)
    world.point_manifest(EPOCH, digest, MEASURE if what == "alone" else EVALUATORS[0])
    links = links_of(world)
    assert first_broken(list(links.values())) is links["manifest"]
    assert any(cid_text(digest) in item for item in links["manifest"].items)


def test_an_outcome_of_another_epoch_is_refused(world: World) -> None:
    world.write_json(
        EVALUATORS[0],
        "000008.outcome.json",
        {"epoch": 8, "outcome": cid_text(world.record(EVALUATORS[0], 7).digest)},
    )
    assert broken_name(world) == "block"


# --- the measure side, with every pointer updated -------------------------------------------------


def with_table(world: World, table, manifest: Manifest) -> Manifest:
    data = write_segment(table)
    return replace(
        manifest, segments=(SegmentRef(world.put(MEASURE, data), table.num_rows, len(data)),)
    )


def changed_jobs(column: str, row: int, value: object):
    table = jobs_of(EPOCH)
    values = table.column(column).to_pylist()
    values[row] = value
    field = table.schema.field(column)
    return table.set_column(
        table.column_names.index(column), field, pa.array(values, type=field.type)
    )


def test_a_manifest_with_another_segment_is_not_the_committed_one(world: World) -> None:
    manifest = with_table(world, changed_jobs("num_bytes", 3, 10**6), world.manifest(EPOCH))
    world.point_manifest(EPOCH, world.put(MEASURE, manifest.encode()))
    assert broken_name(world) == "manifest"


def recommitted(world: World, table, payees=payee) -> Manifest:
    """Commit to other jobs consistently: root, rows and manifest."""
    commitment = commit_epoch(SCHEMA, EPOCH, table, {name: payees(name) for name in NODE_IDS})
    return replace(
        with_table(world, table, world.manifest(EPOCH)),
        nodes=world.put(MEASURE, commitment.nodes.encode()),
        root=commitment.root,
        n_nodes=commitment.n_nodes,
        annotation=commitment.annotation,
        late=sum(table.column("flags").to_pylist()),
    )


def first_segment(true: Manifest, **changes: object) -> Manifest:
    return replace(true, segments=(replace(true.segments[0], **changes), *true.segments[1:]))


def stolen_payee(name: str):
    return address(9) if name == "beta" else payee(name)


LIES: dict[str, tuple[Callable[[World, Manifest], Manifest], str]] = {
    "jobs that do not give the root": (
        lambda world, true: with_table(world, changed_jobs("num_bytes", 3, 10**6), true),
        "jobs",
    ),
    "a private field that does not give the root": (
        lambda world, true: with_table(world, changed_jobs("city", 3, "Praha"), true),
        "jobs",
    ),
    "fewer jobs than the root": (
        lambda world, true: with_table(world, jobs_of(EPOCH).slice(1), true),
        "jobs",
    ),
    "jobs in another order": (
        lambda world, true: with_table(world, jobs_of(EPOCH).take([1, 0, *range(2, 48)]), true),
        "jobs",
    ),
    "a sum": (lambda _, true: replace(true, annotation=true.annotation[:-1] + b"\xff"), "jobs"),
    "a root": (lambda _, true: replace(true, root=digest_of(b"root")), "jobs"),
    "a number of nodes": (lambda _, true: replace(true, n_nodes=5), "jobs"),
    "a payee": (lambda world, _: recommitted(world, jobs_of(EPOCH), stolen_payee), "jobs"),
    "a job of another epoch": (
        lambda world, _: recommitted(world, changed_jobs("ended_us", 3, 1_700_000_350_000_000)),
        "jobs",
    ),
    "a job that is not late": (
        lambda world, _: recommitted(world, changed_jobs("flags", 3, 1)),
        "jobs",
    ),
    "a number of late jobs": (lambda _, true: replace(true, late=7), "jobs"),
    "nodes that are none": (
        lambda world, true: replace(true, nodes=world.put(MEASURE, b"\xa0")),
        "jobs",
    ),
    "a segment's rows": (lambda _, true: first_segment(true, rows=19), "segments"),
    "a segment's bytes": (lambda _, true: first_segment(true, bytes=19), "segments"),
    "a segment that is none": (
        lambda world, true: first_segment(true, digest=world.put(MEASURE, b"not parquet")),
        "segments",
    ),
    "a segment that is withheld": (
        lambda _, true: first_segment(true, digest=bytes(32)),
        "segments",
    ),
    "another network": (lambda _, true: replace(true, network="other"), "manifest"),
    "another schema": (
        lambda world, true: replace(
            true, schema=world.put(MEASURE, replace(SCHEMA, id=6).encode())
        ),
        "manifest",
    ),
    "another input": (
        lambda world, true: replace(
            true, inputs=(replace(true.inputs[0], digest=world.put(MEASURE, b"other")),)
        ),
        "aggregation",  # the decided rows speak about the true inputs
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lying_aggregator_is_found_out_although_the_chain_has_the_lie(
    world: World, what: str
) -> None:
    lie, link = LIES[what]
    manifest = lie(world, world.manifest(EPOCH))
    put_on_chain(world, manifest)
    world.point_manifest(EPOCH, world.put(MEASURE, manifest.encode()))
    world.write_log()
    assert broken_name(world) == link


def test_a_committed_manifest_of_another_epoch_is_found_out(world: World) -> None:
    manifest = replace(world.manifest(EPOCH), epoch=9)
    event = replace(world.chain.committed.pop(), manifest=manifest.digest)
    world.chain.committed.append(replace(event, digest=epoch_digest(bytes(32), event)))
    world.point_manifest(EPOCH, world.put(MEASURE, manifest.encode()))
    world.write_log()
    assert broken_name(world) == "manifest"


def test_rows_about_other_jobs_do_not_follow_a_new_commitment(world: World) -> None:
    """The aggregator replaces everything consistently after the fact: the decided rows are about something else."""
    manifest = recommitted(world, jobs_of(EPOCH).slice(0, 40))
    put_on_chain(world, manifest)
    world.point_manifest(EPOCH, world.put(MEASURE, manifest.encode()))
    world.write_log()
    assert broken_name(world) == "aggregation"


@pytest.mark.parametrize(
    "what", ["another key", "another record", "no record", "two records", "no log"]
)
def test_a_consistently_rewritten_epoch_log_is_found_out(world: World, what: str) -> None:
    entries = world.log_entries()
    seed = LOG_SEED
    if what == "another key":
        seed = bytes([8]) * 32
    elif what == "another record":
        entries[1] = replace(EpochRecord.decode(entries[1]), root=bytes(32)).encode()
    elif what == "no record":
        entries = entries[:1]
    elif what == "two records":
        entries.append(replace(EpochRecord.decode(entries[1]), root=bytes(32)).encode())
    world.sign_log(entries, seed)
    if what == "no log":
        (world.root / MEASURE / "log" / "checkpoint").unlink()
    assert broken_name(world) == "epoch-log"


# --- what the chain says --------------------------------------------------------------------------


def on_chain(world: World, **changes: object) -> None:
    world.chain.reported[-1] = replace(world.chain.reported[-1], **changes)


def claim(world: World, **changes: object) -> None:
    world.chain.paid[-1] = replace(world.chain.paid[-1], **changes)


def more_than_earned(world: World) -> None:
    last = world.chain.paid[-1]
    claim(world, amount=last.amount + 1, cumulative=last.cumulative + 1)


CHAIN_LIES: dict[str, tuple[Callable[[World], None], str]] = {
    "other code": (lambda w: w.chain.code.update(Rewards=b"\x60\x00"), "contracts"),
    "no code": (lambda w: w.chain.code.update(Registry=b""), "contracts"),
    "epoch not open": (lambda w: w.chain.budgets.pop(EPOCH), "contracts"),
    "members not ascending": (
        lambda w: setattr(w.chain, "members", w.chain.members[::-1]),
        "contracts",
    ),
    "no commitment": (lambda w: w.chain.committed.pop(), "commitment"),
    "two commitments": (
        lambda w: w.chain.committed.append(w.chain.committed[-1]),
        "commitment",
    ),
    "another root": (
        lambda w: w.chain.committed.append(replace(w.chain.committed.pop(), root=bytes(32))),
        "commitment",
    ),
    "unknown function": (
        lambda w: setattr(w.chain, "version", Schedule(2, bytes(32), w.chain.version.parameters)),
        "function",
    ),
    "unknown parameters": (
        lambda w: setattr(w.chain, "version", Schedule(2, w.chain.version.function, bytes(32))),
        "parameters",
    ),
    "another budget": (lambda w: w.chain.budgets.update({EPOCH: 10**8}), "rewards"),
    "no report": (lambda w: w.chain.reported.pop(), "report"),
    "another report hash": (lambda w: on_chain(w, report_hash=bytes([1]) * 32), "report"),
    "another previous report": (lambda w: on_chain(w, previous=bytes([1]) * 32), "aggregation"),
    "first report": (lambda w: on_chain(w, previous=bytes(32)), "aggregation"),
    "another reward root": (lambda w: on_chain(w, reward_root=bytes(32)), "contract"),
    "another total": (lambda w: on_chain(w, total=5), "contract"),
    "another transmitter": (
        lambda w: on_chain(w, transmitter=EVALUATOR_KEYS[1].address),
        "contract",
    ),
    "a stranger transmits": (lambda w: on_chain(w, transmitter=address(3)), "contract"),
    "paid more than earned": (more_than_earned, "claims"),
    "paid to another": (lambda w: claim(w, payee=address(3)), "claims"),
    "paid to an unknown node": (lambda w: claim(w, node_key=bytes(32)), "claims"),
    "paid twice": (lambda w: w.chain.paid.append(w.chain.paid[-1]), "claims"),
    "paid for an unreported epoch": (lambda w: claim(w, epoch=9), "claims"),
    "more paid than funded": (lambda w: setattr(w.chain, "funded", 5), "claims"),
}


@pytest.mark.parametrize("what", CHAIN_LIES)
def test_the_chain_itself_is_checked(world: World, what: str) -> None:
    change, link = CHAIN_LIES[what]
    change(world)
    assert broken_name(world) == link


def test_claims_of_later_epochs_do_not_trouble_an_earlier_one(world: World) -> None:
    key = node_key("gamma")
    state = ClaimsState.decode(world.read(EVALUATORS[0], world.record(EVALUATORS[0], 8).claims))
    earned = state.claims[key]
    world.chain.paid.append(Claimed(key, earned.payee, 8, earned.cumulative, earned.cumulative))
    assert {link.state for link in links_of(world, 7).values()} == {State.HOLDS}


def test_an_epoch_that_is_not_reported_yet_says_what_is_missing(world: World) -> None:
    world.chain.reported.pop()
    for publication in EVALUATORS:
        (world.root / publication / "epochs" / "000008.outcome.json").unlink()
    links = links_of(world)
    assert "no accepted report" in links["report"].detail
    assert links["jobs"].state is State.HOLDS
    assert "report" in links["block"].detail
    assert links["claims"].state is State.UNCHECKED
