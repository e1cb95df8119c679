"""The explorer as people use it: a real network, `meridian demo --keep`, and a real Chromium.

Each test is one thing that somebody wants; no page may call elsewhere, break its policy or log an error meanwhile.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

import pytest

pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (it is a development dependency)"
)

from tests.web import pictures
from tests.web.browser import CHROMIUM, MISSING, chromium, faults_of, guarded
from tests.web.kept_demo import SETTINGS, KeptDemo, kept_demo
from tests.web.wallet import Wallet

from meridian.journey.chain_setup import operator_key
from meridian.journey.layout import Layout
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_view import ChainView
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import address_text, node_key
from meridian.primitives.keys import PrivateKey

pytestmark = [pytest.mark.journey, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]

EPOCH = 2
COIN = 10**18
LIVE_MS = 60_000


@dataclass
class Place:
    """The running network, a browser, and what the chain says."""

    demo: KeptDemo
    browser: Any
    network: NetworkFile
    rpc: Rpc
    unpaid: list[str]
    """Ids of nodes that nobody claims for."""
    paid: str
    """Id of a node whose operator has been paid, and has coins."""

    @property
    def view(self) -> ChainView:
        return ChainView(self.rpc, self.network.contracts, self.network.deploy_block)

    def key_of(self, node_id: str) -> PrivateKey:
        return operator_key(Layout(self.demo.data_dir), node_id)

    def balance(self, key: PrivateKey) -> int:
        return int(self.rpc.call("eth_getBalance", address_text(key.address), "latest"), 16)

    @contextmanager
    def page(
        self, path: str = "", wallet: Wallet | None = None, refused: int = 0, **more: Any
    ) -> Iterator[Any]:
        """A page of the site; whatever it does that it must not fails the test at the end.

        `refused`: so many requests may be refused, which browsers always log.
        """
        with guarded(self.browser, self.demo.url, **more) as (context, guard):
            if wallet is not None:
                wallet.inject(context)
            page = context.new_page()
            page.goto(self.demo.url + path)
            page.locator("main h1").first.wait_for()
            yield page
            logged = [one for one in guard.found if "status of 4" in one]
            assert [one for one in guard.found if one not in logged] == []
            assert len(logged) == refused


def meridian(*arguments: object) -> str:
    command = [sys.executable, "-m", "meridian.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    settings = pictures.NETWORK if pictures.WANTED else SETTINGS
    folder = tmp_path_factory.mktemp("explorer")
    with kept_demo(folder, settings=settings) as demo, chromium() as browser:
        demo.wait()
        network = NetworkFile.load(demo.data_dir)
        rpc = Rpc(network.rpc_url)
        view = ChainView(rpc, network.contracts, network.deploy_block)
        drawn = {claim.node_key for claim in view.claims()}
        result = json.loads((demo.data_dir / "results" / f"epoch-{EPOCH:06d}.json").read_text())
        earning = [one["node_id"] for one in result["payees"] if float(one["proportion"]) > 0]
        unpaid = [one for one in earning if node_key(one) not in drawn]
        paid = next(one for one in earning if node_key(one) in drawn)
        yield Place(demo, browser, network, rpc, unpaid, paid)
        rpc.close()


def to_node(node: str, epoch: int | None = EPOCH) -> str:
    return f"#/node/{node_key(node).hex()}" + ("" if epoch is None else f"/{epoch}")


def test_the_guard_sees_what_no_page_may_do(place):
    """The policy stops an inline script and a picture from elsewhere, and each of the other tests would tell."""
    with guarded(place.browser, place.demo.url) as (context, guard):
        page = context.new_page()
        page.goto(place.demo.url)
        page.evaluate(
            "() => { const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
            " document.body.append(script); new Image().src = 'http://127.0.0.1:9/x.png'; }"
        )
        page.wait_for_timeout(200)
        assert page.evaluate("window.ran") is None
        policies = {one.split(": ")[1] for one in guard.found if one.startswith("policy: ")}
        assert policies == {"script-src-elem", "img-src"}


def test_a_node_is_found_and_its_verdicts_are_read(place):
    """By its id as it is, and by its operator's address in capitals; the figures are those of the publications."""
    node = place.unpaid[0]
    told = json.loads(
        meridian(
            "node", "show", "--data-dir", place.demo.data_dir,
            "--epoch", EPOCH, "--node", node, "--json",
        )
    )  # fmt: skip
    with place.page() as page:
        page.locator("#find-node").fill(node)
        page.keyboard.press("Enter")
        page.locator("h1", has_text=node).wait_for()
        page.goto(f"{place.demo.url}#/search?q=0x{place.key_of(node).address.hex().upper()}")
        page.locator("h1", has_text=node).wait_for()
        page.goto(place.demo.url + to_node(node))
        table = page.locator("table", has_text="What it means")
        table.wait_for()
        rows = [row.locator("td, th").all_inner_texts() for row in table.locator("tbody tr").all()]
        shown = sorted(int(row[1].replace(",", "")) for row in rows)
        assert shown == sorted([told["succeeded"], *filter(None, told["failures"].values())])
        facts = page.locator("dl.facts", has_text="Proportion").inner_text()
        assert f"{int(told['weight']):,}" in facts


def test_a_proof_is_verified_in_the_page_and_breaks_where_it_is_changed(place, tmp_path):
    with place.page(to_node(place.unpaid[0])) as page:
        page.get_by_role("link", name="Check the proof in this page").click()
        page.locator(".verdict.ok").wait_for()
        steps = page.locator("ol.steps > li").count()
        assert steps > 3
        field = page.locator("#proof-text")
        file = tmp_path / "proof.json"
        file.write_text(field.input_value())
        meridian("proof", "verify", file, "--data-dir", place.demo.data_dir)
        key = node_key(place.unpaid[0]).hex()
        with urlopen(f"{place.demo.url}api/proofs/{EPOCH}/node-key/{key}") as answer:
            assert answer.headers["Meridian-Proof-Kind"] == "node"
            file.write_bytes(answer.read())
        meridian("proof", "verify", file, "--data-dir", place.demo.data_dir)
        document = json.loads(field.input_value())
        path = document["node"]["path"]
        path[-1] = format(int(path[-1][0], 16) ^ 1, "x") + path[-1][1:]
        field.fill(json.dumps(document))
        page.locator(".verdict.bad").wait_for()
        failed = page.locator("#failed-step")
        assert "does not hold" in failed.locator("summary").inner_text()
        assert failed.locator("details").get_attribute("open") is not None


def test_proofs_are_downloaded_by_their_buttons(place, tmp_path):
    """The node's and the claim's, as files that the command accepts."""
    with place.page(to_node(place.unpaid[0])) as page:
        for button in ("Download the proof", "Download the claim's proof"):
            with page.expect_download() as saved:
                page.get_by_role("button", name=button, exact=True).click()
            file = tmp_path / saved.value.suggested_filename
            saved.value.save_as(file)
            meridian("proof", "verify", file, "--data-dir", place.demo.data_dir)
        assert len(list(tmp_path.iterdir())) == 2


def test_receipts_are_read_and_none_leaves_the_page(place, tmp_path):
    """Those that the run's gateway got: as they are, one with a digit changed, one cut short, and one too large."""
    kept = tmp_path / "receipts.jsonl"  # a copy: the run goes on, and gets more
    grown = (place.demo.data_dir / "gateway" / "receipts.jsonl").read_text()
    kept.write_text(grown[: grown.rindex("\n") + 1])
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    real = lines[0]["receipt"]
    changed = real | {"deadline_epoch": real["deadline_epoch"] + 1}
    files = {
        "real.json": json.dumps(real),
        "changed.json": json.dumps(changed),
        "cut.json": json.dumps(real)[:-9],
        "large.json": " " * (1 << 20) + json.dumps(real),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with place.page(to_node(place.unpaid[0])) as page:
        field = page.locator(".receipts input[type=file]")
        field.set_input_files([tmp_path / name for name in files])
        rows = page.locator(".receipts tbody tr")
        rows.first.wait_for()
        found = {row.locator("td").last.inner_text(): row.inner_text() for row in rows.all()}
        assert sorted(found) == ["changed.json", "real.json"]
        assert "holds" in found["real.json"]
        assert "does not hold: it is not the named aggregator's" in found["changed.json"]
        page.locator(".receipts tbody", has_text="yes, committed to epoch").wait_for()
        troubles = page.locator(".receipts .error li").all_inner_texts()
        assert [one.split(":")[0] for one in troubles] == ["cut.json", "large.json"]
        assert faults_of(page) == []
        field.set_input_files(kept)
        page.locator(".receipts caption", has_text=f"{len(lines)} receipt").wait_for()
        assert "all signatures hold" in page.locator(".receipts caption").inner_text()


@pytest.mark.skipif(not pictures.WANTED, reason="MERIDIAN_PICTURES=1 takes the docs' pictures")
def test_the_pictures_of_the_docs(place):
    with guarded(place.browser, place.demo.url, viewport=pictures.WINDOW, color_scheme="light") as (
        context,
        guard,
    ):
        pictures.take_all(place.demo, context.new_page(), pictures.IMAGES)
        assert guard.found == []


def test_a_claim_with_a_wallet_pays_what_was_due(place):
    """The operator has no coin for gas, so somebody sends it one first; then its balance grows by what was due."""
    node = place.unpaid[0]
    operator = place.key_of(node)
    wallet = Wallet(operator, place.rpc)
    gift = {"to": wallet.address, "value": hex(COIN)}
    Wallet(place.key_of(place.paid), place.rpc).send(gift)
    claimed = partial(place.view.rewards.read, "claimed", node_key(node))
    assert claimed() == 0
    with place.page(to_node(node), wallet) as page:
        button = page.get_by_role("button", name="Claim with your wallet")
        button.wait_for()
        before = place.balance(operator)
        wallet.declines = True
        button.click()
        page.locator(".claim [data-stage=failed]", has_text="declined").wait_for()
        assert place.balance(operator) == before
        wallet.declines = False
        button.click()
        page.locator(".claim [data-stage=done]", has_text="Paid").wait_for()
        (paid,) = [one for one in place.view.claims() if one.node_key == node_key(node)]
        receipt = place.rpc.call("eth_getTransactionReceipt", "0x" + paid.tx_hash.hex())
        gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        assert paid.amount == claimed() > 0
        assert place.balance(operator) == before + paid.amount - gas


def test_a_complaint_is_filed_shown_and_answered(place, tmp_path):
    """By the wallet of the node's operator; another's wallet is refused."""
    node, text = place.unpaid[1], "Three of my jobs are missing — see my receipts."
    stranger = Wallet(place.key_of(place.unpaid[2]), place.rpc)
    with place.page(to_node(node), stranger, refused=1) as page:
        page.locator("form.complaint textarea").fill(text)
        page.get_by_role("button", name="Sign and file").click()
        refused = page.locator("form.complaint [data-stage=failed]")
        refused.wait_for()
        assert "operator or payee" in refused.inner_text()
    with place.page(to_node(node), Wallet(place.key_of(node), place.rpc)) as page:
        page.locator("form.complaint textarea").fill(text)
        page.get_by_role("button", name="Sign and file").click()
        page.locator("form.complaint [data-stage=done]").wait_for()
        page.goto(f"{place.demo.url}#/complaints")
        page.get_by_text(text).wait_for()
        where = place.demo.data_dir
        (kept,) = json.loads(meridian("complaint", "list", where, "--json"))["complaints"]
        assert (kept["nodeId"], kept["text"], kept["state"]) == (node, text, "open")
        meridian("complaint", "answer", where, kept["id"][:12], "--text", "We have found them.")
        page.get_by_text("We have found them.").wait_for()
        key = tmp_path / "operator.key"
        key.write_text(place.key_of(node).secret.hex())
        key.chmod(0o600)
        meridian(
            "complaint", "file", where, "--node", node, "--epoch", 1, "--text", "From a command.",
            "--key", key, "--url", place.demo.url,
        )  # fmt: skip
        page.get_by_text("From a command.").wait_for()


def test_an_epoch_goes_from_open_to_paid_while_the_page_is_watched(place):
    """From before it begins; the page is never loaded again: what it shows comes by events."""
    with place.page() as page:
        epoch = place.view.registry.read("next_epoch")
        page.goto(f"{place.demo.url}#/epoch/{epoch}")
        page.evaluate(
            "() => { window.seen = []; window.loaded = 1;"
            " new MutationObserver(() => {"
            "  const now = document.querySelector('main .state')?.className.split('state-')[1];"
            "  if (now && window.seen.at(-1) !== now) window.seen.push(now);"
            " }).observe(document.body, {childList: true, subtree: true, attributes: true, characterData: true}); }"
        )
        page.wait_for_function("() => window.seen.at(-1) === 'paid'", timeout=LIVE_MS)
        seen = page.evaluate("window.seen")
        assert page.evaluate("window.loaded") == 1
        assert seen[0] == "open"
        assert "challenge" in seen


PAGES = [
    "",
    "#/epoch/1",
    "#/evaluators",
    "#/evaluator/{evaluator}",
    "#/money",
    "#/complaints",
    "#/node/{node}/2",
    "#/proof?epoch=2&place=1",
    "#/search?q=nothing",
]


@pytest.mark.parametrize(
    "more",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"viewport": {"width": 360, "height": 740}, "has_touch": True},
    ],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_no_serious_fault(place, more):
    names = {
        "evaluator": address_text(place.network.evaluators[0].address),
        "node": node_key(place.unpaid[0]).hex(),
    }
    found = {}
    with place.page(**more) as page:
        for path in PAGES:
            page.goto(place.demo.url + path.format(**names))
            page.locator("main h1").first.wait_for()
            page.wait_for_function("() => !document.querySelector('main .loading')")
            if faults := faults_of(page):
                found[path] = faults
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{path} is wider than the window by {wide} px"
    assert found == {}


def test_a_plain_directory_is_enough(place):
    """The site's files behind a server that knows nothing of them: the proof holds, complaints are nobody's."""
    site = place.demo.data_dir / "web" / "site"

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    try:
        with guarded(place.browser, url) as (context, guard):
            page = context.new_page()
            page.goto(url + to_node(place.unpaid[0]))
            page.get_by_text("This site is plain files").wait_for()
            page.get_by_role("link", name="Check the proof in this page").click()
            page.locator(".verdict.ok").wait_for()
            assert [one for one in guard.found if "status of 404" not in one] == []
    finally:
        server.shutdown()
        server.server_close()


def test_ctrl_c_ends_all_of_it(place):
    """Last: no process of the network is left."""
    assert place.demo.stop() == 0
    left = subprocess.run(
        ["pgrep", "-f", str(place.demo.data_dir)], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""
