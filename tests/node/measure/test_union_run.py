"""A real run: two aggregators' services, one submission to both, a node that commits itself; evaluators take the union.

The services are processes; the chain is served from here, so that its time is ours.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from measure_world import Process, lines, make_config

from meridian.audit.case import Case
from meridian.audit.epoch import MEASURED_STEPS, audit_epoch, verify_epoch_evidence
from meridian.audit.evidence import Link, State, run_steps
from meridian.audit.node_account import account_of
from meridian.contracts.deployment import Parameters, Terms
from meridian.contracts.statements import SelfCommit
from meridian.errors import RemoteFault
from meridian.journey import chain_setup
from meridian.journey.layout import Layout
from meridian.measure.columns import segment_columns, write_segment
from meridian.measure.epoch import Calendar
from meridian.measure.manifest import Manifest
from meridian.measure.own_jobs import own_jobs
from meridian.measure.signed_note import verifier_of
from meridian.node.audit_chain import ContractChain
from meridian.node.audit_sources import PublishedSource, network_values
from meridian.node.chain import jsonrpc
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import EpochCommitments
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.evaluator.chain_access import ChainAccess
from meridian.node.evaluator.publish import Evidence, publish_outcome
from meridian.node.evaluator.work import EpochWork, prepare
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.measure.config import ChainAccess as Access
from meridian.node.measure.ledger import ChainLedger
from meridian.node.measure.publication import Publication
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import address_text, network_id, node_key
from meridian.reward.members import pay_key
from node.evaluator import evaluator_world as small
from node.evaluator.evaluator_committee import Committee

EPOCH, SECONDS, SEALING_S = 5, 100, 90
BUDGET = 1_000_000
PUBLICATIONS = ("one/measure/public", "two/measure/public", "delta/public", "evaluators/1/public")
SEED = digest_of(b"the submitter's")


def job(node: str, name: str, size: int, start_us: int) -> dict[str, Any]:
    def text(us: int) -> str:
        return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")

    fields = {"status": 200, "size": size}
    return {
        "job_id": name,
        "peer_id": node,
        "started_at": text(start_us + 1000),
        "ended_at": text(start_us + 2000),
        "evaluation_fields": [
            {"name": key, "type": "integer", "value": value} for key, value in fields.items()
        ],
        "additional_fields": [],
    }


class Run:
    """Everything up to the evaluators' agreement, made once."""

    def __init__(self, root: Path) -> None:
        self.root, self.layout = root, Layout(root)
        self.accounts = chain_setup.Accounts.load(self.layout, 4)
        self.keys = {
            name: load_or_create_key(root / name / "keys/aggregator.key") for name in ("one", "two")
        }
        self._start_chain()
        self.rpc = Rpc(self.url)
        self.genesis_s = small.GENESIS_S
        self.calendar = Calendar(self.genesis_s, SECONDS, EPOCH)
        self._deploy()
        self.start_us = self.calendar.start_us(EPOCH)
        self.services = {name: self._service(name) for name in self.keys}

    def _start_chain(self) -> None:
        """Serve a chain whose clock is ours."""
        accounts = [*self.accounts.addresses, *(key.address for key in self.keys.values())]
        alloc = dict.fromkeys(accounts, 10**24)
        self.clock = small.Clock()
        self.chain = EmbeddedChain(
            self.root / "chain.sqlite", small.CHAIN_ID, alloc, clock=self.clock
        )
        chain, lock = self.chain, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    found = jsonrpc.answer(chain._methods, body) or b""
                    chain.mine()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def sender(self, name: str) -> Sender:
        path = self.layout.sender(name)
        path.parent.mkdir(exist_ok=True)
        return Sender(self.rpc, getattr(self.accounts, name), path)

    def _deploy(self) -> None:
        sponsor, relayer = self.sender("sponsor"), self.sender("relayer")
        parameters = Parameters(
            network=network_id(small.NAME),
            genesis_s=self.genesis_s,
            epoch_seconds=SECONDS,
            first_epoch=EPOCH,
            node_stake_min_atto=chain_setup.NODE_STAKE_ATTO,
            evaluator_stake_min_atto=chain_setup.EVALUATOR_STAKE_ATTO,
            exit_delay_s=60,
            aggregators=tuple(key.address for key in self.keys.values()),
            challenge_seconds=1,
            sealing_seconds=SEALING_S,
            function_digest=small.DEFINITION.evaluation_function.digest,
            parameters_digest=small.DEFINITION.parameters.digest,
            owner=sponsor.address,
            terms=Terms(rule=0, aggregators_ppm=100_000),
        )
        addresses = chain_setup.deploy_planned(sponsor, parameters)
        log_key = load_or_create_secret(self.root / "one/keys/log.key")
        network = replace(
            small.network_file(addresses, self.accounts),
            rpc_url=self.url,
            genesis_s=self.genesis_s,
            epoch_seconds=SECONDS,
            publications=PUBLICATIONS,
            aggregator=self.keys["one"].address,
            log_vkey=verifier_of("log.one", log_key).text,
        )
        self.net = small.Net(
            self.root, self.rpc, small.Clock(), network, self.accounts, small.SOURCE
        )
        small.set_up_members(self.net, relayer)
        chain_setup.fund(sponsor, self.net.view, EPOCH, 1, BUDGET)
        chain_setup.open_epochs(relayer, self.net.view, EPOCH)
        sponsor.close()
        relayer.close()

    def _service(self, name: str) -> Process:
        root, contracts = self.root / name, self.net.network.contracts
        access = Access(
            rpc_url=self.url,
            registry=address_text(contracts.registry),
            evaluations=address_text(contracts.evaluations),
            rewards=address_text(contracts.rewards),
        )
        config = make_config(
            root,
            network=small.NAME,
            schema_file=root / "small.schema",
            log_origin=f"log.{name}",
            commitments=address_text(contracts.commitments),
            chain=access,
            nodes_file=None,
            genesis_s=self.genesis_s,
            epoch_seconds=SECONDS,
            first_epoch=EPOCH,
        )
        (root / "small.schema").write_bytes(small.SCHEMA.encode())
        return Process(root, config)

    def submit(self) -> None:
        """Send one batch to both, and to each something of its own."""
        both = lines(
            job(n, f"b{i}", 10 * i, self.start_us) for n in ("alpha", "beta") for i in range(5)
        )
        alone = {
            "one": [("gamma", "g", 7), ("beta", "x", 1)],
            "two": [("beta", "x", 2), ("beta", "y", 3)],
        }
        for name, service in self.services.items():
            client = service.client()
            client.set_clock(self.calendar.end_us(EPOCH))
            assert client.submit(both, seed=SEED).accepted == 10
            own = lines(job(*one, self.start_us) for one in alone[name])
            assert client.submit(own, seed=SEED).accepted == 2

    def commit_itself(self) -> None:
        """Let delta, whom nobody measured, publish its jobs and commit itself."""
        row = {
            "node_id": "delta",
            "job_id": "own",
            "flags": 0,
            "started_us": self.start_us + 1,
            "ended_us": self.start_us + 2,
            "batch_seed": SEED,
            "status": 200,
            "size": 5,
            "city": None,
        }
        segment = write_segment(pa.Table.from_pylist([row], schema=segment_columns(small.SCHEMA)))
        Publication(self.root / "delta/public").put(segment)
        own = own_jobs(segment, small.SCHEMA, self.calendar, EPOCH, "delta")
        says = SelfCommit(
            network_id(small.NAME),
            EPOCH,
            node_key("delta"),
            own.tree_hash,
            own.annotation,
            own.segment,
            1 << 40,
        )
        contract = self.net.view.commitments
        signed = chain_setup.operator_key(self.layout, "delta").sign(
            says.digest(self.net.network.domain(contract.address))
        )
        words = int.from_bytes(signed[:32], "big"), int.from_bytes(signed[32:], "big")
        relayer = self.sender("relayer")
        data = contract.encode("self_commit", *says.arguments, *words)
        relayer.transact(contract.address, data, purpose="self-commit")
        relayer.close()

    def standing(self) -> EpochCommitments:
        known: dict[int, EpochCommitments] = {}
        self.net.view.follow_commitments(known)
        return known[EPOCH]

    def work(self) -> EpochWork:
        """Do what an evaluator does, from what the services serve and the publications hold."""
        net = self.net
        client = ArtefactClient(self.services["one"].url, net.network.places(self.root))
        access = replace(
            net.access(client.fetch),
            mirror=Publication(self.root / "evaluators/1/public").put,
            gives_up=False,
        )
        standing = self.standing()
        assert standing.evaluated is not None
        return prepare(standing.evaluated, access, standing.contributions)

    def report(self, work: EpochWork) -> None:
        """Agree, transmit and publish."""
        committee = Committee.of(self.net)
        decided = committee.decide(EPOCH, work).decided
        key = self.accounts.evaluators[0]
        access = ChainAccess(self.net.network, key, self.root / "transactions.sqlite")
        accepted, settled = committee.report(EPOCH, access)
        evidence = Evidence(
            commitment=work.commitment,
            terms=work.terms,
            settled=settled,
            decided=decided,
            observation=work.observation,
            accepted=accepted,
            signatures=access.accepted_signatures(accepted),
            node_ids=work.node_ids,
            union=work.union,
        )
        publish_outcome(Publication(self.root / "evaluators/1/public"), evidence)
        access.close()

    @property
    def source(self) -> PublishedSource:
        network = self.net.network
        chain = ContractChain(self.rpc, network)
        return PublishedSource(self.root, PUBLICATIONS, network_values(network), chain)

    def end(self) -> None:
        for service in self.services.values():
            service.stop()
        self.rpc.close()
        self.server.shutdown()
        self.server.server_close()
        self.chain.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("union"))
    try:
        public = Publication(run.root / "one/measure/public")
        public.put(small.DEFINITION.parameters.encode())
        run.submit()
        end_s = run.calendar.end_us(EPOCH) // 1_000_000
        run.clock.now_s = end_s + 1
        run.commit_itself()
        run.clock.now_s = end_s + SEALING_S * 2 // 3
        for service in run.services.values():
            service.client().seal(EPOCH)
        for service in run.services.values():
            service.client().wait_committed(EPOCH)
        run.clock.now_s = end_s + SEALING_S
        run.report(run.work())
        yield run
    finally:
        run.end()


def test_a_service_does_not_commit_while_nodes_may_commit_themselves(run: Run) -> None:
    contract, end_s = run.net.view.commitments, run.calendar.end_us(EPOCH + 1) // 1_000_000
    sender = run.sender("sponsor")
    cut_off_s = end_s + SEALING_S * 2 // 3
    assert run.net.view.registry.rpc.call("eth_blockNumber") != "0x0"
    wall = {"now_s": float(cut_off_s - 1)}
    ledger = ChainLedger(sender, contract, now_s=lambda: wall["now_s"])
    with pytest.raises(RemoteFault, match=f"commit themselves until {cut_off_s}"):
        ledger.self_committed(EPOCH + 1)  # the chain's newest block is older than that too
    wall["now_s"] = float(cut_off_s + SEALING_S // 6)  # no block comes: our clock stands in
    assert ledger.self_committed(EPOCH + 1) == ()
    assert [ref.node_key for ref in ledger.self_committed(EPOCH)] == [node_key("delta")]
    sender.close()


def links_of(run: Run) -> dict[str, Link]:
    return {link.name: link for link in verify_epoch_evidence(run.source, EPOCH)}


def test_both_services_waited_for_the_cut_off_and_list_who_committed_itself(run: Run) -> None:
    standing = run.standing()
    assert [one.node_key for one in standing.own] == [node_key("delta")]
    assert {one.aggregator for one in standing.standing} == {k.address for k in run.keys.values()}
    for name, one in zip(
        ("one", "two"),
        sorted(standing.standing, key=lambda c: c.aggregator != run.keys["one"].address),
        strict=True,
    ):
        assert standing.contributions.index(standing.own[0]) < standing.contributions.index(one)
        manifest = Manifest.decode(
            Publication(run.root / name / "measure/public").get(one.manifest)
        )
        assert [ref.node_key for ref in manifest.self_committed] == [node_key("delta")]


def test_every_link_of_the_union_holds_and_says_what_each_contributed(run: Run) -> None:
    links = links_of(run)
    broken = [
        (link.name, link.detail, link.items)
        for link in links.values()
        if link.state is State.BROKEN
    ]
    assert not broken
    assert "14 jobs of 4 nodes, the union of 3" in links["jobs"].detail
    items = " / ".join(links["jobs"].items)
    assert "1 jobs, 1 counted, 0 repeated" in items
    assert "12 jobs, 12 counted, 0 repeated, 0 under" in items
    assert "12 jobs, 1 counted, 10 repeated, 1 under the key of another row" in items
    assert "own minus committed of delta: jobs +1, size +5" in items
    assert "does not list" not in items


def test_the_report_pays_aggregators_by_the_jobs_that_count_and_the_node_that_was_left_out(
    run: Run,
) -> None:
    first = run.standing().standing[0].aggregator
    by = {key.address: 0 for key in run.keys.values()} | {first: 12}
    by = {account: counted or 1 for account, counted in by.items()}
    case, _ = audit_epoch(run.source, EPOCH)
    claims = {key: claim.cumulative for key, claim in case.outcome.claims.claims.items()}
    pool = BUDGET * 100_000 // 10**6
    assert {account: claims[pay_key(account)] for account in by} == {
        account: pool * counted // 13 for account, counted in by.items()
    }
    [(_, record)] = case.records
    assert record.union is not None
    document = dagcbor.decode(Publication(run.root / "evaluators/1/public").get(record.union))
    assert [one["counted"] for one in document["contributions"]] == [1, 12, 1]
    assert document["unlisted"] == []
    account = account_of(run.source, EPOCH, "delta")
    assert (account.jobs, account.succeeded) == (1, 1)
    assert account.reward_atto == claims[node_key("delta")]
    assert account.reward_atto in {900_000 // 14, 900_000 // 14 + 1}
    assert [row.difference for row in account.second_step] == [(1, 5, 0), (1, 5, 0)]


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("what", ["manifest", "segments", "jobs", "self"])
def test_any_tampered_artefact_of_either_aggregator_is_named(
    run: Run, name: str, what: str
) -> None:
    public = run.root / name / "measure/public"
    index = json.loads((public / f"epochs/{EPOCH:06d}.json").read_text())
    manifest_path = public / "objects" / index["manifest"]
    manifest = Manifest.decode(manifest_path.read_bytes())
    own = run.root / "delta/public/objects" / cid_text(manifest.self_committed[0].segment)
    path = {
        "manifest": manifest_path,
        "segments": public / "objects" / cid_text(manifest.segments[0].digest),
        "jobs": public / "objects" / cid_text(manifest.nodes),
        "self": own,
    }[what]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        case = Case(run.source, EPOCH)
        links = {link.name: link for link in run_steps(case, MEASURED_STEPS)}
        link = links["segments" if what == "self" else what]
        assert link.state is State.BROKEN
        assert any(path.name in item for item in link.items), link
        if what != "self":
            assert address_text(run.keys[name].address) in link.detail
    finally:
        path.write_bytes(data)
