"""The one table of the HTTP interface: paths, what they take, what they answer. Server and OpenAPI follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from meridian.node.ephemera.address_hints import HintsDocument
from meridian.node.ephemera.api_documents import (
    BroadcastInfoDocument,
    CertificatesDocument,
    ConfigDocument,
    EntryDocument,
    GroupDocument,
    HealthDocument,
    PageDocument,
    StoredDocument,
    StoreRequest,
    SubmittedDocument,
    VerifiedDocument,
    VerifyRequest,
)
from meridian.node.ephemera.documents import (
    BlockDocument,
    MessageDocument,
    ProofDocument,
)

BLOCKS_LIMIT_MAX: Final = 100
"""Blocks on one page."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the path or the query."""

    name: str
    description: str
    kind: str = "string"
    place: str = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation; `handler` names the method of `api.EphemeraApi`."""

    method: str
    path: str
    handler: str
    summary: str
    answer: type[msgspec.Struct] | None
    """The body of 200; None: described in `summary`."""
    request: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    refusals: Mapping[int, str]
    """Further status codes, besides those that every operation may answer."""
    secured: bool = False


EVERYWHERE: Final[Mapping[int, str]] = {
    400: "A value is wrong; the error names it",
    429: "Too many requests; see Retry-After",
    500: "A fault of the node",
    503: "The node cannot answer now; see Retry-After",
}

_HASH = Parameter("hash", "Block hash, hex or base58", place="path")
_NO_BLOCK: Final = {404: "No such block"}
_CREATOR = Parameter("creator", "Address of the member that made the block")
_EPOCH = Parameter("epoch", "Number of the member set", "integer")

ROUTES: Final = (
    Route(
        method="GET",
        path="/ephemera/node/health",
        handler="health",
        summary="Whether the node can do its part",
        answer=HealthDocument,
        refusals={503: "It cannot; the body says why"},
    ),
    Route(
        method="GET",
        path="/ephemera/node/config",
        handler="node_config",
        summary="Who the node is",
        answer=ConfigDocument,
        refusals={},
    ),
    Route(
        method="GET",
        path="/ephemera/node/hints",
        handler="hints",
        summary="Signed hints of where members are reached: our own and those that we know",
        answer=HintsDocument,
        refusals={},
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/block/{hash}",
        handler="block",
        summary="A finalised block, with its proof",
        answer=BlockDocument,
        parameters=(_HASH,),
        refusals=_NO_BLOCK | {304: "It is what If-None-Match names"},
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/block/height/{height}",
        handler="block_at_height",
        summary="A finalised block by height, of our own chain unless a creator is given",
        answer=BlockDocument,
        parameters=(
            Parameter("height", "From 1", "integer", "path"),
            _CREATOR,
            Parameter("epoch", "Number of the member set; the present one without it", "integer"),
        ),
        refusals=_NO_BLOCK,
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/blocks/last",
        handler="last_block",
        summary="The block that was finalised last here, of one creator or of all",
        answer=BlockDocument,
        parameters=(_CREATOR,),
        refusals=_NO_BLOCK,
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/blocks",
        handler="blocks",
        summary="Finalised blocks in the order in which they came to this node",
        answer=PageDocument,
        parameters=(
            _CREATOR,
            _EPOCH,
            Parameter("from", "Lowest height", "integer"),
            Parameter(
                "after", "Only blocks after this sequence: `next` of the page before", "integer"
            ),
            Parameter("limit", f"1..{BLOCKS_LIMIT_MAX}", "integer"),
        ),
        refusals={},
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/block/certificates/{hash}",
        handler="certificates",
        summary="The votes that made a block final",
        answer=CertificatesDocument,
        parameters=(_HASH,),
        refusals=_NO_BLOCK,
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/block/broadcast_info/{hash}",
        handler="broadcast_info",
        summary="The member set of a block, and who voted",
        answer=BroadcastInfoDocument,
        parameters=(_HASH,),
        refusals=_NO_BLOCK,
    ),
    Route(
        method="GET",
        path="/ephemera/broadcast/group/info",
        handler="group_info",
        summary="The present member set",
        answer=GroupDocument,
        refusals={},
    ),
    Route(
        method="POST",
        path="/ephemera/broadcast/submit_message",
        handler="submit_message",
        summary="Let a signed message wait for the next blocks",
        answer=SubmittedDocument,
        request=MessageDocument,
        refusals={
            400: "Bad form, or the message waits already (field duplicate)",
            401: "The sender is unknown or the signature is not the sender's",
            409: "The message stands in a finalised block of this node",
            413: "Body or data too long",
            415: "Not application/json",
            422: "The application refuses it",
            429: "Too many requests, or mempool or the sender's share of it is full",
        },
    ),
    Route(
        method="POST",
        path="/ephemera/messages/verify",
        handler="verify_message",
        summary="Whether a message stands at a place in a block, by its Merkle proof",
        answer=VerifiedDocument,
        request=VerifyRequest,
        refusals=_NO_BLOCK | {413: "Body too long", 415: "Not application/json"},
    ),
    Route(
        method="GET",
        path="/ephemera/messages/proof/{block_hash}/{index}",
        handler="message_proof",
        summary="Proof that a message stands in a final block, to be verified offline",
        answer=ProofDocument,
        parameters=(
            Parameter("block_hash", "Block hash, hex or base58", place="path"),
            Parameter("index", "Place of the message, from 0", "integer", "path"),
        ),
        refusals={404: "No such block, or it has no such message"},
    ),
    Route(
        method="GET",
        path="/ephemera/dht/query/{key}",
        handler="dht_query",
        summary="The value of a key of the replicated store",
        answer=EntryDocument,
        parameters=(Parameter("key", "Hex, 0x allowed", place="path"),),
        refusals={404: "The key has no value"},
    ),
    Route(
        method="POST",
        path="/ephemera/dht/store",
        handler="dht_store",
        summary="Write to the replicated store; needs the admin token",
        answer=StoredDocument,
        request=StoreRequest,
        refusals={
            401: "No valid bearer token",
            413: "Body, key or value too long",
            415: "Not application/json",
            429: "Too many requests, or too many writes under way",
        },
        secured=True,
    ),
    Route(
        method="GET",
        path="/ephemera/ws",
        handler="websocket",
        summary="WebSocket: every finalised block as a JSON text frame",
        answer=None,
        parameters=(
            _CREATOR,
            _EPOCH,
            Parameter("from", "Send stored blocks from this height on first", "integer"),
            Parameter("after", "Send stored blocks after this sequence first", "integer"),
        ),
        refusals={101: "Upgraded", 404: "Not enabled"},
    ),
    Route(
        method="GET",
        path="/ephemera/openapi.json",
        handler="openapi",
        summary="This description, as OpenAPI 3.1",
        answer=None,
        refusals={},
    ),
    Route(
        method="GET",
        path="/metrics",
        handler="metrics",
        summary="Prometheus metrics, as text",
        answer=None,
        refusals={404: "Not enabled"},
    ),
)
