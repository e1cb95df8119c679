"""A made-up site as large as one wants, by the code that writes real ones: what pages are measured on.

Nothing in it was measured or paid, but everything fits together: proofs hold under the committed roots, claims under the
reward root, sums are sums. Only the newest decided epoch has its jobs one by one.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meridian.explorer.chain_history import ChainFacts, EpochChain, Happened
from meridian.explorer.columns import Numbers, write_columns
from meridian.explorer.epoch_files import (
    GROUP,
    SHARE_UNIT,
    claim_files,
    job_files,
    job_groups,
    node_files,
    top_file,
)
from meridian.explorer.epoch_page import Asked, Schedule, chain_part, gathered_part, whole_page
from meridian.explorer.gathered import JobColumns, Measured, Voice
from meridian.explorer.job_index import Run, cut, entries_of, shards_of
from meridian.explorer.node_history import (
    CHUNK,
    HistoryRows,
    merged_rows,
    shards_for,
    updated_chunk,
)
from meridian.explorer.node_index import SHARD_ENTRIES, KnownNode, address_files
from meridian.explorer.node_index import node_files as table_files
from meridian.explorer.overview import epoch_row, epochs_file, evaluators, money, voices_file
from meridian.measure.commitment import committed_root, node_tree
from meridian.measure.epoch import Calendar
from meridian.measure.manifest import Nodes
from meridian.measure.row import job_leaves
from meridian.node.explorer.indexes import IndexState
from meridian.node.explorer.site_files import SiteFiles
from meridian.node.explorer.site_front import copy_assets
from meridian.primitives.hashing import JOB_NODE, ByteMatrix
from meridian.primitives.ids import Address, NodeKey, job_key, network_id, node_key
from meridian.primitives.sumtree import LaneKind, parent_levels
from meridian.reward.claims import Claim, ClaimsState

NETWORK = "made-up"
GENESIS_S = 1_790_000_000
LENGTH_S = 3_600
CALENDAR = Calendar(GENESIS_S, LENGTH_S, 0)
LANES = LaneKind.PAIR_U64
SCHEMA = 1
JOBS_KEPT = 20
"""Jobs of each node in the newest decided epoch."""
REASONS = ("ok", "no_ttfb", "slow_ttfb", "error", "impossible", "flagged")
BUDGET = 1_000 * 10**18
WINDOW_S = 10_800
MEMBERS = tuple(Address(hashlib.sha256(b"member %d" % at).digest()[:20]) for at in range(7))
ABSENT, FAR_OFF = 3, 5
"""A member without a row now and then, and one that is out of line."""
AGGREGATOR = Address(hashlib.sha256(b"aggregator").digest()[:20])
SPONSOR = Address(hashlib.sha256(b"sponsor").digest()[:20])
FUNDED_AHEAD = 200


@dataclass(slots=True)
class World:
    """What is the same in all epochs, and the sums so far."""

    ids: tuple[str, ...]
    keys: ByteMatrix
    payees: ByteMatrix
    cumulative: np.ndarray[Any, np.dtype[Any]]
    """Of each node, atto; Python's integers."""
    total: int = 0
    last_report: bytes = bytes(32)


def make_site(out: Path, nodes: int = 10_000, epochs: int = 1_000) -> None:
    """Make a site; an old one in the directory is written over.

    Args:
        out: The directory.
        nodes: How many nodes have jobs in every epoch.
        epochs: How many epochs there are; of the last four one is open, one sealed, one committed, one in its window.
    """
    files, world = SiteFiles(out), _world(nodes)
    copy_assets(out)
    state = IndexState()
    chains: dict[int, EpochChain] = {}
    histories: list[HistoryRows] = []
    voices: dict[int, Any] = {}
    rows = []
    facts = ChainFacts(
        now_s=GENESIS_S + (epochs - 1) * LENGTH_S + LENGTH_S // 2, block=20 * epochs, events={}
    )
    for epoch in range(epochs):
        behind = epochs - 1 - epoch
        chain = EpochChain(epoch, _event("EpochOpened", epoch, n=len(MEMBERS)), budget=BUDGET)
        chains[epoch] = chain
        page = _empty_page()
        if behind >= 2:
            newest = behind == 3
            page, history = _measured(
                files, world, chain, is_decided=behind >= 3, keeps=newest, state=state
            )
            histories.append(history)
            if behind >= 3:
                voices[epoch] = (_voices(epoch, nodes), MEMBERS[epoch % len(MEMBERS)])
        known = {
            "signers": 5 if behind >= 3 else 0,
            "paid": chain.allocated * 9 // 10 if behind > 3 else 0,
        }
        row = epoch_row(chain, facts, CALENDAR, known)
        rows.append(row)
        part = chain_part(chain, facts, row, LANES, _asked(chain))
        files.write_json(f"data/epoch/{epoch:06}/epoch.json", whole_page(page, part))
        if epoch % CHUNK == CHUNK - 1 or behind == 0:
            _write_history(files, state, epoch // CHUNK, histories)
            histories = []
    _write_overview(files, world, state, facts, rows, chains, voices)


def _world(count: int) -> World:
    named = sorted((node_key(f"node-{at:06}"), f"node-{at:06}") for at in range(count))
    keys = np.frombuffer(b"".join(key for key, _ in named), np.uint8).reshape(count, 32)
    payees = np.random.default_rng(1).integers(0, 256, (count, 20), dtype=np.uint8)
    zeros = np.zeros(count, dtype=object)
    return World(tuple(name for _, name in named), keys, payees, zeros)


def _event(name: str, epoch: int, **args: Any) -> Happened:
    digest = hashlib.sha256(f"{name} {epoch}".encode()).digest()
    return Happened(name, {"epoch": epoch, **args}, 20 * epoch + 5, digest, 0)


def _empty_page() -> dict[str, Any]:
    schedule = Schedule(name="saturn", function=bytes(32), parameters=bytes(32), source=None)
    return gathered_part(None, None, schedule=schedule, members=MEMBERS, problem="")


def _measured(
    files: SiteFiles,
    world: World,
    chain: EpochChain,
    *,
    is_decided: bool,
    keeps: bool,
    state: IndexState,
) -> tuple[dict[str, Any], HistoryRows]:
    """Write an epoch's nodes and matrix, and put commitment and report into its events."""
    epoch, count = chain.epoch, len(world.ids)
    folder, drawn = f"data/epoch/{epoch:06}", np.random.default_rng(epoch + 2)
    jobs = drawn.integers(50, 1_000, count)
    if keeps:
        jobs = np.full(count, JOBS_KEPT)
    bad = drawn.integers(0, 9, (len(REASONS) - 1, count)) * (jobs > 60)
    kept, roots = _job_roots(world, epoch, jobs, drawn, keeps=keeps)
    rows = _node_rows(world, epoch, roots)
    columns: dict[str, Any] = {
        "id": world.ids,
        "key": world.keys,
        "payee": world.payees,
        "jobs": Numbers.array(jobs),
        "late": Numbers.array(drawn.integers(0, 3, count)),
        "job_root": rows[:, 60:],
    }
    history = {name: Numbers.of([0] * count) for name in ("counted", "amount", "cumulative")}
    history["weight"] = Numbers.of([None] * count)
    verdicts = np.vstack([jobs - bad.sum(axis=0), bad])
    if is_decided:
        amounts = _pay(world, verdicts[0])
        weights = Numbers.array(verdicts[0].astype(np.uint64) * np.uint64(10**9))
        for at, line in enumerate(verdicts):
            columns[f"verdict-{at}"] = Numbers.array(line)
        share = verdicts[0].astype(object) * SHARE_UNIT // int(verdicts[0].sum())
        columns |= {"weight": weights, "share": Numbers.of(share.tolist())}
        columns |= {"amount": amounts, "cumulative": Numbers.of(world.cumulative.tolist())}
        history = {name: columns[name] for name in ("weight", "amount", "cumulative")}
        history["counted"] = Numbers.array(verdicts[0])
        files.write(f"{folder}/matrix.col", _matrix(weights, drawn, epoch))
    if kept is not None:
        columns |= dict(
            zip(("job_file", "job_at"), map(Numbers.array, job_groups(kept.counts)), strict=True)
        )
        _write_jobs(files, state, epoch, kept, drawn)
    for name, data in node_files(columns, world.keys, {"epoch": epoch, "schema": SCHEMA}).items():
        files.write(f"{folder}/{name}", data)
    files.write(f"{folder}/top-0.col", top_file(rows, LANES))
    root = node_tree(rows, LANES).root
    committed = committed_root(epoch, count, root)
    _commit(chain, world, committed, root[32:], is_decided=is_decided)
    page = _page(count, committed, verdicts if is_decided else None, epoch, keeps=keeps)
    history |= {"epoch": Numbers.array(np.full(count, epoch)), "jobs": Numbers.array(jobs)}
    return page, HistoryRows(world.keys, history)


def _node_rows(world: World, epoch: int, roots: ByteMatrix) -> ByteMatrix:
    rows = np.zeros((len(world.ids), 116), dtype=np.uint8)
    rows[:, :8] = np.frombuffer(
        SCHEMA.to_bytes(2, "big") + bytes(2) + epoch.to_bytes(4, "big"), np.uint8
    )
    rows[:, 8:40], rows[:, 40:60], rows[:, 60:] = world.keys, world.payees, roots
    return rows


def _job_roots(
    world: World, epoch: int, jobs: Any, drawn: np.random.Generator, *, keeps: bool
) -> tuple[JobColumns | None, ByteMatrix]:
    """Return the root nodes of the job trees: real ones where jobs are kept, else drawn."""
    count = len(world.ids)
    if not keeps:
        roots = drawn.integers(0, 256, (count, 56), dtype=np.uint8)
        roots[:, 32:] = 0
        roots[:, 32:40] = jobs.astype(">u8").view(np.uint8).reshape(count, 8)
        roots[:, 40:48] = (jobs * 1_000_003).astype(">u8").view(np.uint8).reshape(count, 8)
        return None, roots
    names = [
        sorted((job_key(name), name) for name in (f"job-{node}-{at}" for at in range(JOBS_KEPT)))
        for node in world.ids
    ]
    rows = np.zeros((count * JOBS_KEPT, 100), dtype=np.uint8)
    rows[:, :2] = np.frombuffer(SCHEMA.to_bytes(2, "big"), np.uint8)
    keys = b"".join(key for of in names for key, _ in of)
    rows[:, 4:36] = np.frombuffer(keys, np.uint8).reshape(-1, 32)
    started = (GENESIS_S + epoch * LENGTH_S) * 10**6 + np.sort(drawn.integers(0, 10**9, len(rows)))
    for first, values in (
        (36, started),
        (44, started + 250_000),
        (52, drawn.integers(1, 10**7, len(rows))),
    ):
        rows[:, first : first + 8] = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    rows[:, 68:] = drawn.integers(0, 256, (len(rows), 32), dtype=np.uint8)
    level, sizes = job_leaves(rows), np.full(count, JOBS_KEPT)
    while sizes.max() > 1:
        level, sizes = parent_levels(level, sizes, JOB_NODE, LANES), (sizes + 1) >> 1
    ids = tuple(name for of in names for _, name in of)
    return JobColumns(ids, rows, (JOBS_KEPT,) * count), level


def _write_jobs(
    files: SiteFiles, state: IndexState, epoch: int, jobs: JobColumns, drawn: np.random.Generator
) -> None:
    codes = drawn.choice([0, 0, 0, 0, 1, 2, 3], len(jobs.ids)).astype(np.uint8).tobytes()
    nodes = Nodes((), np.zeros((0, 116), np.uint8))
    measured = Measured(
        epoch=epoch, lanes=LANES, schema_id=SCHEMA, nodes=nodes, late=np.zeros(0, np.int64),
        jobs=jobs, trees=(), segments=(), manifests=(), inputs=(),
    )  # fmt: skip
    for name, data in job_files("jobs", jobs, measured, codes).items():
        files.write(f"data/epoch/{epoch:06}/{name}", data)
    entries = entries_of(epoch, jobs)
    shards = shards_of(len(entries))
    state.runs.append(Run("000001", 0, shards, len(entries)))
    for shard, data in cut(entries, 0, shards, shards).items():
        files.write(f"data/index/jobs/000001/{shard:05}.col", data)


def _pay(world: World, counted: Any) -> Numbers:
    amounts = counted.astype(object) * BUDGET // int(counted.sum())
    world.cumulative = world.cumulative + amounts
    world.total += int(amounts.sum())
    return Numbers.of(amounts.tolist())


def _matrix(weights: Numbers, drawn: np.random.Generator, epoch: int) -> bytes:
    count = len(weights)
    far = np.sort(drawn.choice(count, max(1, count // 200), replace=False))
    present = [int(at != ABSENT or epoch % 9 != 0) for at in range(len(MEMBERS))]
    columns = {
        "weight": weights,
        "present": Numbers.of(present),
        "member": Numbers.array(np.full(len(far), FAR_OFF)),
        "node": Numbers.array(far),
        "said": Numbers.array(weights.low[far] * np.uint64(3)),
        "outlier": Numbers.array(np.ones(len(far))),
    }
    return write_columns(columns, {"members": ["0x" + one.hex() for one in MEMBERS]})


def _commit(chain: EpochChain, world: World, root: bytes, sums: bytes, *, is_decided: bool) -> None:
    epoch = chain.epoch
    args = {"aggregator": AGGREGATOR, "root": root, "n_nodes": len(world.ids), "annotation": sums}
    args["manifest"] = hashlib.sha256(b"manifest %d" % epoch).digest()
    chain.committed.append((_event("Committed", epoch, **args), True))
    if not is_decided:
        return
    before, world.last_report = world.last_report, hashlib.sha256(b"report %d" % epoch).digest()
    report = {"report_hash": world.last_report, "previous": before, "total": world.total}
    report |= {"transmitter": MEMBERS[epoch % len(MEMBERS)], "reward_root": bytes(32)}
    report["unlock_at"] = GENESIS_S + (epoch + 1) * LENGTH_S + WINDOW_S + 600
    chain.reports.append((_event("Reported", epoch, **report), True))
    chain.allocated = BUDGET - len(world.ids) // 2


def _page(count: int, root: bytes, verdicts: Any, epoch: int, *, keeps: bool) -> dict[str, Any]:
    page = _empty_page()
    tree = {"aggregator": "0x" + AGGREGATOR.hex(), "root": root.hex(), "nodes": count}
    page["files"] |= {"groups": -(-count // GROUP), "trees": [tree], "jobs": keeps}
    if verdicts is not None:
        page["verdicts"] = [
            {"reason": reason, "jobs": int(line.sum())}
            for reason, line in zip(REASONS, verdicts, strict=True)
        ]
        page["members"] = [
            {
                "member": "0x" + voice.member.hex(),
                "present": voice.body is not None,
                "body": None,
                "agreementPpm": voice.agreement_ppm,
                "outliers": len(voice.outliers),
            }
            for voice in _voices(epoch, count)
        ]
        page["blockHash"] = page["verdictRoot"] = hashlib.sha256(b"block %d" % epoch).hexdigest()
    return page


def _voices(epoch: int, count: int) -> tuple[Voice, ...]:
    far = max(1, count // 200)
    return tuple(
        Voice(
            member,
            None if at == ABSENT and epoch % 9 == 0 else bytes(32),
            (),
            10**6 - (10**6 * far // count if at == FAR_OFF else 0),
            10**6 - (1_000 * (epoch % 50) if at == FAR_OFF else 0),
            tuple(range(far)) if at == FAR_OFF else (),
        )
        for at, member in enumerate(MEMBERS)
    )


def _asked(chain: EpochChain) -> Asked:
    events = [event for event, _ in (*chain.committed, *chain.reports)]
    shown = {
        event.tx_hash: {
            "hash": event.tx_hash.hex(),
            "block": event.block,
            "gas": 95_000 if event.name == "Committed" else 310_000,
            "atS": GENESIS_S + (chain.epoch + 1) * LENGTH_S + 60,
            "from": "0x" + AGGREGATOR.hex(),
        }
        for event in events
    }
    signers = {event.args["report_hash"]: MEMBERS[:5] for event, _ in chain.reports}
    return Asked(transactions=shown, signers=signers)


def _write_history(
    files: SiteFiles, state: IndexState, chunk: int, histories: list[HistoryRows]
) -> None:
    if not histories:
        return
    state.history[chunk], shards = updated_chunk({}, 0, merged_rows(histories))
    for shard, data in shards.items():
        files.write(f"data/history/{chunk:06}/{shard:05}.col", data)


def _write_overview(
    files: SiteFiles, world: World, state: IndexState, facts: ChainFacts, rows: list[Any],
    chains: dict[int, EpochChain], voices: dict[int, Any],
) -> None:  # fmt: skip
    funded = _event("Funded", 0, sponsor=SPONSOR, first=0, n=len(rows) + FUNDED_AHEAD, each=BUDGET)
    registered = [_event("EvaluatorRegistered", 0, evaluator=member) for member in MEMBERS]
    events = {"Funded": (funded,), "EvaluatorRegistered": tuple(registered)}
    stakes = dict.fromkeys(MEMBERS, 100 * 10**18)
    facts = ChainFacts(now_s=facts.now_s, block=facts.block, events=events, stakes=stakes)
    paid = sum(row.paid for row in rows)
    files.write("data/epochs.col", epochs_file(rows))
    files.write_json("data/money.json", money(rows, facts, 0) | {"claimed": str(paid)})
    files.write_json("data/evaluators.json", evaluators(facts, set(MEMBERS)))
    files.write("data/evaluators.col", voices_file(None, voices))
    files.write_json("data/complaints.json", [])
    _write_claims(files, world, [chain for chain in chains.values() if chain.report is not None])
    table = dict(_known(world, len(rows)))
    for folder, shards in (("nodes", table_files(table)), ("addresses", address_files(table)[1])):
        for shard, data in shards.items():
            files.write(f"data/index/{folder}/{shard:05}.col", data)
        state.nodes, state.addresses = (
            (len(table), shards_for(len(table), SHARD_ENTRIES)),
            address_files(table)[0],
        )
    files.write_json("data/index.json", state.value)
    files.write_json("data/network.json", _network(facts))


def _known(world: World, epochs: int) -> Iterator[tuple[NodeKey, KnownNode]]:
    for at, name in enumerate(world.ids):
        payee = Address(world.payees[at].tobytes())
        yield NodeKey(world.keys[at].tobytes()), KnownNode(name, payee, payee, 0, epochs - 3)


def _write_claims(files: SiteFiles, world: World, reported: list[EpochChain]) -> None:
    if not reported:
        return
    claims = ClaimsState(
        {
            NodeKey(key.tobytes()): Claim(Address(payee.tobytes()), int(amount))
            for key, payee, amount in zip(world.keys, world.payees, world.cumulative, strict=True)
        }
    )
    last = reported[-1]
    for name, data in claim_files(claims).items():
        files.write(f"data/claims/{last.epoch:06}/{name}", data)
    report = last.report
    assert report is not None, "it is reported"
    tree = {"epoch": last.epoch, "rewardRoot": claims.reward_root.hex(), "total": str(claims.total)}
    tree |= {"size": len(claims.claims), "unlockAtS": report.args["unlock_at"]}
    files.write_json("data/claims.json", {"reports": [tree]})


def _network(facts: ChainFacts) -> dict[str, Any]:
    return {
        "version": 1,
        "network": NETWORK,
        "networkId": network_id(NETWORK).hex(),
        "chainId": 31_337,
        "rpcUrl": None,
        "contracts": {"rewards": "0x" + "11" * 20, "commitments": "0x" + "22" * 20},
        "genesisS": GENESIS_S,
        "epochSeconds": LENGTH_S,
        "firstEpoch": 0,
        "lanes": LANES.value,
        "laneFields": ["num_bytes_sent"],
        "coin": "FIL",
        "function": "saturn",
        "publications": [],
        "measureUrl": None,
        "madeAtS": facts.now_s,
        "block": facts.block,
        "revision": 1,
    }
