"""The HTTP interface of a node; `api_routes` says what there is, `api_errors` what stands around it."""

import asyncio
import hmac
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from meridian import __version__
from meridian.ephemera.messages.block import prove_inclusion
from meridian.ephemera.messages.message import DATA_BYTES_MAX
from meridian.ephemera.messages.store_channel import KEY_BYTES_MAX, VALUE_BYTES_MAX
from meridian.errors import InvalidInput, NotFound
from meridian.node.ephemera import documents
from meridian.node.ephemera.address_hints import AddressHint, encode_hints
from meridian.node.ephemera.api_documents import (
    BroadcastInfoDocument,
    CertificatesDocument,
    ConfigDocument,
    EntryDocument,
    GroupDocument,
    GroupMember,
    HealthDocument,
    PageDocument,
    StoredDocument,
    StoreRequest,
    SubmittedDocument,
    VerifiedDocument,
    VerifyRequest,
)
from meridian.node.ephemera.api_errors import Guard, fault, refuse
from meridian.node.ephemera.api_routes import (
    BLOCKS_LIMIT_MAX,
    ROUTES,
)
from meridian.node.ephemera.config import NodeConfig
from meridian.node.ephemera.documents import MessageDocument, number
from meridian.node.ephemera.membership import Membership
from meridian.node.ephemera.metrics import CONTENT_TYPE, NodeMetrics
from meridian.node.ephemera.node import EphemeraNode
from meridian.node.ephemera.openapi import openapi
from meridian.node.ephemera.storage import BlockQuery, FinalisedBlock
from meridian.node.ephemera.websocket import BlockPush
from meridian.node.strict_json import read_json
from meridian.primitives import base58
from meridian.primitives.ids import Address, address_text, parse_address

SUBMIT_STATUS: Final = {
    "sender": 401,
    "signature": 401,
    "replay": 409,
    "data": 413,
    "message": 422,
}
"""Which status a refused message gets, by the field that the core names."""

STORE_STATUS: Final = {"value": 413, "member": 503}
"""The same for a refused write; `member`: this node observes."""

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_NUMBER_MAX: Final = (1 << 63) - 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """What the handlers work with."""

    node: EphemeraNode
    config: NodeConfig
    membership: Membership
    admin_token: str
    own_hint: AddressHint
    api_port: int


class EphemeraApi:
    """The handlers; one for each line of `api_routes.ROUTES`."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._node = face.node
        self._guard = Guard(face.config.api)
        self._push = BlockPush(face.node, face.config.websocket)
        self._metrics = NodeMetrics(
            face.node, face.membership, self._guard.requests, self._push.clients
        )

    @property
    def busy(self) -> Container[object]:
        """The connections with a request in work."""
        return self._guard.busy

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(
            client_max_size=self._face.config.api.body_bytes_max,
            middlewares=[self._guard.middleware],
        )
        for route in ROUTES:
            app.router.add_route(route.method, route.path, getattr(self, route.handler))
        app.on_shutdown.append(self._push.close)
        return app

    # --- the node ---

    async def health(self, _request: web.Request) -> web.Response:
        """Tell whether the node can do its part."""
        health = self._node.health()
        observer = any(s.observer for s in self._node.status().member_sets[-1:])
        document = HealthDocument(
            status="unhealthy" if health.reasons else "healthy",
            reasons=health.reasons,
            connected=health.connected,
            members=health.members,
            quorum=health.quorum,
            observer=observer,
            membership_problem=self._face.membership.problem,
        )
        return _json(document, status=503 if health.reasons else 200)

    async def node_config(self, _request: web.Request) -> web.Response:
        """Tell who the node is."""
        config, node = self._face.config, self._node
        host, port = config.api.host, self._face.api_port
        shown = f"[{host}]" if ":" in host else host
        kind = "ip6" if ":" in config.links.host else "ip4"
        return _json(
            ConfigDocument(
                name=config.node.name,
                version=__version__,
                address=address_text(node.address),
                local_peer_id=base58.peer_id(node.link_key),
                public_key=base58.public_key_text(node.link_key),
                link_key=node.link_key.hex(),
                protocol_address=f"/{kind}/{config.links.host}/tcp/{node.port}",
                api_address=f"http://{shown}:{port}",
                websocket_address=f"ws://{shown}:{port}/ephemera/ws",
                network=node.realm.network.hex(),
                chain_id=number(node.realm.domain.chain_id),
                contract=address_text(node.realm.domain.contract),
                block_producer=config.blocks.producer,
                block_creation_interval_ms=number(config.blocks.interval_ms),
            )
        )

    async def hints(self, _request: web.Request) -> web.Response:
        """Return signed hints."""
        others = [h for h in self._face.membership.hints() if h.member != self._node.address]
        return _json(encode_hints([self._face.own_hint, *others]))

    async def group_info(self, _request: web.Request) -> web.Response:
        """Return the present member set."""
        present, connected = self._node.member_set, self._node.connected()
        members = tuple(
            GroupMember(
                address=address_text(peer.address),
                peer_id=base58.peer_id(peer.link_key),
                host=peer.host,
                port=peer.port,
                connected=peer.address in connected or peer.address == self._node.address,
            )
            for peer in present.members
        )
        return _json(
            GroupDocument(
                local_address=address_text(self._node.address),
                local_peer_id=base58.peer_id(self._node.link_key),
                epoch=number(present.number),
                quorum=present.context().quorum,
                current_members=members,
            )
        )

    # --- blocks ---

    async def block(self, request: web.Request) -> web.Response:
        """Return a block by its hash; it never changes, so it may be kept for ever."""
        found = await self._find(request.match_info["hash"])
        tag = f'"{found.block.hash.hex()}"'
        headers = {"ETag": tag, "Cache-Control": _IMMUTABLE}
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return _json(documents.block_document(found), headers=headers)

    async def block_at_height(self, request: web.Request) -> web.Response:
        """Return a block by its place in a chain."""
        height = _integer(request.match_info["height"], "height")
        epoch = _query_integer(request, "epoch", self._node.member_set.number)
        creator = _creator(request) or self._node.address
        return _json(
            documents.block_document(
                _known(await self._node.block_at(epoch, creator, height), "block")
            )
        )

    async def last_block(self, request: web.Request) -> web.Response:
        """Return the block that was finalised last."""
        found = await self._node.last_block(_creator(request))
        return _json(documents.block_document(_known(found, "block")))

    async def blocks(self, request: web.Request) -> web.Response:
        """Return a page of blocks."""
        limit = _query_integer(request, "limit", 20)
        if not 1 <= limit <= BLOCKS_LIMIT_MAX:
            raise InvalidInput("limit", f"must be 1..{BLOCKS_LIMIT_MAX}")
        found = await self._node.blocks(block_query(request, limit))
        following = number(found[-1].sequence) if found else None
        page = await asyncio.to_thread(
            lambda: tuple(documents.block_document(block) for block in found)
        )
        return _json(PageDocument(blocks=page, next=following))

    async def certificates(self, request: web.Request) -> web.Response:
        """Return the certificate of a block."""
        found = await self._find(request.match_info["hash"])
        return _json(
            CertificatesDocument(
                header=documents.header_document(found.block.header, found.context),
                certificate=documents.certificate_document(found.certificate, found.context),
                member_set=documents.member_set_document(found.context),
            )
        )

    async def broadcast_info(self, request: web.Request) -> web.Response:
        """Return who took part in a block."""
        found = await self._find(request.match_info["hash"])
        members = [address_text(Address(member)) for member in found.context.members]
        return _json(
            BroadcastInfoDocument(
                local_address=address_text(self._node.address),
                local_peer_id=base58.peer_id(self._node.link_key),
                epoch=number(found.context.epoch),
                broadcast_group=tuple(members),
                signers=tuple(members[member] for member, _ in found.certificate.votes),
            )
        )

    # --- messages ---

    async def submit_message(self, request: web.Request) -> web.Response:
        """Take a signed message."""
        document = await _body(request, MessageDocument)
        if len(document.data.removeprefix("0x")) > 2 * DATA_BYTES_MAX:
            return fault("data", f"at most {DATA_BYTES_MAX} bytes", 413)
        message = documents.read_message(document)
        try:
            await self._node.submit(message)
        except InvalidInput as error:
            return refuse(error, SUBMIT_STATUS)
        message_hash = message.hash(self._node.realm).hex()
        return _json(SubmittedDocument(status="Message submitted", message_hash=message_hash))

    async def verify_message(self, request: web.Request) -> web.Response:
        """Recompute the Merkle proof of a message."""
        asked = await _body(request, VerifyRequest)
        message_hash = documents.read_hash(asked.message_hash, "message_hash")
        found = await self._find(asked.block_hash, "block_hash")
        hashes = await asyncio.to_thread(found.block.message_hashes, self._node.realm)
        if not 0 <= asked.message_index < len(hashes):
            raise InvalidInput("message_index", f"the block has {len(hashes)} messages")
        proof = prove_inclusion(hashes, asked.message_index)
        holds = proof.holds(found.block.header) and proof.message == message_hash
        return _json(VerifiedDocument(verified=holds))

    async def message_proof(self, request: web.Request) -> web.Response:
        """Return the proof of a message."""
        index = _integer(request.match_info["index"], "index")
        found = await self._find(request.match_info["block_hash"], "block_hash")
        hashes = await asyncio.to_thread(found.block.message_hashes, self._node.realm)
        if index >= len(hashes):
            raise NotFound(f"the block has {len(hashes)} messages")
        proof = prove_inclusion(hashes, index)
        return _json(documents.proof_document(found, proof), headers={"Cache-Control": _IMMUTABLE})

    # --- the replicated store ---

    async def dht_query(self, request: web.Request) -> web.Response:
        """Return the value of a key."""
        key = documents.read_hex(request.match_info["key"], "key", bytes_max=KEY_BYTES_MAX)
        entry = _known(await self._node.get(key), "value")
        return _json(
            EntryDocument(
                key="0x" + key.hex(),
                value="0x" + entry.value.hex(),
                writer=address_text(entry.writer),
                clock=number(entry.clock),
            )
        )

    async def dht_store(self, request: web.Request) -> web.Response:
        """Write a value."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._face.admin_token}".encode()):
            answer = fault("Authorization", "the admin token is needed as a bearer token", 401)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        asked = await _body(request, StoreRequest)
        key = documents.read_hex(asked.key, "key", bytes_max=KEY_BYTES_MAX)
        if len(asked.value.removeprefix("0x")) > 2 * VALUE_BYTES_MAX:
            return fault("value", f"at most {VALUE_BYTES_MAX} bytes", 413)
        value = documents.read_hex(asked.value, "value", bytes_max=VALUE_BYTES_MAX)
        try:
            await self._node.put(key, value)
        except InvalidInput as error:
            return refuse(error, STORE_STATUS)
        return _json(StoredDocument(status="Store request submitted"))

    # --- the rest ---

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """Push finalised blocks."""
        if not self._face.config.websocket.enabled:
            raise NotFound("the WebSocket is not enabled")
        resume = "from" in request.query or "after" in request.query
        return await self._push.serve(
            request, block_query(request, BLOCKS_LIMIT_MAX), resume=resume
        )

    async def openapi(self, _request: web.Request) -> web.Response:
        """Return the description of this interface."""
        return web.json_response(openapi())

    async def metrics(self, _request: web.Request) -> web.Response:
        """Return Prometheus metrics."""
        if not self._face.config.metrics.enabled:
            raise NotFound("metrics are not enabled")
        return web.Response(
            body=await self._metrics.render(), headers={"Content-Type": CONTENT_TYPE}
        )

    async def _find(self, text: str, field: str = "hash") -> FinalisedBlock:
        return _known(await self._node.block(documents.read_hash(text, field)), "block")


def block_query(request: web.Request, limit: int) -> BlockQuery:
    """Read which blocks a request wants; raises InvalidInput."""
    epoch = _query_integer(request, "epoch", -1)
    return BlockQuery(
        after=_query_integer(request, "after", 0),
        epoch=None if epoch < 0 else epoch,
        creator=_creator(request),
        from_height=_query_integer(request, "from", 1),
        limit=limit,
    )


def _creator(request: web.Request) -> Address | None:
    text = request.query.get("creator")
    return None if text is None else parse_address(text, "creator")


def _query_integer(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    return default if text is None else _integer(text, name)


def _integer(text: str, field: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > _NUMBER_MAX:
        raise InvalidInput(field, "is no number")
    return int(text)


async def _body(request: web.Request, kind: type[T]) -> T:
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise web.HTTPUnsupportedMediaType(reason="application/json is needed - not encoded")
    return read_json(await request.read(), kind)


def _known(found: T | None, what: str) -> T:
    if found is None:
        raise NotFound(f"no such {what} here")
    return found


def _json(
    document: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        content_type="application/json",
        headers=headers,
    )
