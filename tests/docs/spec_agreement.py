"""Examples of page 06: context, statements, blocks, frames, evidence."""

import hmac

import spec_links
import spec_world as w
from spec_layout import Example, Layout, Part, Values, layout

from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.block import (
    Block,
    Certificate,
    SignedHave,
    SignedRow,
    have_digest,
    verify_block,
    verify_certificate,
)
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import PROTOCOL, Context, Kind
from meridian.ephemera.evidence_file import EvidenceFile, verify_evidence_file
from meridian.ephemera.message import (
    BODY,
    ROW,
    WANT_DECISION,
    Accusation,
    Ask,
    Decision,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.ephemera.opening import Opening, commitment_of
from meridian.ephemera.proposal import justify, verify_justification
from meridian.evaluate.trace import trace_root, work_root
from meridian.evaluate.verdicts import verdict_leaves
from meridian.primitives import eip712, hashing, quorum
from meridian.primitives.cid import digest_of
from meridian.primitives.eip712 import keccak
from meridian.primitives.hashing import sha256

CONTEXT = Context(w.EVALUATIONS, w.NETWORK_ID, w.EPOCH, w.MEMBERS)


def sign(member: int, kind: Kind, view: int, digest: bytes) -> bytes:
    return w.MEMBER_KEYS[member].sign(CONTEXT.statement(kind, view, digest))


ROOTS = tuple(row_root(body) for body in w.BODIES)
WORK = work_root(verdict_leaves(w.EPOCH_INPUT, w.EVALUATION.verdicts))


def revealed(member: int, root: bytes) -> SignedRow:
    trace = trace_root(w.MEMBERS[member], WORK)
    key = w.MEMBER_KEYS[member]
    salt = key.derive(bytes((hashing.ROW_SALT,)), CONTEXT.digest, root, trace)
    opening = Opening(salt, root, trace)
    digest = commitment_of(w.MEMBERS[member], opening)
    return SignedRow(member, digest, sign(member, Kind.ROW, 0, digest), opening)


ROWS = tuple(revealed(member, root) for member, root in enumerate(ROOTS))
ENTRIES = tuple((row.member, row.digest) for row in ROWS)
HAVE_DIGEST = have_digest(ENTRIES)
HAVES = tuple(SignedHave(m, ENTRIES, sign(m, Kind.HAVE, 0, HAVE_DIGEST)) for m in range(3))
BLOCK = Block(w.EPOCH, ROWS, HAVES)
verify_block(CONTEXT, BLOCK)


def certificate(kind: Kind, view: int) -> Certificate:
    made = Certificate(
        view, BLOCK.hash, tuple((m, sign(m, kind, view, BLOCK.hash)) for m in (0, 1, 3))
    )
    verify_certificate(CONTEXT, made, kind)
    return made


LOCK = certificate(Kind.ECHO, 0)
DECIDED = certificate(Kind.VOTE, 0)


def ephemera() -> dict[str, Example]:
    return {**_context(), **_block(), **_frames(), **_evidence(), **spec_links.examples(CONTEXT)}


def _context() -> dict[str, Example]:
    data = b"\x0b" + b"".join(
        (b"\x00\x01", w.NETWORK_ID, w.EPOCH.to_bytes(8, "big"), b"\x00\x00\x00\x04", *w.MEMBERS)
    )
    assert sha256(data) == CONTEXT.digest
    signature = ROWS[0].signature
    struct = PROTOCOL.hash(CONTEXT.digest, Kind.ROW, 0, ROWS[0].digest)
    assert eip712.digest(w.EVALUATIONS, struct) == CONTEXT.statement(Kind.ROW, 0, ROWS[0].digest)
    sizes = (1, 2, 3, 4, 5, 7, 10, 31, 100, 128)
    table = {
        f"n = {n}": f"f {quorum.faults_max(n)}, q {quorum.quorum(n)}, f + 1 = {quorum.amplify(n)}, "
        f"n - f = {n - quorum.faults_max(n)}"
        for n in sizes
    }
    opening = ROWS[0].opening
    salted = b"\x23" + CONTEXT.digest + opening.row_root + opening.trace_root
    secret = w.MEMBER_KEYS[0].secret
    assert hmac.digest(secret, salted, "sha256") == opening.salt
    return {
        "commitment": layout(
            b"\x22" + w.MEMBERS[0] + opening.salt + opening.row_root + opening.trace_root,
            ("tag", "u8", hashing.ROW_COMMITMENT),
            ("member", "bytes20", w.MEMBERS[0]),
            *_opening_parts("", ROWS[0]),
            secret_key=secret,
            salted=salted,
            commitment=ROWS[0].digest,
        ),
        "thresholds": Values(table),
        "context-digest": layout(
            data,
            ("tag", "u8", hashing.MEMBERS),
            ("version", "u16", 1),
            ("network", "bytes32", w.NETWORK_ID),
            ("epoch", "u64", w.EPOCH),
            ("n", "u32", 4),
            *((f"member {i}", "bytes20", member) for i, member in enumerate(w.MEMBERS)),
            context_digest=CONTEXT.digest,
            leaders=", ".join(map(str, CONTEXT.leaders)),
        ),
        "protocol-statement": Values(
            {
                "type": PROTOCOL.description,
                "type hash": keccak(PROTOCOL.description.encode()),
                "context": CONTEXT.digest,
                "kind": int(Kind.ROW),
                "view": 0,
                "digest": ROWS[0].digest,
                "struct hash": struct,
                "signed bytes": CONTEXT.statement(Kind.ROW, 0, ROWS[0].digest),
                "signature of member 0": signature,
            }
        ),
    }


def _opening_parts(name: str, row: SignedRow) -> list[Part]:
    return [
        (f"{name}salt", "bytes32", row.opening.salt),
        (f"{name}row_root", "bytes32", row.opening.row_root),
        (f"{name}trace_root", "bytes32", row.opening.trace_root),
    ]


def _vector() -> list[Part]:
    parts: list[Part] = [("entries", "u16", 4)]
    for member, digest in ENTRIES:
        parts += [
            (f"entry {member} member", "u16", member),
            (f"entry {member} digest", "bytes32", digest),
        ]
    return parts


def _certificate_parts(made: Certificate) -> list[Part]:
    parts: list[Part] = [
        ("view", "u32", made.view),
        ("block_hash", "bytes32", made.block_hash),
        ("votes", "u16", len(made.votes)),
    ]
    for at, (member, signature) in enumerate(made.votes):
        parts += [
            (f"vote {at} member", "u16", member),
            (f"vote {at} signature", "bytes64", signature),
        ]
    return parts


def _block() -> dict[str, Example]:
    head: list[Part] = [("version", "u16", 1), ("epoch", "u64", w.EPOCH), ("rows", "u16", 4)]
    full, hashed = list(head), [("tag", "u8", hashing.BLOCK), *head]
    for row in ROWS:
        parts: list[Part] = [
            (f"row {row.member} member", "u16", row.member),
            (f"row {row.member} digest", "bytes32", row.digest),
        ]
        full += [*parts, (f"row {row.member} signature", "bytes64", row.signature)]
        full += _opening_parts(f"row {row.member} ", row)
        hashed += parts
    full.append(("haves", "u16", 3))
    hashed.append(("haves", "u16", 3))
    for have in HAVES:
        parts = [(f"have {have.member} member", "u16", have.member)]
        parts += [(f"have {have.member} {name}", kind, value) for name, kind, value in _vector()]
        full += [*parts, (f"have {have.member} signature", "bytes64", have.signature)]
        hashed += parts
    encoded = b"".join(_bytes(part) for part in hashed)
    assert sha256(encoded) == BLOCK.hash
    return {
        "block": layout(
            BLOCK.encode(), *full, block_hash=BLOCK.hash, object_digest=digest_of(BLOCK.encode())
        ),
        "block-hashed": layout(encoded, *hashed, block_hash=BLOCK.hash),
        "certificate": layout(
            DECIDED.encode(),
            ("version", "u16", 1),
            *_certificate_parts(DECIDED),
            object_digest=digest_of(DECIDED.encode()),
        ),
    }


def _bytes(part: Part) -> bytes:
    value = part[2]
    return value if isinstance(value, bytes) else value.to_bytes(int(part[1][1:]) // 8, "big")


def _framed(message: Message, *parts: Part, **derived: bytes) -> Layout:
    data = frames.encode(message, w.EPOCH)
    assert frames.decode(data, CONTEXT) == message
    kind = Kind(data[1])
    head: tuple[Part, ...] = (("version", "u8", 1), ("kind", "u8", kind), ("epoch", "u64", w.EPOCH))
    return layout(data, *head, *parts, **derived)


def _frames() -> dict[str, Example]:
    row, have, body = ROWS[1], HAVES[2], w.BODIES[1]
    leader, next_leader = CONTEXT.leader(0), CONTEXT.leader(1)
    propose_signature = sign(leader, Kind.PROPOSE, 0, propose_digest(BLOCK.hash))
    echo, vote = sign(0, Kind.ECHO, 0, BLOCK.hash), sign(3, Kind.VOTE, 0, BLOCK.hash)
    wish = sign(2, Kind.WISH, 1, bytes(32))
    free = ViewChange(2, 1, sign(2, Kind.VIEW_CHANGE, 1, lock_digest(None)), None)
    lock = (LOCK.view, LOCK.block_hash)
    locked = ViewChange(0, 1, sign(0, Kind.VIEW_CHANGE, 1, lock_digest(lock)), LOCK)
    changes = {
        0: locked,
        2: free,
        3: ViewChange(3, 1, sign(3, Kind.VIEW_CHANGE, 1, lock_digest(None)), None),
    }
    justification = justify(CONTEXT, changes)
    verify_justification(CONTEXT, 1, BLOCK.hash, justification)
    again = Propose(
        next_leader,
        1,
        sign(next_leader, Kind.PROPOSE, 1, propose_digest(BLOCK.hash)),
        BLOCK,
        justification,
    )
    attempt, digest = sha256(b"attempt"), sha256(b"report")
    said = sign(1, Kind.REPORT_SIG, 0, report_digest(attempt, digest))
    on_chain = w.MEMBER_KEYS[1].sign(digest)
    head = [("member", "u16", 0), ("view", "u32", 0)]
    return {
        "frame-row": _framed(
            Row(1, row.digest, row.signature),
            ("member", "u16", 1),
            ("digest", "bytes32", row.digest),
            ("signature", "bytes64", row.signature),
        ),
        "frame-reveal": _framed(
            Reveal(1, row.digest, row.signature, row.opening, body),
            ("member", "u16", 1),
            ("digest", "bytes32", row.digest),
            ("signature", "bytes64", row.signature),
            *_opening_parts("", row),
            ("flag", "u8", 1),
            ("body", "blob", body),
        ),
        "frame-have": _framed(
            Have(2, ENTRIES, have.signature),
            ("member", "u16", 2),
            *_vector(),
            ("signature", "bytes64", have.signature),
            signed_digest=HAVE_DIGEST,
        ),
        "frame-propose": _framed(
            Propose(leader, 0, propose_signature, BLOCK, None),
            ("member", "u16", leader),
            ("view", "u32", 0),
            ("signature", "bytes64", propose_signature),
            ("block", "blob", BLOCK.encode()),
            signed_digest=propose_digest(BLOCK.hash),
        ),
        "frame-propose-justified": _framed(
            again,
            ("member", "u16", next_leader),
            ("view", "u32", 1),
            ("signature", "bytes64", again.signature),
            ("block", "blob", BLOCK.encode()),
            ("claims", "u16", 3),
            ("claim 0 member", "u16", 0),
            ("claim 0 flag", "u8", 1),
            ("claim 0 lock view", "u32", 0),
            ("claim 0 lock hash", "bytes32", BLOCK.hash),
            ("claim 0 signature", "bytes64", changes[0].signature),
            ("claim 1 member", "u16", 2),
            ("claim 1 flag", "u8", 0),
            ("claim 1 signature", "bytes64", changes[2].signature),
            ("claim 2 member", "u16", 3),
            ("claim 2 flag", "u8", 0),
            ("claim 2 signature", "bytes64", changes[3].signature),
            ("certificate flag", "u8", 1),
            *_certificate_parts(LOCK),
        ),
        "frame-echo": _framed(
            Echo(0, 0, BLOCK.hash, echo),
            *head,
            ("block_hash", "bytes32", BLOCK.hash),
            ("signature", "bytes64", echo),
        ),
        "frame-vote": _framed(
            Vote(3, 0, BLOCK.hash, vote),
            ("member", "u16", 3),
            ("view", "u32", 0),
            ("block_hash", "bytes32", BLOCK.hash),
            ("signature", "bytes64", vote),
        ),
        "frame-wish": _framed(
            Wish(2, 1, wish),
            ("member", "u16", 2),
            ("view", "u32", 1),
            ("signature", "bytes64", wish),
        ),
        "frame-view-change": _framed(
            free,
            ("member", "u16", 2),
            ("view", "u32", 1),
            ("signature", "bytes64", free.signature),
            ("flag", "u8", 0),
            signed_digest=lock_digest(None),
        ),
        "frame-view-change-locked": _framed(
            locked,
            ("member", "u16", 0),
            ("view", "u32", 1),
            ("signature", "bytes64", locked.signature),
            ("flag", "u8", 1),
            *_certificate_parts(LOCK),
            signed_digest=lock_digest(lock),
        ),
        "frame-decided": _framed(Decision(DECIDED), *_certificate_parts(DECIDED)),
        "frame-report-sig": _framed(
            ReportSignature(1, attempt, digest, on_chain, said),
            ("member", "u16", 1),
            ("attempt", "bytes32", attempt),
            ("digest", "bytes32", digest),
            ("report_signature", "bytes64", on_chain),
            ("signature", "bytes64", said),
            signed_digest=report_digest(attempt, digest),
        ),
        "frame-fetch": _framed(
            Fetch(ROW, 3, ROWS[3].digest, 0),
            ("object", "u8", ROW),
            ("member", "u16", 3),
            ("digest", "bytes32", ROWS[3].digest),
            ("offset", "u64", 0),
        ),
        "frame-fetch-reply": _framed(
            FetchReply(BODY, ROOTS[0], 307, 0, w.BODIES[0][:16]),
            ("object", "u8", BODY),
            ("digest", "bytes32", ROOTS[0]),
            ("total_bytes", "u64", 307),
            ("offset", "u64", 0),
            ("piece", "blob", w.BODIES[0][:16]),
        ),
        "frame-ask": _framed(Ask(WANT_DECISION), ("want", "u8", WANT_DECISION)),
    }


def _evidence() -> dict[str, Example]:
    other = sha256(b"another block")
    pair = sorted((digest, sign(1, Kind.ECHO, 0, digest)) for digest in (BLOCK.hash, other))
    double = evidence.double(CONTEXT, 1, Kind.ECHO, 0, pair[0], pair[1])
    vote, denial = (
        sign(1, Kind.VOTE, 0, BLOCK.hash),
        sign(1, Kind.VIEW_CHANGE, 1, lock_digest(None)),
    )
    amnesia = evidence.amnesia(CONTEXT, 1, (0, BLOCK.hash, vote), (1, None, denial))
    attempt = sha256(b"attempt")
    reports = sorted(
        (digest, sign(1, Kind.REPORT_SIG, 0, report_digest(attempt, digest)))
        for digest in (sha256(b"report"), sha256(b"another report"))
    )
    report = evidence.double_report(CONTEXT, 1, attempt, reports[0], reports[1])
    kinds = [evidence.verify_evidence(CONTEXT, proof).kind for proof in (double, report, amnesia)]
    assert kinds == ["double_echo", "double_report_sig", "amnesia"]

    def head(form: int) -> tuple[Part, ...]:
        return (
            ("version", "u16", 1),
            ("form", "u8", form),
            ("epoch", "u64", w.EPOCH),
            ("context", "bytes32", CONTEXT.digest),
            ("member", "u16", 1),
        )

    def signed(items: list[tuple[bytes, bytes]]) -> list[Part]:
        parts: list[Part] = []
        for at, (digest, signature) in enumerate(items):
            parts += [
                (f"digest {at}", "bytes32", digest),
                (f"signature {at}", "bytes64", signature),
            ]
        return parts

    file = EvidenceFile(CONTEXT, double).encode()
    assert verify_evidence_file(file) == (CONTEXT, evidence.Guilt(1, "double_echo"))
    return {
        "evidence-file": layout(
            file,
            ("version", "u16", 1),
            ("chain_id", "u64", w.EVALUATIONS.chain_id),
            ("contract", "bytes20", w.EVALUATIONS.contract),
            ("network", "bytes32", w.NETWORK_ID),
            ("epoch", "u64", w.EPOCH),
            ("n", "u16", len(w.MEMBERS)),
            *((f"member {at}", "bytes20", member) for at, member in enumerate(w.MEMBERS)),
            ("evidence", "blob", double),
        ),
        "frame-evidence": _framed(Accusation(double), ("evidence", "blob", double)),
        "evidence-double": layout(
            double, *head(1), ("kind", "u8", Kind.ECHO), ("view", "u32", 0), *signed(pair)
        ),
        "evidence-report": layout(
            report, *head(2), ("attempt", "bytes32", attempt), *signed(reports)
        ),
        "evidence-amnesia": layout(
            amnesia,
            *head(3),
            ("vote view", "u32", 0),
            ("block_hash", "bytes32", BLOCK.hash),
            ("vote signature", "bytes64", vote),
            ("view", "u32", 1),
            ("flag", "u8", 0),
            ("signature", "bytes64", denial),
        ),
    }
