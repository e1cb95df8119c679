"""Every endpoint, every status code, over real HTTP against a running node; answers fit the OpenAPI document."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from json_schema import problems
from members import KEYS, REALM, SETTINGS, message
from served import TOKEN, Served, served

from meridian.ephemera.messages.message import DATA_BYTES_MAX, SignedMessage, sign_message
from meridian.ephemera.messages.settings import MempoolLimits
from meridian.node.ephemera.api_routes import (
    ROUTES,
)
from meridian.node.ephemera.documents import (
    BlockDocument,
    ProofDocument,
    message_document,
    verify_block_document,
    verify_proof_document,
)
from meridian.node.ephemera.openapi import openapi
from meridian.primitives import base58
from meridian.primitives.ids import address_text
from meridian.primitives.keys import PrivateKey

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITED = changed(SETTINGS, mempool=MempoolLimits(per_sender_max=4, data_bytes_max=200_000))


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def fault(self) -> str:
        """The field that an error names."""
        return str(self.json["error"]["field"])


@dataclass
class Api:
    """Asks the first node; checks every answer against the OpenAPI document."""

    network: Served
    session: aiohttp.ClientSession
    seen: set[tuple[str, str, int]] = field(default_factory=set)

    async def ask(self, method: str, path: str, route: str | None = None, **more: Any) -> Answer:
        async with self.session.request(method, self.network.url(0) + path, **more) as answer:
            found = Answer(answer.status, answer.headers, await answer.text())
        if route is not None:
            self.seen.add((method, route, found.status))
            described = openapi()["paths"][route][method.lower()]["responses"][str(found.status)]
            if "content" in described:
                schema = described["content"]["application/json"]["schema"]
                assert problems(found.json, schema, openapi()) == []
        return found

    async def get(self, path: str, route: str | None = None, **more: Any) -> Answer:
        return await self.ask("GET", path, route, **more)

    async def post(self, path: str, body: object, route: str | None = None, **more: Any) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | more.pop("headers", {})
        return await self.ask(
            "POST", path, route or path, data=io.BytesIO(data), headers=headers, **more
        )

    async def submit(self, sent: SignedMessage) -> Answer:
        return await self.post(SUBMIT, msgspec.to_builtins(message_document(sent)))

    async def finalised(self, sent: SignedMessage) -> tuple[str, int]:
        """Wait until our own block with the message is final; (hash, index)."""
        wanted = message_document(sent)
        own = address_text(KEYS[0].address)
        while True:
            page = await self.get(f"/ephemera/broadcast/blocks?creator={own}&limit=100", BLOCKS)
            for block in page.json["blocks"]:
                if msgspec.to_builtins(wanted) in block["messages"]:
                    return block["header"]["hash"], block["messages"].index(
                        msgspec.to_builtins(wanted)
                    )
            await asyncio.sleep(0.02)


HEALTH = "/ephemera/node/health"
BLOCK = "/ephemera/broadcast/block/{hash}"
HEIGHT = "/ephemera/broadcast/block/height/{height}"
LAST = "/ephemera/broadcast/blocks/last"
BLOCKS = "/ephemera/broadcast/blocks"
CERTIFICATES = "/ephemera/broadcast/block/certificates/{hash}"
INFO = "/ephemera/broadcast/block/broadcast_info/{hash}"
SUBMIT = "/ephemera/broadcast/submit_message"
VERIFY = "/ephemera/messages/verify"
PROOF = "/ephemera/messages/proof/{block_hash}/{index}"
QUERY = "/ephemera/dht/query/{key}"
STORE = "/ephemera/dht/store"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder: Path = tmp_path_factory.mktemp("api")
    async with served(folder, settings=LIMITED) as network, aiohttp.ClientSession() as session:
        yield Api(network, session)


async def some_block(api: Api) -> tuple[str, int, SignedMessage]:
    sent = message(0, b"a message")
    answer = await api.submit(sent)
    assert (answer.status, answer.json["message_hash"]) == (200, sent.hash(REALM).hex())
    block_hash, index = await api.finalised(sent)
    return block_hash, index, sent


# --- the node ---


async def test_health_and_config(api):
    while (answer := await api.get(HEALTH, HEALTH)).status == 503:
        assert answer.json["reasons"]
        await asyncio.sleep(0.01)
    assert answer.json["status"] == "healthy"
    said = (await api.get("/ephemera/node/config", "/ephemera/node/config")).json
    key = api.network.peers[0].link_key
    assert said["local_peer_id"] == base58.peer_id(key)
    assert said["public_key"] == base58.public_key_text(key)
    assert said["address"] == address_text(KEYS[0].address) == said["address"].lower()
    hints = (await api.get("/ephemera/node/hints", "/ephemera/node/hints")).json["hints"]
    assert [hint["address"] for hint in hints] == [said["address"]]


async def test_group_info(api):
    route = "/ephemera/broadcast/group/info"
    said = (await api.get(route, route)).json
    assert len(said["current_members"]) == 4
    assert said["quorum"] == 3


# --- blocks ---


async def test_a_block_by_hash_proves_itself_and_never_changes(api):
    block_hash, _, sent = await some_block(api)
    answer = await api.get(f"/ephemera/broadcast/block/{block_hash}", BLOCK)
    finalised = verify_block_document(msgspec.json.decode(answer.text, type=BlockDocument))
    assert sent in finalised.block.messages
    assert "immutable" in answer.headers["Cache-Control"]
    tag = answer.headers["ETag"]
    again = await api.get(
        f"/ephemera/broadcast/block/{block_hash}", BLOCK, headers={"If-None-Match": tag}
    )
    assert (again.status, again.text) == (304, "")
    as_base58 = base58.encode(bytes.fromhex(block_hash))
    assert (await api.get(f"/ephemera/broadcast/block/{as_base58}", BLOCK)).text == answer.text


@pytest.mark.parametrize("path", ["block", "block/certificates", "block/broadcast_info"])
async def test_hashes_of_no_block_and_of_wrong_length(api, path):
    route = f"/ephemera/broadcast/{path}/{{hash}}"
    assert (await api.get(f"/ephemera/broadcast/{path}/{'00' * 32}", route)).status == 404
    for text in (
        "00" * 31,
        "00" * 33,
        "zz",
        "1" * 31,
        base58.encode(b"x" * 31),
        "0x",
        "%00",
        "%F0",
    ):
        answer = await api.get(f"/ephemera/broadcast/{path}/{text}", route)
        assert (answer.status, answer.fault) == (400, "hash"), text


async def test_a_block_by_height(api):
    block_hash, _, _ = await some_block(api)
    block = (await api.get(f"/ephemera/broadcast/block/{block_hash}", BLOCK)).json
    height, creator = block["header"]["height"], block["header"]["creator"]
    own = await api.get(f"/ephemera/broadcast/block/height/{height}", HEIGHT)
    assert own.json == block
    query = f"?creator={creator.upper().replace('0X', '0x')}&epoch=1"
    named = await api.get(f"/ephemera/broadcast/block/height/{height}{query}", HEIGHT)
    assert named.json == block
    for path in ("1000000", "0", f"{height}?epoch=9", f"{height}?creator=0x{'00' * 20}"):
        answer = await api.get(f"/ephemera/broadcast/block/height/{path}", HEIGHT)
        assert answer.status == 404, path
    for path in ("one", "-1", "1.0", "9" * 30, f"{height}?epoch=x", f"{height}?creator=x"):
        answer = await api.get(f"/ephemera/broadcast/block/height/{path}", HEIGHT)
        assert answer.status == 400, path


async def test_the_last_block_and_pages(api):
    await some_block(api)
    last = (await api.get(LAST, LAST)).json
    assert (await api.get(f"{LAST}?creator={last['header']['creator']}", LAST)).json == last
    assert (await api.get(f"{LAST}?creator=0x{'00' * 20}", LAST)).status == 404
    assert (await api.get(f"{LAST}?creator=nobody", LAST)).status == 400
    seen, after = [], 0
    while after is not None:
        page = (await api.get(f"{BLOCKS}?limit=2&after={after}", BLOCKS)).json
        seen += [block["sequence"] for block in page["blocks"]]
        after = page["next"]
    assert seen == sorted(set(seen))
    assert last["sequence"] in seen
    high = (await api.get(f"{BLOCKS}?from=1000000", BLOCKS)).json
    assert high == {"blocks": [], "next": None}
    assert (await api.get(f"{BLOCKS}?epoch=2", BLOCKS)).json["blocks"] == []
    for query in ("limit=0", "limit=101", "limit=x", "from=-1", "after=1e3", "creator=1"):
        assert (await api.get(f"{BLOCKS}?{query}", BLOCKS)).status == 400, query


async def test_certificates_and_broadcast_info(api):
    block_hash, _, _ = await some_block(api)
    said = (
        await api.get(f"/ephemera/broadcast/block/certificates/{block_hash}", CERTIFICATES)
    ).json
    assert len(said["certificate"]["votes"]) >= said["certificate"]["quorum"] == 3
    info = (await api.get(f"/ephemera/broadcast/block/broadcast_info/{block_hash}", INFO)).json
    assert {vote["member"] for vote in said["certificate"]["votes"]} == set(info["signers"])
    assert info["broadcast_group"] == [address_text(key.address) for key in KEYS[:4]]


# --- messages ---


async def test_a_message_twice_waits_once_and_then_is_a_replay(api):
    sent = message(0, b"twice")
    assert (await api.submit(sent)).status == 200
    answer = await api.submit(sent)
    assert (answer.status, answer.fault) in {(400, "duplicate"), (409, "replay")}
    await api.finalised(sent)
    answer = await api.submit(sent)
    assert (answer.status, answer.fault) == (409, "replay")


async def test_a_duplicate_is_400(api):
    # Both before the next block is made: the second answer comes from the mempool.
    for _ in range(50):
        sent = message(1, b"again")
        answers = await asyncio.gather(api.submit(sent), api.submit(sent))
        if [(a.status, a.fault) for a in answers if a.status != 200] == [(400, "duplicate")]:
            return
    raise AssertionError("no duplicate in 50 attempts")


async def test_strangers_and_wrong_signatures_are_401(api):
    stranger = sign_message(
        REALM, PrivateKey(b"\x07" * 32), number=0, created_ms=1, label="x", data=b""
    )
    answer = await api.submit(stranger)
    assert (answer.status, answer.fault) == (401, "sender")
    for forged in (
        changed(message(0, b"mine"), data=b"yours"),
        changed(message(0, b"mine"), label="other"),
        changed(message(0, b"mine"), round=9),
        changed(message(0, b"mine"), sender=KEYS[1].address),
    ):
        answer = await api.submit(forged)
        assert (answer.status, answer.fault) == (401, "signature")


async def test_the_application_may_refuse(api):
    answer = await api.submit(message(0, b"bad"))
    assert (answer.status, answer.fault) == (422, "message")
    assert answer.json["error"]["reason"] == "it begins with bad"


async def test_too_long_is_413(api):
    answer = await api.submit(message(0, bytes(200_001)))
    assert (answer.status, answer.fault) == (413, "data")
    document = msgspec.to_builtins(message_document(message(0, b"")))
    answer = await api.post(SUBMIT, document | {"data": "00" * (DATA_BYTES_MAX + 1)})
    assert (answer.status, answer.fault) == (413, "data")
    for path in (SUBMIT, VERIFY):
        answer = await api.post(path, b" " * (1 << 20) + b"{}")
        assert (answer.status, answer.fault) == (413, "body")


async def test_a_senders_share_is_bounded(api):
    sent = [message(2, b"one of many %d" % i) for i in range(30)]
    answers = await asyncio.gather(*(api.submit(one) for one in sent))
    refused = [answer for answer in answers if answer.status != 200]
    assert {(a.status, a.fault) for a in refused} == {(429, "rate")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sender": "0x12"}, "sender"),
        ({"sender": 7}, "sender"),
        ({"round": -1}, "round"),
        ({"round": "x"}, "round"),
        ({"round": "9" * 100}, "round"),
        ({"round": 1 << 63}, "round"),
        ({"created_ms": "1e3"}, "created_ms"),
        ({"label": "x" * 65}, "label"),
        ({"data": "0"}, "data"),
        ({"data": "0 0 "}, "data"),
        ({"signature": "00"}, "signature"),
        ({"signature": "00" * 65}, "signature"),
        ({"extra": 1}, "body"),
    ],
)
async def test_bad_forms_are_400_and_named(api, change, named):
    document = msgspec.to_builtins(message_document(message(0, b"form")))
    answer = await api.post(SUBMIT, document | change)
    assert (answer.status, answer.fault) == (400, named)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"key": "00", "key": "01", "value": "00"}',
        b'{"key": NaN, "value": "00"}',
        b'{"key": 1e999, "value": "00"}',
        b'{"key": 1.0, "value": "00"}',
        b'{"key": ' + b"9" * 5_000 + b', "value": "00"}',
        b'{"key": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 500_000,
        b'{"key": "\\ud800", "value": "00"}',
        b'{"key": "00", "value": "00"} x',
    ],
    ids=range(13),
)
async def test_json_with_two_meanings_is_400(api, body):
    answer = await api.post(STORE, body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 400
    assert (await api.post(SUBMIT, body)).status == 400
    assert (await api.post(VERIFY, body)).status == 400


async def test_other_content_types_are_415(api):
    token = {"Authorization": f"Bearer {TOKEN}"}
    for path in (SUBMIT, VERIFY, STORE):
        for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
            assert (await api.post(path, {}, headers=token | headers)).status == 415


async def test_verify_recomputes_the_proof(api):
    block_hash, index, sent = await some_block(api)
    body = {
        "block_hash": block_hash,
        "message_hash": sent.hash(REALM).hex(),
        "message_index": index,
    }
    assert (await api.post(VERIFY, body)).json == {"verified": True}
    in_base58 = {
        name: base58.encode(bytes.fromhex(body[name])) for name in ("block_hash", "message_hash")
    }
    assert (await api.post(VERIFY, body | in_base58)).json == {"verified": True}
    assert (await api.post(VERIFY, body | {"message_hash": "01" * 32})).json == {"verified": False}
    answer = await api.post(VERIFY, body | {"block_hash": "01" * 32})
    assert answer.status == 404
    for change, named in (
        ({"message_index": 1_000}, "message_index"),
        ({"message_index": -1}, "message_index"),
        ({"message_index": 1 << 70}, "message_index"),
        ({"message_hash": "01" * 31}, "message_hash"),
        ({"message_hash": "1" * 33}, "message_hash"),  # base58 of 33 bytes: it ended the original
        ({"block_hash": base58.encode(b"short")}, "block_hash"),
        ({"block_hash": ""}, "block_hash"),
    ):
        answer = await api.post(VERIFY, body | change)
        assert (answer.status, answer.fault) == (400, named), change


async def test_a_proof_is_verified_offline(api):
    block_hash, index, sent = await some_block(api)
    answer = await api.get(f"/ephemera/messages/proof/{block_hash}/{index}", PROOF)
    document = msgspec.json.decode(answer.text, type=ProofDocument)
    verify_proof_document(document)
    assert document.message_hash == sent.hash(REALM).hex()
    assert (await api.get(f"/ephemera/messages/proof/{block_hash}/9999", PROOF)).status == 404
    assert (await api.get(f"/ephemera/messages/proof/{'00' * 32}/0", PROOF)).status == 404
    for path in (f"{block_hash}/x", f"{block_hash}/-1", f"{'00' * 30}/0"):
        assert (await api.get(f"/ephemera/messages/proof/{path}", PROOF)).status == 400


# --- the replicated store ---


async def test_the_store(api):
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert (await api.get("/ephemera/dht/query/0xab", QUERY)).status == 404  # at once
    stored = await api.post(STORE, {"key": "0xAB", "value": "0x0102"}, headers=token)
    assert stored.json == {"status": "Store request submitted"}
    while (answer := await api.get("/ephemera/dht/query/ab", QUERY)).status == 404:  # noqa: ASYNC110 - the node is asked
        await asyncio.sleep(0.01)
    assert answer.json == {
        "key": "0xab",
        "value": "0x0102",
        "writer": address_text(KEYS[0].address),
        "clock": 1,
    }
    for headers in ({}, {"Authorization": "Bearer " + "00" * 32}, {"Authorization": TOKEN}):
        answer = await api.post(STORE, {"key": "00", "value": "00"}, headers=headers)
        assert (answer.status, answer.fault) == (401, "Authorization")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for body, status, named in (
        ({"key": "", "value": "00"}, 400, "key"),
        ({"key": "00" * 257, "value": "00"}, 400, "key"),
        ({"key": "0", "value": "00"}, 400, "key"),
        ({"key": "00", "value": "0g"}, 400, "value"),
        ({"key": "00", "value": "00" * 65_537}, 413, "value"),
    ):
        answer = await api.post(STORE, body, headers=token)
        assert (answer.status, answer.fault) == (status, named)
    for key in ("xyz", "0", "00" * 257):
        assert (await api.get(f"/ephemera/dht/query/{key}", QUERY)).status == 400
    many = [{"key": f"{i:02x}", "value": "00"} for i in range(60)]
    answers = await asyncio.gather(*(api.post(STORE, one, headers=token) for one in many))
    assert {a.status for a in answers} <= {200, 429}


# --- around the handlers ---


async def test_unknown_paths_and_methods(api):
    assert (await api.get("/")).json == {"error": {"field": "request", "reason": "Not Found"}}
    answer = await api.ask("DELETE", HEALTH)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert (await api.get("/ephemera/broadcast/block/../../../../etc/passwd")).status == 404


async def test_metrics_have_a_bounded_set_of_labels(api):
    await api.get("/nobody/chose/this/path")
    text = (await api.get("/metrics", "/metrics")).text
    for name in (
        "ephemera_healthy 1.0",
        "ephemera_mempool_messages",
        'ephemera_blocks_total{creator="0x',
        "ephemera_slots_unfinished",
        "ephemera_driver_transactions_total",
        'ephemera_api_requests_total{route="/ephemera/broadcast/block/{hash}",status="404"}',
        'ephemera_api_requests_total{route="other",status="404"}',
        'ephemera_link_connected{member="0x',
    ):
        assert name in text, name
    assert "nobody" not in text


async def test_a_client_that_goes_away_disturbs_nothing(api):
    for _ in range(20):
        with pytest.raises((TimeoutError, aiohttp.ClientError)):
            async with asyncio.timeout(0.001):
                await api.submit(message(3, b"gone"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(api.network.url(0).rsplit(":", 1)[1])
    )
    writer.write(
        b"POST /ephemera/broadcast/submit_message HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    del reader
    assert (await api.get(HEALTH, HEALTH)).status == 200


async def test_the_openapi_document_is_that_of_the_routes(api):
    document = (await api.get("/ephemera/openapi.json")).json
    assert document == json.loads(json.dumps(openapi()))
    assert document["openapi"] == "3.1.0"
    paths = {(route.method.lower(), route.path) for route in ROUTES}
    assert paths == {(method, path) for path, item in document["paths"].items() for method in item}
    names = {item["operationId"] for path in document["paths"].values() for item in path.values()}
    assert len(names) == len(ROUTES)


async def test_every_described_answer_was_seen(api):
    """Last: which of the described statuses the tests above have met (those of load and failure have their own file)."""
    elsewhere = {101, 429, 500, 503}
    described = {
        (route.method, route.path, status)
        for route in ROUTES
        for status in (200, *route.refusals)
        if status not in elsewhere and route.handler not in {"websocket", "openapi", "metrics"}
    }
    lacking = described - api.seen
    assert lacking == set()
