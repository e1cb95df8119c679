"""A body that comes too slowly is given up, and its place in the work is free again."""

import asyncio

from aiohttp import web

from meridian.node.measure import jobs_route
from meridian.node.measure.jobs_route import JobsRoute
from meridian.node.measure.limits import JobsLimits, Rates

HEAD = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer secret\r\n"
    b"Content-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n"
)
RATES = Rates(requests_per_s=10, bytes_per_s=1 << 20)
LIMITS = JobsLimits(gateway=RATES, node=RATES, requests_max=1, bytes_max=1 << 20)


async def test_it_is_answered_with_408_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(jobs_route, "BODY_WAIT_S", 0.2)
    route = JobsRoute(None, None, {"gateway": "secret"}, LIMITS)  # neither is asked
    app = web.Application()
    route.add_to(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(HEAD + b"{" * 99)  # and never the last byte
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in answer  # or the rest would be read as another request
        writer.close()
        with route._work.request() as share:
            share.grow_to(LIMITS.bytes_max)  # all of it is free
    finally:
        await runner.cleanup()
