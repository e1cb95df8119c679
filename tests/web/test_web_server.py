"""The explorer's server over real HTTP: files, headers, news, complaints; on directories of the test's own."""

import asyncio
import contextlib
import gzip
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from meridian.contracts.deployment import Addresses
from meridian.errors import RemoteFault
from meridian.node.network_file import NetworkFile
from meridian.node.web import events, headers
from meridian.node.web.complaint_desk import Clock, ComplaintDesk
from meridian.node.web.complaint_request import ComplaintRequest
from meridian.node.web.complaint_store import ComplaintStore
from meridian.node.web.events import EventHub
from meridian.node.web.http import Face, WebHttp
from meridian.node.web.proof_proxy import ProofProxy
from meridian.node.web.proven import Proven
from meridian.node.web.site_keeper import SiteKeeper
from meridian.node.web.static_files import StaticFiles
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address, node_key
from meridian.primitives.keys import PrivateKey

NOW_S = 1_700_000_000
OPERATOR, PAYEE, STRANGER = (PrivateKey(bytes(31) + bytes([n])) for n in (1, 2, 3))
NODE = "node-1"
NETWORK = NetworkFile(
    network="test",
    chain_id=31337,
    rpc_url="http://127.0.0.1:1",
    contracts=Addresses(*(Address(bytes(19) + bytes([n])) for n in range(1, 5))),
    deploy_block=0,
    genesis_s=NOW_S - 10_000,
    epoch_seconds=1_000,
    first_epoch=1,
    measure_url="",
    publications=("public",),
    function="count",
    aggregator=OPERATOR.address,
    log_vkey="",
    schema_digest=bytes(32),
    parameters_digest=bytes(32),
    evaluators=(),
)


class Registered:
    """The Registry with one node, or out of reach."""

    out_of_reach = False

    def accounts(self, key):
        if self.out_of_reach:
            raise RemoteFault("the chain does not answer")
        known = {node_key(NODE): frozenset({OPERATOR.address, PAYEE.address})}
        return known.get(key, frozenset())


class Steps:
    """A builder that changes what the test says, and verdicts that the test brings."""

    def __init__(self) -> None:
        self.changed: list[set[int]] = []
        self.verdicts: set[Proven] = set()
        self.error: Exception | None = None

    def update(self):
        if self.error is not None:
            raise self.error
        return self.changed.pop() if self.changed else set()

    def stop(self):
        self.stopped = True

    def new(self):
        return self.verdicts


@dataclass
class Place:
    """A server under test."""

    client: TestClient
    site: Path
    public: Path
    steps: Steps
    registered: Registered
    keeper: SiteKeeper
    hub: EventHub
    store: ComplaintStore


@contextlib.asynccontextmanager
async def serving(root: Path):
    site, public = root / "site", root / "public"
    for folder in (site / "assets", site / "data", public / "objects"):
        folder.mkdir(parents=True)
    (site / "index.html").write_text("<!doctype html><title>M</title>")
    (site / "assets" / "index.js").write_text("export const x = 1;\n" * 500)
    (site / "data" / "nodes.col").write_bytes(bytes(range(256)) * 20_000)
    (site / ".secret").write_text("hidden")
    (root / "key").write_text("outside")
    (site / "link").symlink_to(root / "key")
    (public / "objects" / "bafy").write_text("<script>alert(1)</script>")
    store, steps, registered, hub = (
        ComplaintStore(root / "complaints.sqlite"), Steps(), Registered(), EventHub(),
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    keeper = SiteKeeper(
        steps,
        store,
        steps,
        site,
        lambda epochs: loop.call_soon_threadsafe(hub.publish, list(epochs)),
        0.02,
    )
    desk = ComplaintDesk(store, registered, NETWORK, Clock(lambda: NOW_S, loop.time))
    face = Face(
        site=site,
        publications=[public],
        files=StaticFiles(),
        events=hub,
        desk=desk,
        complaints=store,
        proofs=ProofProxy(""),
        keeper=keeper,
    )
    client = TestClient(TestServer(WebHttp(face).application()), auto_decompress=False)
    try:
        async with client:
            yield Place(client, site, public, steps, registered, keeper, hub, store)
    finally:
        keeper.stop()
        store.close()


async def until(condition) -> None:
    """Wait for what a thread does, at most ten seconds."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not happen")


def complaint(
    text: str = "my jobs are missing",
    key: PrivateKey = OPERATOR,
    epoch: int = 3,
    at_s: int = NOW_S,
    node: str = NODE,
) -> ComplaintRequest:
    return ComplaintRequest.sign(NETWORK, node, epoch, text, at_s, key)


async def file(place: Place, body: bytes, kind: str = "application/json"):
    answer = await place.client.post("/api/complaints", data=body, headers={"Content-Type": kind})
    return answer.status, await answer.json()


async def test_files_are_compressed_and_validated(tmp_path):
    async with serving(tmp_path) as place:
        plain = await place.client.get("/assets/index.js", headers={"Accept-Encoding": "identity"})
        packed = await place.client.get("/assets/index.js", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await packed.read()) == await plain.read()
        assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert plain.headers["ETag"] != packed.headers["ETag"]
        asked = {"Accept-Encoding": "gzip", "If-None-Match": f"W/{packed.headers['ETag']}"}
        again = await place.client.get("/assets/index.js", headers=asked)
        assert (again.status, await again.read()) == (304, b"")
        (place.site / "new").write_text("export const x = 2;\n" * 501)
        (place.site / "new").rename(place.site / "assets" / "index.js")
        fresh = await place.client.get("/assets/index.js", headers=asked)
        assert fresh.status == 200
        assert b"x = 2" in gzip.decompress(await fresh.read())


async def test_long_files_are_streamed_and_parts_served(tmp_path):
    async with serving(tmp_path) as place:
        whole = await place.client.get("/data/nodes.col")
        assert len(await whole.read()) == 5_120_000
        part = await place.client.get("/data/nodes.col", headers={"Range": "bytes=256-259"})
        assert (part.status, await part.read()) == (206, b"\0\1\2\3")


@pytest.mark.parametrize(
    "path",
    ["/.secret", "/link", "/..%2fkey", "/%2e%2e/key", "/assets", "/assets/", "/none", "/a%00b",
     "/index.html/x", "/assets//index.js", "/" + "x" * 600, "/publications/7/objects/bafy"],
)  # fmt: skip
async def test_nothing_else_is_served(tmp_path, path):
    async with serving(tmp_path) as place:
        url = place.client.make_url("/").with_path(path, encoded=True)
        answer = await place.client.session.get(url)
        assert answer.status == 404
        assert (await answer.json())["error"]["field"] == "path"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/none",
        "/api/complaints",
        "/healthz",
        "/publications/0/objects/bafy",
        "/data/nodes.col",
    ],
)
async def test_every_answer_has_the_security_headers(tmp_path, path):
    async with serving(tmp_path) as place:
        answer = await place.client.get(path)
        for name, value in headers.SECURITY.items():
            assert answer.headers[name] == value
        assert "Cache-Control" in answer.headers


async def test_published_bytes_are_never_a_page(tmp_path):
    async with serving(tmp_path) as place:
        answer = await place.client.get("/publications/0/objects/bafy")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "immutable" in answer.headers["Cache-Control"]


async def test_readiness_follows_the_site(tmp_path):
    async with serving(tmp_path) as place:
        assert (await place.client.get("/readyz")).status == 503
        place.steps.error = RemoteFault("the chain does not answer")
        place.keeper.start()
        await until(lambda: place.keeper.problem is not None)
        assert (await place.client.get("/readyz")).status == 503
        assert (await place.client.get("/healthz")).status == 200
        place.steps.error = None
        place.keeper.hurry()
        await until(lambda: place.keeper.rounds > 0)
        assert (await place.client.get("/readyz")).status == 200
        state = await (await place.client.get("/state")).json()
        assert (state["ready"], state["problem"]) == (True, None)
        assert 0 <= state["age_s"] < 60
        text = await (await place.client.get("/metrics")).text()
        assert "meridian_web_site_current 1.0" in text
        assert 'meridian_web_requests_total{route="/readyz",status="503"} 2.0' in text
        place.steps.error = ZeroDivisionError()
        place.keeper.hurry()
        await until(lambda: place.keeper.failure is not None)
        assert (await place.client.get("/healthz")).status == 503


async def test_news_reach_everybody_who_listens(tmp_path):
    async with serving(tmp_path) as place:
        one, two = [await place.client.get("/events") for _ in range(2)]
        assert one.headers["Content-Type"] == "text/event-stream"
        place.steps.changed = [{4, 3}]
        place.keeper.start()
        for answer in (one, two):
            lines = [await asyncio.wait_for(answer.content.readline(), 5) for _ in range(6)]
            assert lines == [
                b"retry: 3000\n", b"\n", b'data: {"epoch": 3}\n', b"\n", b'data: {"epoch": 4}\n', b"\n",
            ]  # fmt: skip
        one.close()
        two.close()
        await until(lambda: len(place.hub) == 0)


async def test_listeners_are_bounded_and_end_with_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "CLIENTS_MAX", 1)
    async with serving(tmp_path) as place:
        listening = await place.client.get("/events")
        refused = await place.client.get("/events")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
        place.hub.close()
        assert (await asyncio.wait_for(listening.content.read(), 5)).startswith(b"retry")


async def test_many_changes_for_a_slow_reader_become_one():
    hub = EventHub(heartbeat_s=0.01)
    client = events._Client()
    client.add(range(events.EPOCHS_AT_ONCE_MAX + 1))
    assert client.take() == [None]
    assert await hub._next(client) == ": still here\n\n"


async def test_a_complaint_is_kept_shown_and_repeated(tmp_path):
    async with serving(tmp_path) as place:
        place.keeper.start()
        body = complaint().encode()
        status, answer = await file(place, body)
        assert status == 201
        kept = answer["complaint"]
        assert (kept["state"], kept["epoch"], kept["nodeId"]) == ("open", 3, NODE)
        assert kept["signer"] == "0x" + OPERATOR.address.hex()
        assert await file(place, body) == (200, answer)
        path = place.site / "data" / "complaints.json"
        await until(lambda: path.is_file() and json.loads(path.read_text()) == [kept])
        place.store.answer(bytes.fromhex(kept["id"]), "we look into it")
        await until(lambda: json.loads(path.read_text())[0]["state"] == "answered")
        place.steps.verdicts = {Proven(3, node_key("another")), Proven(4, None)}
        await asyncio.sleep(0.1)
        assert json.loads(path.read_text())[0]["state"] == "answered"
        place.steps.verdicts = {Proven(3, node_key(NODE))}
        await until(lambda: json.loads(path.read_text())[0]["state"] == "proved")
        assert json.loads(path.read_text())[0]["answer"] == "we look into it"


async def test_the_payee_complains_with_a_wallets_signature(tmp_path):
    """A wallet answers r, s and v; what is kept is the one canonical form."""
    async with serving(tmp_path) as place:
        request = complaint(key=PAYEE)
        s = int.from_bytes(request.signature[32:], "big")
        v = 27 + (s >> 255)
        wallet = request.signature[:32] + (s & ((1 << 255) - 1)).to_bytes(32, "big") + bytes([v])
        body = json.loads(request.encode()) | {"signature": "0x" + wallet.hex()}
        status, answer = await file(place, json.dumps(body).encode())
        assert status == 201
        assert answer["complaint"]["signature"] == "0x" + request.signature.hex()


WRONG = {
    "signature": (complaint(key=STRANGER), {}),
    "nodeKey": (complaint(node="node-2", key=OPERATOR), {}),
    "epoch": (complaint(epoch=12), {}),
    "atS": (complaint(at_s=NOW_S - 4_000), {}),
    "network": (complaint(), {"network": "0x" + "11" * 32}),
    "nodeId": (complaint(), {"nodeId": ""}),
    "text": (complaint(), {"text": "a\u202eb"}),
    "unknown": (complaint(), {"more": 1}),
}


@pytest.mark.parametrize("field", WRONG)
async def test_a_wrong_complaint_is_refused_by_its_field(tmp_path, field):
    async with serving(tmp_path) as place:
        request, change = WRONG[field]
        status, answer = await file(
            place, json.dumps(json.loads(request.encode()) | change).encode()
        )
        assert status == 400
        assert answer["error"]["field"] == {"unknown": "body"}.get(field, field)
        assert place.store.newest() == []


async def test_what_was_changed_after_signing_has_another_signer(tmp_path):
    async with serving(tmp_path) as place:
        body = json.loads(complaint().encode()) | {"text": "all is well"}
        status, answer = await file(place, json.dumps(body).encode())
        assert (status, answer["error"]["field"]) == (400, "signature")


async def test_other_bodies_are_refused(tmp_path):
    async with serving(tmp_path) as place:
        assert (await file(place, complaint().encode(), "text/plain"))[0] == 415
        assert (await file(place, b"[" * 10_000))[0] == 400
        assert (await file(place, b" " * (17 << 10)))[0] == 413
        place.registered.out_of_reach = True
        assert (await file(place, complaint().encode()))[0] == 502


async def test_one_address_may_not_flood(tmp_path):
    async with serving(tmp_path) as place:
        answers = [(await file(place, complaint(str(n)).encode()))[0] for n in range(12)]
        assert answers == [201] * 10 + [429] * 2
        assert (await file(place, complaint("0").encode()))[0] == 429


def test_complaints_survive_and_are_shared_between_processes(tmp_path):
    """Two connections at once, as the server and the operator's command have them; then a third, later."""
    path = tmp_path / "complaints.sqlite"
    first, second = ComplaintStore(path), ComplaintStore(path)
    request = complaint()
    stored = _stored(request)
    threads = [threading.Thread(target=one.add, args=(stored,)) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.answer(second.find(request.id.hex()[:10]).id, "yes")
    assert [one.state for one in first.newest()] == ["answered"]
    first.close()
    second.close()
    again = ComplaintStore(path)
    assert again.get(request.id).answer == "yes"
    assert again.counts() == {"open": 0, "answered": 1, "proved": 0}
    again.close()


def _stored(request: ComplaintRequest):
    desk_store = ComplaintStore(Path(":memory:"))
    desk = ComplaintDesk(desk_store, Registered(), NETWORK, Clock(lambda: NOW_S, lambda: 0.0))
    return desk.take(request.encode(), "")[0]


def test_the_type_that_is_signed():
    """The bytes that a wallet computes from the typed data, written out once more."""
    kind = keccak(b"Complaint(bytes32 network,bytes32 nodeKey,uint64 epoch,string text,uint64 atS)")
    one = complaint("späť")
    fields = one.complaint
    words = fields.network + fields.node_key + (3).to_bytes(32, "big")
    words += keccak("späť".encode()) + NOW_S.to_bytes(32, "big")
    domain = NETWORK.domain(NETWORK.contracts.commitments).separator
    assert one.id == keccak(b"\x19\x01" + domain + keccak(kind + words))


async def test_a_proof_is_asked_for_by_key_alone(tmp_path):
    async with serving(tmp_path) as place:
        for path in ("1/node/x", "1/node-key/xyz", "x/node-key/" + "0" * 64, "../epochs"):
            assert (await place.client.get(f"/api/proofs/{path}")).status == 404
        assert isinstance(place.client.session, aiohttp.ClientSession)
