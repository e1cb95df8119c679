"""Examples of page 11: rows and their messages, averages, reports, submissions, and what is committed on a chain."""

import json

import spec_world as w
from spec_layout import Cbor, Example, Json, Layout, Part, Values, layout

from meridian.audit.evidence import first_broken
from meridian.ephemera.block import Block, Certificate, SignedHave, SignedRow, have_digest
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.messages.message import Realm, sign_message
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.measure.epoch import Calendar
from meridian.nym import wire
from meridian.nym.acceptance import Mode, Terms
from meridian.nym.evidence import Case, check_case
from meridian.nym.network import contract_address
from meridian.nym.onchain import uptime
from meridian.nym.onchain.measurements import (
    READINGS,
    Measurements,
    Reading,
    ReadingLog,
    sign_readings,
)
from meridian.nym.race_rules import LABEL, check_row
from meridian.nym.rewards import REPORT, SUBMISSION, Report, sign_submission, submission_digest
from meridian.nym.rows import Row, aggregate, average, decode_row
from meridian.primitives import eip712, hashing
from meridian.primitives.cid import digest_of
from meridian.primitives.eip712 import Domain, StructType, keccak
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import address_text, node_key

MIXNODES = 4
REALM = Realm(Domain(w.CHAIN_ID, contract_address(w.NETWORK)), w.NETWORK_ID)
CONTEXT = Context(REALM.domain, w.NETWORK_ID, w.EPOCH, w.MEMBERS)
CALENDAR = Calendar(w.GENESIS_S, 3_600)
START_MS = CALENDAR.start_us(w.EPOCH) // 1_000
END_MS = CALENDAR.end_us(w.EPOCH) // 1_000

VALUES: tuple[Reading, ...] = (
    (START_MS, 0, 85),
    (START_MS, 1, 40),
    (START_MS + 360_000, 0, 86),
    (START_MS + 360_000, 1, 41),
    (START_MS + 720_000, 0, 85),
)
LOG = sign_readings(w.COMMITMENTS, w.NETWORK_ID, w.EPOCH, w.MEMBER_KEYS[0], VALUES)
LOG.check(w.COMMITMENTS, MIXNODES, START_MS, END_MS)
SUMS = (
    ((0, 256, 3), (1, 81, 2)),
    ((0, 252, 3), (1, 124, 3), (2, 70, 1), (3, 12, 1)),
    ((0, 257, 3), (1, 120, 3), (2, 142, 2), (3, 13, 1)),
    ((0, 0, 1), (1, 100, 1), (2, 0, 1)),
)
"""By member (mixnode, sum, number of readings); the last one lies, and mixnode 3 is known to two only."""
ROWS = tuple(average(w.EPOCH, sums) for sums in SUMS)
BODIES = tuple(row.encode() for row in ROWS)
assert LOG.row() == ROWS[0]
assert [decode_row(b, epoch=w.EPOCH, mixnodes=MIXNODES) for b in BODIES] == list(ROWS)

MESSAGE = sign_message(
    REALM, w.MEMBER_KEYS[0], number=w.EPOCH, created_ms=0, label=LABEL, data=BODIES[0]
)
assert check_row(MESSAGE, w.MEMBERS, MIXNODES) == ROWS[0]


def _sign(member: int, kind: Kind, digest: bytes) -> bytes:
    return w.MEMBER_KEYS[member].sign(CONTEXT.statement(kind, 0, digest))


def _revealed(member: int, root: bytes) -> SignedRow:
    key = w.MEMBER_KEYS[member]
    salt = key.derive(bytes((hashing.ROW_SALT,)), CONTEXT.digest, root, NO_TRACE)
    opening = Opening(salt, root, NO_TRACE)
    digest = commitment_of(w.MEMBERS[member], opening)
    return SignedRow(member, digest, _sign(member, Kind.ROW, digest), opening)


def _decided() -> tuple[Block, Certificate]:
    """The block of the four rows that the quorum way decided, and its certificate."""
    rows = tuple(_revealed(member, row_root(body)) for member, body in enumerate(BODIES))
    entries = tuple((row.member, row.digest) for row in rows)
    have = have_digest(entries)
    block = Block(
        w.EPOCH,
        rows,
        tuple(SignedHave(m, entries, _sign(m, Kind.HAVE, have)) for m in range(3)),
    )
    votes = tuple((m, _sign(m, Kind.VOTE, block.hash)) for m in (0, 1, 3))
    return block, Certificate(0, block.hash, votes)


BLOCK, CERTIFICATE = _decided()
RULE = "wmedian"
REWARDS = aggregate(RULE, ROWS, mixnodes=MIXNODES, apis=4)
RESULT = Report(w.EPOCH, BLOCK.hash, RULE, REWARDS)
WINNER = w.MEMBER_KEYS[1]
SIGNED = [(key.address, key.sign(RESULT.digest(REALM))) for key in w.MEMBER_KEYS[:3]]
SUBMITTED = sign_submission(REALM, RESULT, WINNER, SIGNED)
TERMS = Terms(REALM, Mode.QUORUM, w.MEMBERS, MIXNODES)
LINKS = check_case(
    Case(
        *(TERMS, w.EPOCH, RULE, CONTEXT, SUBMITTED),
        block_bytes=BLOCK.encode(),
        certificate_bytes=CERTIFICATE.encode(),
        bodies=BODIES,
    )
)
assert first_broken(LINKS) is None, LINKS

LISTED = Measurements(
    w.NETWORK_ID, w.EPOCH, MIXNODES, len(VALUES), {LOG.member: digest_of(LOG.encode())}
)


def nym() -> dict[str, Example]:
    return {**_contract(), **_rows(), **_averages(), **_report(), **_submission(), **_committed()}


def _struct(struct: StructType, **fields: int | bytes) -> dict[str, bytes | int | str]:
    assert tuple(fields) == tuple(name for name, _ in struct.fields)
    return {
        "type": struct.description,
        "type hash": keccak(struct.description.encode()),
        **fields,
        "struct hash": struct.hash(*fields.values()),
    }


def _contract() -> dict[str, Example]:
    address = contract_address(w.NETWORK)
    assert address == sha256(b"meridian/nym-contract/1:example")[:20]
    return {
        "nym-contract": Values(
            {
                "network": w.NETWORK,
                "contract": address_text(address),
                "chain id": REALM.domain.chain_id,
                "domain separator": REALM.domain.separator,
            }
        )
    }


def _row(body: bytes, row: Row) -> Layout:
    parts: list[Part] = [
        ("version", "u16", 1),
        ("epoch", "u64", row.epoch),
        ("count", "u32", len(row.values)),
    ]
    for at, (mixnode, value) in enumerate(row.values):
        parts += [(f"entry {at} mixnode", "u32", mixnode), (f"entry {at} value", "u32", value)]
    return layout(body, *parts, row_root=row_root(body))


def _rows() -> dict[str, Example]:
    return {
        "nym-average": Values(
            {
                "readings of mixnode 0": "85, 86, 85",
                "their sum and number": "256, 3",
                "value of mixnode 0": dict(ROWS[0].values)[0],
                "readings of mixnode 1": "40, 41",
                "value of mixnode 1": dict(ROWS[0].values)[1],
            }
        ),
        "nym-row": _row(BODIES[0], ROWS[0]),
        "nym-message": layout(
            MESSAGE.encode(),
            ("version", "u16", 1),
            ("sender", "bytes20", MESSAGE.sender),
            ("round", "u64", w.EPOCH),
            ("created", "u64", 0),
            ("label", "blob", LABEL.encode()),
            ("data", "blob", BODIES[0]),
            ("signature", "bytes64", MESSAGE.signature),
            message_hash=MESSAGE.hash(REALM),
        ),
    }


def _text(values: tuple[int | None, ...]) -> str:
    return ", ".join("none" if value is None else str(value) for value in values)


def _averages() -> dict[str, Example]:
    shown = {f"row of member {at}": _text(row.spread(MIXNODES)) for at, row in enumerate(ROWS)}
    for rule in ("mean", "median", "wmedian"):
        shown[rule] = _text(aggregate(rule, ROWS, mixnodes=MIXNODES, apis=4))
    return {"nym-averages": Values(shown)}


def _report() -> dict[str, Example]:
    parts: list[Part] = [("count", "u32", MIXNODES)]
    data = MIXNODES.to_bytes(4, "big")
    for mixnode, value in enumerate(REWARDS):
        parts += [
            (f"mixnode {mixnode} present", "u8", value is not None),
            (f"mixnode {mixnode} value", "u32", value or 0),
        ]
        data += bytes((value is not None,)) + (value or 0).to_bytes(4, "big")
    said = RESULT.digest(REALM)
    shown = _struct(
        REPORT,
        network=w.NETWORK_ID,
        epoch=w.EPOCH,
        blockHash=BLOCK.hash,
        aggregate=sha256(RULE.encode()),
        rewards=sha256(data),
    )
    assert eip712.digest(REALM.domain, bytes(shown["struct hash"])) == said
    return {
        "nym-rewards": layout(data, *parts, rewards=sha256(data)),
        "nym-report": Values(
            {**shown, "report digest": said, "signature of member 0": SIGNED[0][1]}
        ),
    }


def _submission() -> dict[str, Example]:
    said = submission_digest(REALM, RESULT, WINNER.address)
    shown = _struct(
        SUBMISSION,
        network=w.NETWORK_ID,
        epoch=w.EPOCH,
        sender=WINNER.address,
        report=RESULT.digest(REALM),
    )
    assert eip712.digest(REALM.domain, bytes(shown["struct hash"])) == said
    body = wire.encode_submission(w.NETWORK_ID, SUBMITTED)
    assert wire.decode_submission(body, network=w.NETWORK_ID, mixnodes=MIXNODES) == SUBMITTED
    return {
        "nym-submission": Values(
            {**shown, "signed bytes": said, "signature of the sender": SUBMITTED.signature}
        ),
        "nym-submission-body": Json(json.loads(body)),
    }


def _committed() -> dict[str, Example]:
    body = LOG.encode()[:-64]
    parts: list[Part] = [
        ("version", "u16", 1),
        ("network", "bytes32", w.NETWORK_ID),
        ("epoch", "u64", w.EPOCH),
        ("member", "bytes20", LOG.member),
        ("count", "u32", len(VALUES)),
    ]
    for at, (time, mixnode, value) in enumerate(VALUES):
        parts += [
            (f"reading {at} time", "u64", time),
            (f"reading {at} mixnode", "u32", mixnode),
            (f"reading {at} value", "u8", value),
        ]
    shown = _struct(
        READINGS,
        network=w.NETWORK_ID,
        epoch=w.EPOCH,
        member=LOG.member,
        readings=sha256(body),
    )
    said = LOG.statement(w.COMMITMENTS)
    assert eip712.digest(w.COMMITMENTS, bytes(shown["struct hash"])) == said
    assert ReadingLog.decode(LOG.encode()) == LOG
    assert Measurements.decode(LISTED.encode()) == LISTED
    assert LISTED.tree_hash == sha256(b"meridian/nym-measurements/1" + LISTED.encode())
    keys = uptime.node_keys(MIXNODES)
    assert dict.fromkeys(keys) == dict.fromkeys(sorted(node_key(f"mixnode-{i}") for i in range(4)))
    return {
        "nym-reading-log": layout(
            LOG.encode(),
            *parts,
            ("signature", "bytes64", LOG.signature),
            digest=digest_of(LOG.encode()),
        ),
        "nym-readings": Values({**shown, "signed bytes": said, "signature": LOG.signature}),
        "nym-measurements": Cbor(LISTED.encode()),
        "nym-commitment": Values(
            {
                "tree_hash": LISTED.tree_hash,
                "n_nodes": MIXNODES,
                "annotation": LISTED.annotation,
                "root": LISTED.root,
            }
        ),
        "nym-weights": Values(
            {
                **{f"mixnode-{number}": key for key, number in keys.items()},
                "weights of member 0": _text(uptime.weights_of(ROWS[0], MIXNODES)),
            }
        ),
    }
