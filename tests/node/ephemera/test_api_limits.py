"""What one client may do to a node and its other clients: rates, times, slow readers, and a node that is ill."""

import asyncio
import functools
import json

import aiohttp
import pytest
from members import KEYS, REALM, Network, message
from mesh import until, within
from served import Served, config, served
from test_node import Failing

from meridian.errors import Overloaded, RemoteFault
from meridian.node.ephemera.api_connections import bound_connections
from meridian.node.ephemera.client import EphemeraClient
from meridian.node.ephemera.documents import verify_block_document
from meridian.node.ephemera.rate_limit import RateLimit
from meridian.node.ephemera.websocket import CLOSE_LAGGED
from meridian.primitives.ids import address_text

HEALTH = "/ephemera/node/health"


def test_the_rate_of_a_client_is_bounded_and_so_is_the_table():
    rate = RateLimit(per_s=2, burst=3, clients_max=2)
    assert [rate.delay_s("a", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [rate.delay_s("a", 10.0) for _ in range(100)] == [0.5] * 100  # a refusal costs nothing
    assert rate.delay_s("b", 10.0) == 0
    assert rate.delay_s("a", 10.5) == 0
    assert rate.delay_s("a", 10.5) > 0
    assert rate.delay_s("c", 10.5) == 0  # b was quiet longest and is forgotten
    assert len(rate) == 2
    assert rate.delay_s("a", 10.6) > 0


@within(90)
async def test_too_many_requests_are_429_and_later_ones_are_served(tmp_path):
    settings = config(api={"requests_per_s": 1, "requests_burst": 5})
    async with served(tmp_path, settings) as network, aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(12):
            async with session.get(network.url(0) + "/ephemera/node/config") as answer:
                statuses.append(answer.status)
                if answer.status == 429:
                    assert int(answer.headers["Retry-After"]) >= 1
                    assert (await answer.json())["error"]["field"] == "rate"
        assert statuses[:5] == [200] * 5
        assert 429 in statuses
        await asyncio.sleep(1.1)
        async with session.get(network.url(0) + "/ephemera/node/config") as answer:
            assert answer.status == 200


@within(90)
async def test_a_body_that_never_ends_does_not_hold_the_place(tmp_path):
    settings = config(
        api={"timeout_ms": 2_000, "concurrency_max": 1, "requests_per_s": 99, "requests_burst": 99}
    )
    async with served(tmp_path, settings) as network, aiohttp.ClientSession() as session:
        port = int(network.url(0).rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /ephemera/messages/verify HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        await writer.drain()
        await until(lambda: network.apis[0]._guard._at_work == 1)
        async with session.get(network.url(0) + "/ephemera/node/config") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()
        async with session.get(network.url(0) + "/ephemera/node/config") as answer:
            assert answer.status == 200


@within(90)
async def test_strangers_who_connect_and_say_nothing_are_closed(tmp_path):
    async with served(tmp_path) as network, aiohttp.ClientSession() as session:
        server = network.server(0)
        task = asyncio.create_task(bound_connections(server, network.apis[0].busy, 10, age_s=3))
        port = int(network.url(0).rsplit(":", 1)[1])
        async with session.ws_connect(network.url(0) + "/ephemera/ws") as socket:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
            silent[1][1].write(b"GET /ephemera/node/config HTTP/1.1\r\nX: ")  # ever so slowly
            await until(lambda: len(server.connections) <= 10)
            async with session.get(network.url(0) + "/ephemera/node/config") as answer:
                assert answer.status == 200
            for reader, writer in silent:
                assert await reader.read() == b""  # the others go by their age
                writer.close()
            assert not socket.closed
            reading = asyncio.ensure_future(socket.receive())
            await network.nodes[0].submit(message(0, b"the socket still works"))
            assert (await reading).type is aiohttp.WSMsgType.TEXT
        task.cancel()


@within(90)
async def test_an_ill_node_says_so(tmp_path):
    network = Served(tmp_path)
    network.heard[0] = Failing()
    await network.start(0, 1, 2)
    await network.serve(0)
    try:
        async with EphemeraClient(network.url(0)) as client:
            await until(lambda: len(network.nodes[0].connected()) == 2)
            assert (await client.health()).status == "healthy"
            await network.nodes[1].submit(message(1, b"the application cannot take it"))
            with pytest.raises(RuntimeError):
                await network.nodes[0].join()
            health = await client.health()
            assert health.status == "unhealthy"
            assert "the block driver does not run" in health.reasons
            with pytest.raises(RemoteFault, match="cannot answer now"):
                await client.submit(message(0, b"refused"))
            network.nodes[0].storage.close()
            assert any("storage" in reason for reason in (await client.health()).reasons)
            with pytest.raises(RemoteFault, match="cannot answer now"):
                await client.block("00" * 32)
            await network.stop(1, 2)
            while not any("connected" in r for r in (await client.health()).reasons):  # noqa: ASYNC110 - the node is asked
                await asyncio.sleep(0.05)
    finally:
        await network.stop_serving()
        with pytest.raises(RuntimeError):
            await network.stop(0)
        await network.stop()


async def fill(network: Network, count: int, size: int = 8) -> None:
    """Let so many messages of member 0 be finalised, each in a block of its own."""
    storage = network.nodes[0].storage
    for i in range(count):
        sent = message(0, i.to_bytes(4, "big") * (size // 4))
        await network.nodes[0].submit(sent)
        await until(functools.partial(storage.contains_message, 1, 0, sent.hash(REALM)))


@within(90)
async def test_websocket_pushes_resumes_and_filters(tmp_path):
    async with served(tmp_path) as network, EphemeraClient(network.url(0)) as client:
        pushed = client.follow()
        first = asyncio.ensure_future(anext(pushed))
        await until(lambda: network.apis[0]._push.clients() == 1)
        await fill(network, 1)
        verify_block_document(await first)
        await pushed.aclose()
        await fill(network, 3)
        own = address_text(KEYS[0].address)
        stored = (await client.blocks(creator=own, limit=100)).blocks
        heights = [block.header.height for block in stored]
        assert len(heights) >= 4
        resumed = client.follow(**{"creator": own, "from": 2})
        got = [await anext(resumed) for _ in heights[1:]]
        assert [block.header.height for block in got] == heights[1:]
        await fill(network, 1)
        live = await anext(resumed)
        assert live.header.height == heights[-1] + 1  # no gap and none twice
        await resumed.aclose()
        after = client.follow(after=got[-1].sequence)
        assert int((await anext(after)).sequence) > int(got[-1].sequence)
        await after.aclose()


@within(90)
async def test_a_lagging_websocket_client_is_told_and_closed(tmp_path):
    settings = config(websocket={"queue_blocks": 1, "ping_ms": 20_000})
    async with served(tmp_path, settings) as network, aiohttp.ClientSession() as session:
        url = network.url(0) + "/ephemera/ws"
        async with session.ws_connect(url, max_msg_size=0, autoping=True) as socket:
            transport = socket._response.connection.transport
            transport.pause_reading()  # a client that does not read
            await fill(network, 8, size=250_000)
            transport.resume_reading()
            texts = [m.data async for m in socket if m.type is aiohttp.WSMsgType.TEXT]
            assert socket.close_code == CLOSE_LAGGED
        fault = json.loads(texts[-1])["error"]
        assert fault["field"] == "lagged"
        async with EphemeraClient(network.url(0)) as client:
            after = int(fault["reason"].rsplit("=", 1)[1])
            sent = [int(json.loads(text)["sequence"]) for text in texts[:-1]]
            stored = [int(b.sequence) for b in (await client.blocks(limit=100)).blocks]
            missed = [int(b.sequence) for b in (await client.blocks(after=after, limit=100)).blocks]
            assert missed
            whole = (
                sent + missed
            )  # nothing was sent, where the first block found the queue full already
            assert whole[: len(stored)] == stored[stored.index(whole[0]) :]


@within(90)
async def test_websocket_clients_are_counted_pinged_and_told_of_the_end(tmp_path):
    settings = config(websocket={"clients_max": 1, "ping_ms": 1_000})
    async with served(tmp_path, settings) as network, aiohttp.ClientSession() as session:
        url = network.url(0) + "/ephemera/ws"
        async with session.ws_connect(url, autoping=True) as socket:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(url)
            assert caught.value.status == 503
            reading = asyncio.ensure_future(socket.receive())
            await socket.ping(b"are you there")
            await socket.send_str("what clients say is ignored")
            await asyncio.sleep(2.5)  # two pings of the node are answered meanwhile
            assert not reading.done()
            await network.stop_serving(0)
            await reading
            assert socket.close_code == 1001
            await network.serve(0, settings=settings)


@within(90)
async def test_bad_websocket_queries_and_a_disabled_websocket(tmp_path):
    settings = config(websocket={"enabled": False}, metrics={"enabled": False})
    async with served(tmp_path) as network, EphemeraClient(network.url(0)) as client:
        for query in ({"creator": "x"}, {"from": "x"}, {"after": -1}):
            with pytest.raises(RemoteFault, match="answers 400"):
                await anext(client.follow(**query))
        await network.serve(1, settings=settings)
        async with EphemeraClient(network.url(1)) as other, aiohttp.ClientSession() as session:
            with pytest.raises(RemoteFault, match="answers 404"):
                await anext(other.follow())
            async with session.get(network.url(1) + "/metrics") as answer:
                assert answer.status == 404
        with pytest.raises(RemoteFault):
            async with EphemeraClient("http://127.0.0.1:9") as nobody:
                await nobody.health()


@within(90)
async def test_the_client_hears_overload(tmp_path):
    settings = config(api={"requests_per_s": 1, "requests_burst": 1})
    async with served(tmp_path, settings) as network, EphemeraClient(network.url(0)) as client:
        with pytest.raises(Overloaded) as caught:
            for _ in range(20):  # one is served, and one more for every second that this takes
                await client.config()
        assert caught.value.retry_after_s == 1
