"""Summaries with KZG commitments: the contract and its twin in Python say the same of every answer."""

from dataclasses import replace

import pytest
from alone_world import AloneWorld, names
from contract_world import ETHER, account, refuses
from summary_world import BOND, CALENDAR, EPOCH, TERMS, SummaryNode, SummaryWorld, job_row, matrix

from meridian.errors import InvalidInput
from meridian.models.kzg import SLOTS, Column
from meridian.models.summary_kzg import KzgNodeJobs, check_kzg_answer
from meridian.models.summary_sampling import points
from meridian.models.summary_tree import LANES
from meridian.node.chain import rules  # noqa: F401 - keeps the setup that py-evm reads for every evaluation
from meridian.node.kzg_setup import ethereum_setup
from meridian.primitives.hashing import KZG_NODE, sha256
from meridian.primitives.sumtree import SumTree

JOBS = SLOTS + 9


def rows_of(name, values):
    ids = sorted(
        (f"{name}/{number}" for number in range(len(values))), key=lambda one: sha256(one.encode())
    )
    return [job_row(job_id, value) for job_id, value in zip(ids, values, strict=True)]


@pytest.fixture(scope="module")
def jobs():
    """A node's jobs in two chunks, and another's in one."""
    many = rows_of("many", [number % 3 for number in range(JOBS)])
    return [
        KzgNodeJobs(matrix(rows), ethereum_setup())
        for rows in (many, rows_of("few", [2, 0, 3, 1, 1]))
    ]


@pytest.fixture
def world(jobs):
    world = SummaryWorld(name="KzgSummaries")
    world.nodes = [SummaryNode(name, own) for name, own in zip(("many", "few"), jobs, strict=True)]
    world.register(*world.nodes)
    world.send("fund", EPOCH, value=ETHER)
    world.commit(*world.nodes)
    return world


def asked(world, node):
    world.challenge(node)
    return node.jobs.answer(world.draw(node), TERMS.samples)


def bad(world, node, shown):
    """The reason for which both refuse an answer."""
    reason = refuses(world.answer, node, shown)
    wanted = points(world.seed(node), node.summary.weight, TERMS.samples)
    with pytest.raises(InvalidInput) as error:
        check_kzg_answer(
            node.summary, shown, wanted, CALENDAR, EPOCH, TERMS.value_max, ethereum_setup()
        )
    return reason, error.value.field


def test_honest_nodes_answer_and_are_paid_by_weight(world):
    for node in world.nodes:
        shown = asked(world, node)
        wanted = points(world.seed(node), node.summary.weight, TERMS.samples)
        check_kzg_answer(
            node.summary, shown, wanted, CALENDAR, EPOCH, TERMS.value_max, ethereum_setup()
        )
        assert names(world.answer(node, shown)) == ["Answered"]
    world.settle()
    total = sum(node.summary.weight for node in world.nodes)
    for node in world.nodes:
        world.claim(node)
        assert world.balance(node.payee) == ETHER * node.summary.weight // total


def test_who_does_not_answer_is_slashed(world):
    node = world.nodes[1]
    asked(world, node)
    world.now_s += TERMS.answer_seconds + 1
    assert [event.name for event in world.expire(node).events] == ["Voided"]


def test_the_last_row_of_a_chunk_and_the_first_of_the_next_are_shown(jobs):
    many = jobs[0]
    last, first = many.show(SLOTS - 1), many.show(SLOTS)
    assert (last.behind, last.behind_proof, first.before, first.before_proof) == (b"", b"", 0, b"")
    assert first.size == last.size == many.show(JOBS - 1).size < many.show(5).size


def test_every_part_of_an_answer_counts(world):
    node = world.nodes[0]
    shown = asked(world, node)
    first, *rest = shown
    chunk, seen = first.chunk, set()
    others = node.jobs.show(first.index + 1)
    for changed, reason in (
        (replace(first, index=first.index + 1), "name"),
        (replace(first, row=others.row), None),
        (replace(first, before=first.before + 1), None),
        (replace(first, name_proof=others.name_proof), "name"),
        (replace(first, name_proof=b"\x01" * 48), "name"),
        (replace(first, sum_proof=others.sum_proof), "sum"),
        (replace(first, before_proof=others.before_proof), "before"),
        (replace(first, behind_proof=others.behind_proof), "behind"),
        (replace(first, behind=b"", behind_proof=b""), "row"),
        (replace(first, behind=first.row), "order"),
        (replace(first, chunk=replace(chunk, weight=chunk.weight + 1)), "root"),
        (replace(first, chunk=replace(chunk, names=chunk.sums)), "root"),
        (rest[0], "point"),
    ):
        says = bad(world, node, [changed, *rest])
        assert says[0] == f"summaries: {says[1]}"
        assert reason in {None, says[1]}
        seen.add(says[0])
    assert seen >= {"summaries: name", "summaries: sum", "summaries: before", "summaries: behind"}
    short = replace(first, chunk=replace(chunk, names=chunk.names[:47]))
    assert refuses(world.answer, node, [short, *rest]) == "summaries: root"
    assert bad(world, node, rest) == ("summaries: samples", "samples")
    outside = replace(first, index=JOBS)
    assert bad(world, node, [outside, *rest]) == ("summaries: row", "row")
    assert refuses(world.answer, node, [replace(first, path=()), *rest]) == "sum tree: path"
    world.answer(node, shown)


def liar(world, rows, jobs=KzgNodeJobs):
    node = SummaryNode("liar", jobs(matrix(rows), ethereum_setup()))
    world.register(node)
    world.commit(node)
    return node, asked(world, node)


def row(number, value=1, **changes):
    return job_row("x", value, job_key=bytes([number]) * 32, **changes)


@pytest.fixture
def open_world():
    return SummaryWorld(name="KzgSummaries")


def test_a_job_that_weighs_too_much_or_was_at_another_time_is_refused(open_world):
    heavy = liar(open_world, [row(1, 4), row(2, 0)])
    assert bad(open_world, *heavy) == ("summaries: value", "value")


def test_impossible_times_are_refused(open_world):
    early = liar(open_world, [row(1, ended_us=5, started_us=5), row(2, ended_us=5, started_us=6)])
    assert bad(open_world, *early) == ("summaries: times", "times")


def test_a_job_twice_is_refused_where_it_is_met(open_world):
    assert bad(open_world, *liar(open_world, [row(1, 3), row(1, 3)])) == (
        "summaries: order",
        "order",
    )


class Inflated(KzgNodeJobs):
    """Commits to sums that its rows do not have: all of them are greater by `more`."""

    more = 8

    def __init__(self, rows, setup):
        super().__init__(rows, setup)
        (chunk,), ((named, _),) = self._chunks, self._columns
        self._ends = [end + self.more for end in self._ends]
        sums = Column.of(self._ends, setup)
        self._columns = [(named, sums)]
        self._chunks = [replace(chunk, sums=sums.commitment, weight=self._ends[-1])]
        self._tree = SumTree(matrix([self._chunks[0].leaf]), KZG_NODE, LANES)


class SlightlyInflated(Inflated):
    more = 1


def test_a_sum_that_is_larger_than_its_rows_cannot_be_shown(open_world):
    """Half of its weight stands in no row, and two of four points fall there."""
    says = bad(open_world, *liar(open_world, [row(number) for number in range(1, 9)], Inflated))
    # Both points and sums are wrong; Python looks at all points first.
    assert says[0] in {"summaries: point", "summaries: sum"}
    assert says[1] in {"point", "sum"}


def test_nothing_weighs_before_the_first_row(open_world):
    """The other half of that lie: what the first row cannot show is said to stand before it."""
    rows = [*(row(number, 3) for number in range(1, 5)), row(5, 2)]
    node, (first, *rest) = liar(open_world, rows, SlightlyInflated)
    challengers = iter(range(40))
    while points(open_world.seed(node, open_world.challenger), 15, TERMS.samples)[0] == 0:
        open_world.challenger = account(f"challenger {next(challengers)}")
        open_world.give(open_world.challenger, BOND)
        first, *rest = asked(open_world, node)
    assert first.index == 0
    moved = [replace(one, before=1) if one.index == 0 else one for one in (first, *rest)]
    assert bad(open_world, node, moved) == ("summaries: before", "before")


def test_it_cannot_be_deployed_where_the_precompile_is_missing():
    world = AloneWorld()
    computation = world.env.evm.vm.state.computation_class
    kept = computation._precompiles
    computation._precompiles = {at: code for at, code in kept.items() if at[-1] != 10}
    try:
        refusal = refuses(world.contract, "KzgSummaries", *TERMS.arguments)
        assert refusal == "summaries: precompile"
    finally:
        computation._precompiles = kept
