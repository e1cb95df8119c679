"""The faster loop says what py-evm's own loop says: answers, logs, reasons, gas."""

import pytest
from accusation_cases import made_up_job_sum, said_twice, too_much
from contract_world import ETHER, FIRST, Refused, World, account
from quick_evm import QuickComputation
from test_disputes_bits import changes


def twins(make):
    """The same world twice; only the second one runs in blocks, from its deployment on."""
    with pytest.MonkeyPatch.context() as patch:
        made = []
        for quick in (False, True):
            patch.setattr(World, "quick", quick)
            made.append(make())
    envs = [(one[0] if isinstance(one, tuple) else one).env for one in made]
    assert [issubclass(each.evm.vm.state.computation_class, QuickComputation) for each in envs] == [
        False,
        True,
    ]
    return made


def told(world, contract, function, *args, **options):
    """Everything that a call shows, refused or not."""
    try:
        outcome = getattr(world, contract).send(function, *args, **options)
    except Refused as reason:
        return str(reason)
    return outcome.value, outcome.events, outcome.execution_gas, outcome.refund


@pytest.mark.parametrize("case", [made_up_job_sum, said_twice, too_much])
def test_proofs_and_what_they_lead_to(case):
    (plain, fault), (quick, _) = twins(case)
    flipped = changes(fault)[::400]
    for arguments in (*flipped, fault.arguments, fault.arguments):
        name = {"CommitmentProofs": "commitment_proofs", "ReportProofs": "report_proofs"}
        call = (name[fault.contract], fault.function, *arguments)
        seen = told(plain, *call, sender=plain.hunter)
        assert seen == told(quick, *call, sender=quick.hunter)


def test_an_ordinary_epoch_and_too_little_gas():
    def steps(world):
        yield told(world, "rewards", "fund", FIRST, 300, 7, value=2100)
        for gas in (30_000, 60_000, 90_000, 120_000):
            yield told(world, "rewards", "fund", FIRST, 3, ETHER, value=3 * ETHER, gas=gas)
        tree = world.pay_epoch(FIRST, {f"n{i}": (account(f"p{i}"), i) for i in range(4)})
        claims = [tree.claim(FIRST, f"n{i}").arguments for i in range(4)]
        yield told(world, "rewards", "claim", *claims[3])
        yield told(world, "rewards", "claim", *claims[3])
        yield told(world, "rewards", "claim_many", claims)
        yield told(world, "registry", "open_epochs", FIRST + 200)
        yield told(world, "evaluations", "schedule", 3)

    def world():
        made = World()
        made.join_members(5)
        return made

    plain, quick = twins(world)
    assert list(steps(plain)) == list(steps(quick))
