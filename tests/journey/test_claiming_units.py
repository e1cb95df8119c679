"""Claims on the real contracts: paid once, the same nodes under a limit, nobody held up by somebody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meridian.errors import Reverted
from meridian.journey.claiming import ClaimSummary, pay_claims, succeeded
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import NodeKey, node_key
from meridian.reward.claims import ClaimsState
from node.evaluator.evaluator_committee import Committee, access_of
from node.evaluator.evaluator_world import CHALLENGE_S, NODE_IDS, Net, make_net

REFUSING = ("gamma",)


def report(net: Net, root: Path, *epochs: int) -> dict[int, ClaimsState]:
    """Decide and report epochs, and let their windows pass; returns the claims after each."""
    committee, states = Committee.of(net), {}
    with pytest.MonkeyPatch.context() as patch:
        access = access_of(net, 0, patch, root / "transactions.sqlite")
        for epoch in epochs:
            committee.decide(epoch)
            _, settled = committee.report(epoch, access)
            states[epoch] = settled.proposal.outcome.claims
        access.close()
    net.clock.now_s += 10 * CHALLENGE_S
    net.endpoint.chain.mine(empty=True)
    return states


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Net, dict]]:
    root = tmp_path_factory.mktemp("reported")
    net = make_net(root / "net")
    yield net, report(net, root, 5, 6)
    net.endpoint.chain.close()


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Net, dict]]:
    root = tmp_path_factory.mktemp("refusing")
    net = make_net(root / "net", refusing=REFUSING)
    yield net, report(net, root, 5, 6)
    net.endpoint.chain.close()


class Payer:
    """The relayer of a copy of a network."""

    def __init__(self, made: tuple[Net, dict], root: Path) -> None:
        self.net = made[0].copied_to(root)
        self.states: dict[int, ClaimsState] = made[1]
        self.steps: list[tuple[int, int]] = []

    def pay(
        self, epoch: int, limit: int | None = None, sender: Sender | None = None
    ) -> ClaimSummary:
        self.steps.clear()
        relayer = sender or self.net.sender("relayer")
        try:
            return pay_claims(
                relayer,
                self.net.view,
                epoch,
                self.states[epoch],
                limit,
                lambda *step: self.steps.append(step),
            )
        finally:
            relayer.close()

    @property
    def paid(self) -> dict[NodeKey, int]:
        """What each node has drawn."""
        found: dict[NodeKey, int] = {}
        for claim in self.net.view.claims():
            found[claim.node_key] = found.get(claim.node_key, 0) + claim.amount
        return found

    def balance(self, name: str) -> int:
        account = "0x" + self.net.payee(name).hex()
        return int(self.net.endpoint.call("eth_getBalance", account, "latest"), 16)

    def close(self) -> None:
        self.net.endpoint.chain.close()


@pytest.fixture
def payer(reported: tuple[Net, dict], tmp_path: Path) -> Iterator[Payer]:
    one = Payer(reported, tmp_path / "net")
    yield one
    one.close()


@pytest.fixture
def stubborn(refusing: tuple[Net, dict], tmp_path: Path) -> Iterator[Payer]:
    one = Payer(refusing, tmp_path / "net")
    yield one
    one.close()


def owed(payer: Payer, epoch: int) -> dict[NodeKey, int]:
    return {key: claim.cumulative for key, claim in payer.states[epoch].claims.items()}


def test_every_node_gets_what_is_due_to_its_payee(payer: Payer) -> None:
    summary = payer.pay(5)
    assert payer.paid == owed(payer, 5)
    for name in NODE_IDS:
        assert payer.balance(name) == owed(payer, 5)[node_key(name)] > 0
    assert (summary.claims, summary.transactions) == (4, 2)
    assert summary.single_gas is not None
    assert summary.total_gas > summary.single_gas > 21_000
    assert payer.steps[0] == (0, 4)
    assert payer.steps[-1] == (4, 4)
    assert payer.steps.count((4, 4)) == 1


def test_paying_again_pays_nothing(payer: Payer) -> None:
    payer.pay(5)
    before = payer.paid
    assert payer.pay(5) == ClaimSummary()
    assert payer.steps == [(0, 0)]
    assert payer.paid == before


def test_a_later_report_pays_the_difference_and_an_older_one_then_nothing(payer: Payer) -> None:
    payer.pay(5)
    payer.pay(6)
    assert payer.paid == owed(payer, 6)
    assert payer.pay(5).claims == 0


def test_the_newest_report_alone_pays_all_epochs(payer: Payer) -> None:
    payer.pay(6)
    assert payer.paid == owed(payer, 6)


@pytest.mark.parametrize("limit", [0, 1, 2, 4, 9])
def test_a_limit_takes_so_many_nodes_and_the_same_ones_again(payer: Payer, limit: int) -> None:
    """Running it again must not pay the next ones: a limited run would else never be finished."""
    assert payer.pay(5, limit).claims == min(limit, 4)
    first = set(payer.paid)
    assert payer.pay(5, limit).claims == 0
    assert set(payer.paid) == first
    payer.pay(6, limit)
    assert set(payer.paid) == first
    assert payer.pay(6).claims == 4 - len(first)


class Interrupted(Exception):
    pass


def test_an_interrupted_payout_resumes_and_pays_each_once(payer: Payer) -> None:
    relayer = payer.net.sender("relayer")
    transact = relayer.transact

    def alone(*values: object, **more: object) -> object:
        transact(*values, **more)
        raise Interrupted

    relayer.transact = alone
    with pytest.raises(Interrupted):
        payer.pay(5, sender=relayer)
    assert len(payer.paid) == 1
    assert payer.pay(5).claims == 3
    assert payer.paid == owed(payer, 5)


def test_a_payee_that_takes_no_money_keeps_nobody_from_theirs(stubborn: Payer) -> None:
    payer = stubborn
    for _ in range(2):
        payer.pay(5)
        assert set(payer.paid) == {node_key(name) for name in NODE_IDS if name not in REFUSING}
    payer.pay(6)
    expected = owed(payer, 6)
    del expected[node_key("gamma")]
    assert payer.paid == expected


def test_a_refusal_that_concerns_all_is_raised(
    payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = payer.states[6]
    payer.states[5] = other  # claims of another report: no proof of them fits
    with pytest.raises(Reverted, match="rewards"):
        payer.pay(5)
    assert payer.paid == {}


def test_the_first_refusal_of_many_is_raised() -> None:
    assert succeeded([b"a", b"b"]) == [b"a", b"b"]
    with pytest.raises(Reverted, match="two"):
        succeeded([b"a", Reverted("two"), Reverted("three")])
