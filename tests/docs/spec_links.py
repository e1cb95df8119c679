"""Examples of page 06: durable records, link identities and link frames."""

import spec_world as w
from spec_layout import Example, Values, layout

from meridian.ephemera import frame as frames
from meridian.ephemera import journal
from meridian.ephemera.context import Context
from meridian.ephemera.message import WANT_DECISION, Ask
from meridian.node import link_frames
from meridian.node.link_identity import anchor_certificate, link_identity
from meridian.primitives.ids import address_text


def examples(context: Context) -> dict[str, Example]:
    return {**_records(context), **_links()}


def _records(context: Context) -> dict[str, Example]:
    own = w.MEMBERS[0]
    return {
        "record-context": layout(
            journal.context_value(context, own, observer=False),
            ("context", "bytes32", context.digest),
            ("own", "bytes20", own),
            ("observer", "u8", 0),
        ),
        "record-view": layout(journal.view_value(1, 2), ("view", "u32", 1), ("wish", "u32", 2)),
        "record-evidence-key": layout(
            journal.evidence_key(1, "amnesia"), ("member", "u16", 1), ("kind", "bytes7", b"amnesia")
        ),
    }


def _links() -> dict[str, Example]:
    identity = link_identity(w.LINK_SEED)
    anchor = anchor_certificate(identity.link_key)
    hello = link_frames.Hello(w.NETWORK_ID, w.MEMBERS[0], w.MEMBERS[1]).encode()
    return {
        "link-identity": Values(
            {
                "seed": w.LINK_SEED,
                "link key": identity.link_key,
                "anchor (DER)": anchor,
                "leaf (DER)": identity.leaf_der,
            }
        ),
        "link-hello": layout(
            link_frames.encode_frame(link_frames.Kind.HELLO, hello),
            ("length", "u32", 1 + len(hello)),
            ("kind", "u8", 1),
            ("version", "u16", 1),
            ("network", "bytes32", w.NETWORK_ID),
            ("sender", "bytes20", w.MEMBERS[0]),
            ("receiver", "bytes20", w.MEMBERS[1]),
            sender=address_text(w.MEMBERS[0]),
        ),
        "link-ping": layout(
            link_frames.encode_frame(link_frames.Kind.PING), ("length", "u32", 1), ("kind", "u8", 2)
        ),
        "link-small": layout(
            link_frames.encode_frame(
                link_frames.Kind.SMALL, frames.encode(Ask(WANT_DECISION), w.EPOCH)
            ),
            ("length", "u32", 12),
            ("kind", "u8", 4),
            ("message", "bytes11", frames.encode(Ask(WANT_DECISION), w.EPOCH)),
        ),
    }
