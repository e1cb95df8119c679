"""A client of a node's API, for programs and for the command line.

What the node answers is read strictly and, where it proves itself, not believed: `finalised` checks hash,
signatures and votes of a block before it returns it.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from meridian.ephemera.messages.message import Realm, SignedMessage
from meridian.errors import InvalidInput, NotFound, Overloaded, RemoteFault
from meridian.node.ephemera.api_documents import (
    BroadcastInfoDocument,
    CertificatesDocument,
    ConfigDocument,
    EntryDocument,
    ErrorDocument,
    GroupDocument,
    HealthDocument,
    PageDocument,
    StoredDocument,
    SubmittedDocument,
    VerifiedDocument,
)
from meridian.node.ephemera.documents import (
    BlockDocument,
    ProofDocument,
    message_document,
    read_number,
    verify_block_document,
)
from meridian.node.ephemera.storage import FinalisedBlock
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import parse_address, parse_digest

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 256 << 20

T = TypeVar("T")


class EphemeraClient:
    """Asks one node; use it as an asynchronous context manager.

    Every method raises NotFound, InvalidInput (the node's own field and reason), Overloaded, or RemoteFault
    if the node cannot be reached or answers something else.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    # --- the node ---

    async def health(self) -> HealthDocument:
        """Return whether the node can do its part; an unhealthy node is an answer, not an error."""
        return await self._get("/ephemera/node/health", HealthDocument, also=503)

    async def config(self) -> ConfigDocument:
        """Return who the node is."""
        return await self._get("/ephemera/node/config", ConfigDocument)

    async def realm(self) -> Realm:
        """Return where the node's messages are valid."""
        config = await self.config()
        domain = Domain(
            chain_id=read_number(config.chain_id, "chain_id"),
            contract=parse_address(config.contract, "contract"),
        )
        return Realm(domain, parse_digest(config.network, "network"))

    async def group_info(self) -> GroupDocument:
        """Return the present member set."""
        return await self._get("/ephemera/broadcast/group/info", GroupDocument)

    # --- blocks ---

    async def block(self, block_hash: str) -> BlockDocument:
        """Return a block by its hash."""
        return await self._get(f"/ephemera/broadcast/block/{block_hash}", BlockDocument)

    async def block_at_height(self, height: int, **query: str | int) -> BlockDocument:
        """Return a block by height; `query`: creator, epoch."""
        path = f"/ephemera/broadcast/block/height/{height}"
        return await self._get(path, BlockDocument, query)

    async def last_block(self, **query: str | int) -> BlockDocument:
        """Return the block that was finalised last; `query`: creator."""
        return await self._get("/ephemera/broadcast/blocks/last", BlockDocument, query)

    async def blocks(self, **query: str | int) -> PageDocument:
        """Return a page of blocks; `query`: creator, epoch, after, limit, and ``**{"from": height}``."""
        return await self._get("/ephemera/broadcast/blocks", PageDocument, query)

    async def certificates(self, block_hash: str) -> CertificatesDocument:
        """Return the votes under a block."""
        path = f"/ephemera/broadcast/block/certificates/{block_hash}"
        return await self._get(path, CertificatesDocument)

    async def broadcast_info(self, block_hash: str) -> BroadcastInfoDocument:
        """Return who took part in a block."""
        path = f"/ephemera/broadcast/block/broadcast_info/{block_hash}"
        return await self._get(path, BroadcastInfoDocument)

    async def finalised(self, block_hash: str) -> FinalisedBlock:
        """Return a block by its hash, checked; raises InvalidInput if it does not prove itself."""
        return verify_block_document(await self.block(block_hash))

    async def follow(self, **query: str | int) -> AsyncIterator[BlockDocument]:
        """Yield blocks as they become final; `query` as for `blocks`.

        Raises:
            Overloaded: The node says that we were too slow; resume with `after`.
            RemoteFault: The connection ended.
        """
        try:
            async with self._session.ws_connect(
                self._url + "/ephemera/ws",
                params=query,
                timeout=aiohttp.ClientWSTimeout(ws_close=TIMEOUT_S),
                heartbeat=TIMEOUT_S,
                max_msg_size=ANSWER_BYTES_MAX,
            ) as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield _pushed(message.data)
                raise RemoteFault(f"{self._url}: the connection ended, code {socket.close_code}")
        except aiohttp.WSServerHandshakeError as error:
            raise RemoteFault(f"{self._url}: answers {error.status}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RemoteFault(f"{self._url}: {str(error) or type(error).__name__}") from error

    # --- messages ---

    async def submit(self, message: SignedMessage) -> SubmittedDocument:
        """Let a signed message wait for the next blocks."""
        body = message_document(message)
        return await self._post("/ephemera/broadcast/submit_message", body, SubmittedDocument)

    async def verify_message(self, block_hash: str, message_hash: str, index: int) -> bool:
        """Ask the node whether a message stands at a place in a block."""
        body = {"block_hash": block_hash, "message_hash": message_hash, "message_index": index}
        answer = await self._post("/ephemera/messages/verify", body, VerifiedDocument)
        return answer.verified

    async def message_proof(self, block_hash: str, index: int) -> ProofDocument:
        """Return the proof of a message, to be checked offline."""
        return await self._get(f"/ephemera/messages/proof/{block_hash}/{index}", ProofDocument)

    # --- the replicated store ---

    async def query(self, key: bytes) -> EntryDocument:
        """Return the value of a key."""
        return await self._get(f"/ephemera/dht/query/0x{key.hex()}", EntryDocument)

    async def store(self, key: bytes, value: bytes, admin_token: str) -> StoredDocument:
        """Write a value."""
        body = {"key": "0x" + key.hex(), "value": "0x" + value.hex()}
        headers = {"Authorization": f"Bearer {admin_token}"}
        return await self._post("/ephemera/dht/store", body, StoredDocument, headers)

    # --- HTTP ---

    async def _get(
        self,
        path: str,
        kind: type[T],
        query: dict[str, str | int] | None = None,
        *,
        also: int = 200,
    ) -> T:
        return await self._ask("GET", path, kind, also, params=query)

    async def _post(
        self, path: str, body: object, kind: type[T], headers: dict[str, str] | None = None
    ) -> T:
        headers = {"Content-Type": "application/json"} | (headers or {})
        data = msgspec.json.encode(body)
        return await self._ask("POST", path, kind, 200, data=data, headers=headers)

    async def _ask(self, method: str, path: str, kind: type[T], also: int, **more: Any) -> T:
        try:
            async with self._session.request(
                method, self._url + path, allow_redirects=False, **more
            ) as answer:
                body = await _bounded(answer)
                if answer.status in {200, also}:
                    return msgspec.json.decode(body, type=kind)
                raise self._refusal(answer, body)
        except msgspec.DecodeError as error:
            raise RemoteFault(f"{self._url}{path}: {error}") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise RemoteFault(f"{self._url}{path}: {reason}") from error

    def _refusal(self, answer: aiohttp.ClientResponse, body: bytes) -> Exception:
        fault = msgspec.json.decode(body, type=ErrorDocument).error
        if answer.status == 404:
            return NotFound(fault.reason)
        if answer.status == 429:
            return Overloaded(float(answer.headers.get("Retry-After", "1")), fault.reason)
        if answer.status < 500:
            return InvalidInput(fault.field, fault.reason)
        return RemoteFault(f"{self._url}: {fault.field}: {fault.reason}")


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_chunked(1 << 16):
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            raise RemoteFault(f"{answer.url}: answers more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def _pushed(text: str) -> BlockDocument:
    try:
        return msgspec.json.decode(text, type=BlockDocument)
    except msgspec.ValidationError:
        fault = msgspec.json.decode(text, type=ErrorDocument).error
        raise Overloaded(0.0, fault.reason) from None
