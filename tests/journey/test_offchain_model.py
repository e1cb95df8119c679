"""The model `offchain-store` end to end over two drivers: run, run again, verify, and what an outsider sees that is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from meridian.audit.evidence import State, first_broken
from meridian.errors import InvalidInput, NotFound
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.model import Ending, ModelOptions
from meridian.journey.models.offchain_store import MODEL
from meridian.journey.models.offchain_stores import KINDS, RunStore
from meridian.journey.models.offchain_world import CHEAT, VICTIM, honest_jobs, segment, world
from meridian.models.offchain_audit import verify
from meridian.networks.comparison import generate
from meridian.networks.generator import Traffic
from meridian.primitives.cid import cid_text
from meridian.primitives.ids import node_key
from meridian.primitives.keys import PrivateKey
from node.postgres_server import postgres_server

SOURCE = generate(Traffic(seed=3, jobs=120, nodes=5))


class Quiet:
    def progress(self, step: str, done: int, total: int) -> None:
        pass

    def note(self, text: str) -> None:
        raise AssertionError(text)


def run(root: Path, **options):
    return MODEL.run(SOURCE, ModelOptions(data_dir=root, challenge_seconds=1, **options), Quiet())


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    return root, run(root)


def test_a_run_pays_every_node_for_its_jobs_and_an_outsider_agrees(local) -> None:
    root, done = local
    [entry] = done.result["epochs"]
    expected: dict[str, int] = {}
    for batch in SOURCE.batches():
        for line in batch.splitlines():
            node = json.loads(line)["peer_id"]
            expected[node] = expected.get(node, 0) + 1
    assert {row["node_id"]: int(row["weight"]) for row in entry["payees"]} == expected
    assert entry["paid_atto"] == entry["allocated_atto"] == entry["total_atto"]
    assert (entry["jobs"], len(entry["signers"])) == (120, 4)
    assert done.broken == {}
    assert {link.state for link in MODEL.verify(root, 1)} == {State.HOLDS}
    with pytest.raises(NotFound):
        MODEL.verify(root, 2)


def test_the_same_command_again_sends_nothing(local) -> None:
    root, done = local
    again = run(root)
    assert (again.result, again.costs.steps) == (done.result, done.costs.steps)
    assert again.costs.stored_bytes == done.costs.stored_bytes
    for options in ({"store": "sql"}, {"evaluators": 5}):
        with pytest.raises(InvalidInput, match="give the same"):
            run(root, **options)


def test_what_nobody_hands_out_breaks_a_named_link(local) -> None:
    """Last of those on this directory: it loses an object."""
    root, _ = local
    objects = sorted((root / "store/objects").iterdir(), key=lambda path: path.stat().st_size)
    segments = [path for path in objects if path.read_bytes()[:4] == b"PAR1"]
    data = segments[0].read_bytes()
    for change in (lambda: segments[0].write_bytes(data + b"x"), segments[0].unlink):
        change()
        links = MODEL.verify(root, 1)
        broken = first_broken(links)
        assert broken is not None
        assert (broken.name, len(broken.items)) == ("jobs", 1)
        assert broken.items[0] in SOURCE.nodes
        after = {link.name: link.state for link in links}
        assert after["evaluation"] == after["claims"] == State.UNCHECKED
        assert after["signatures"] == State.HOLDS
    segments[0].write_bytes(data)
    result = root / "results/epoch-000001.json"
    entry = json.loads(result.read_text())
    result.write_text(json.dumps({**entry, "jobs": 1}))
    assert first_broken(MODEL.verify(root, 1)).name == "claims"
    result.unlink()
    assert first_broken(MODEL.verify(root, 1)) is None


def test_every_node_may_have_its_own_table(tmp_path: Path) -> None:
    done = run(tmp_path, store="sql", evaluators=1)
    assert done.broken == {}
    assert {link.state for link in MODEL.verify(tmp_path, 1)} == {State.HOLDS}


@pytest.mark.parametrize("kind", ["car", "stream", "sql", "announce"])
def test_a_runs_store_hands_out_what_its_owner_put(kind: str, tmp_path: Path) -> None:
    keys = [PrivateKey(bytes(31) + bytes([at])) for at in (1, 2)]
    accounts = [key.address for key in keys]
    digests = []
    with RunStore(tmp_path, kind, accounts) as store:
        for key in keys:
            digests.append(store.put(key, b"object of " + key.address))
            assert store.put(key, b"object of " + key.address) == digests[-1]
        assert store.fetch(accounts[0], bytes(32)) is None
    with RunStore(tmp_path, kind) as reader:
        for owner, digest in zip(accounts, digests, strict=True):
            assert reader.fetch(owner, digest) == b"object of " + owner
        shared = kind == "car"
        assert (reader.fetch(accounts[0], digests[1]) is not None) == shared


def test_tables_may_lie_in_postgresql(tmp_path: Path) -> None:
    keys = [PrivateKey(bytes(31) + bytes([at])) for at in (1, 2)]
    with postgres_server() as url:
        (tmp_path / "store.conninfo").write_text(url + "\n")
        with RunStore(tmp_path, "sql") as store:
            digests = [store.put(key, b"data of " + key.address) for key in keys]
        with RunStore(tmp_path, "sql") as reader:
            found = [reader.fetch(k.address, one) for k, one in zip(keys, digests, strict=True)]
            assert found == [b"data of " + key.address for key in keys]
            assert reader.fetch(keys[0].address, digests[1]) is None


def test_who_breaks_its_own_stream_stops_nobody(tmp_path: Path) -> None:
    keys = [PrivateKey(bytes(31) + bytes([at])) for at in (1, 2)]
    with RunStore(tmp_path, "stream") as store:
        first, second = (store.put(key, b"data") for key in keys)
    head = tmp_path / "store/streams" / keys[0].address.hex() / "head"
    head.write_bytes((tmp_path / "store/streams" / keys[1].address.hex() / "head").read_bytes())
    with RunStore(tmp_path, "stream") as reader:
        assert reader.fetch(keys[0].address, first) is None
        assert reader.fetch(keys[1].address, second) == b"data"


def test_drivers_are_named_and_outer_ones_need_their_settings(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="none of local"):
        RunStore(tmp_path, "floppy")
    with pytest.raises(InvalidInput, match=r"store\.toml"), RunStore(tmp_path, "s3"):
        pass
    (tmp_path / "store.toml").write_text('kind = "car"\nfile = "elsewhere.car"\n')
    with pytest.raises(InvalidInput, match="about car"), RunStore(tmp_path, "s3"):
        pass
    with RunStore(tmp_path, "car") as store:
        store.put(PrivateKey(bytes(31) + b"\x01"), b"data")
    assert (tmp_path / "elsewhere.car").exists()
    assert {"local", "s3", "car", "kubo", "sql", "stream", "announce"} == set(KINDS)


# --- frauds ----------------------------------------------------------------------------------------

ENDINGS = {
    "double-report": (Ending.PREVENTED, "evaluators", "not in ascending order"),
    "invented-jobs": (Ending.UNNOTICED, "nobody", "30 jobs that never happened"),
    "impossible-times": (Ending.PREVENTED, "evaluators", "ends before it starts"),
    "stolen-job": (Ending.UNNOTICED, "nobody", "30 job ids of node-1"),
    "censored-node": (Ending.PREVENTED, "contract", "anybody may send it"),
    "friend-jobs": (Ending.PREVENTED, "contract", "locations: signature"),
    "wrong-weights": (Ending.PREVENTED, "contract", "locations: quorum"),
    "withheld-data": (Ending.PREVENTED, "evaluators", "unavailable"),
    "inflated-summary": (Ending.PREVENTED, "evaluators", "1000 jobs were told"),
    "stolen-claim": (Ending.PREVENTED, "contract", "locations: proof"),
}


@pytest.mark.parametrize("fraud", FRAUDS)
def test_frauds_end_as_the_documents_say(fraud: str, tmp_path: Path) -> None:
    ending, by, how = ENDINGS[fraud]
    outcome = MODEL.fraud(fraud, tmp_path)
    assert (outcome.fraud, outcome.ending, outcome.by) == (fraud, ending, by)
    assert how in outcome.how
    assert (outcome.gain_atto > 0) == (ending is Ending.UNNOTICED)


def test_a_fraud_of_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        MODEL.fraud("bribery", tmp_path)


def test_an_outsider_sees_each_lie_in_its_own_link(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        here.put_honest()
        here.put(CHEAT, segment(CHEAT, honest_jobs(0)[:10]), 10)
        here.locate()
        here.settle()
        good = here.case()
        assert {link.state for link in verify(good)} == {State.HOLDS}
        victim = node_key(VICTIM)
        accepted = good.accepted
        assert accepted is not None
        lies = {
            "contracts": {"code": b"other"},
            "commitment": {"located": good.located[:-1]},
            "function": {"expected": replace(good.expected, function_digest=bytes(32))},
            "parameters": {"schema_digest": bytes(32)},
            "manifest": {"artefact": lambda digest: None if digest == accepted.result.outcome
                         else good.artefact(digest)},
            "jobs": {"fetch": lambda one: None if one.node_key == victim else good.fetch(one)},
            "rewards": {"budget_atto": good.budget_atto + 100},
            "report": {"accepted": replace(accepted, result=replace(accepted.result, locations=bytes(32)))},
            "signatures": {"evaluators": good.evaluators[1:]},
            "claims": {"claims": [*good.claims, good.claims[0]]},
        }  # fmt: skip
        for link, change in lies.items():
            broken = [
                one.name for one in verify(replace(good, **change)) if one.state is State.BROKEN
            ]
            assert link in broken, (link, broken)
        assert cid_text(good.located[0].object).startswith("bafkrei")
