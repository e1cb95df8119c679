"""What a run cost: gas by what was called, processor time by party, bytes in files."""

import sys

import pytest

from meridian.contracts.artefact import load
from meridian.journey.models.metering import PartyClock, bytes_in, chain_steps
from meridian.journey.models.model import Costs, Phase
from meridian.journey.processes import Child
from meridian.node.chain.contract import Contract
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

KEY = PrivateKey(b"\x01" * 32)
BURN = """
import signal, time
while time.process_time() < 0.3: pass
print('{"event": "ready"}', flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def spent(tmp_path_factory):
    """(chain, steps) after two deployments, three calls and a transfer."""
    chain = EmbeddedChain(alloc={KEY.address: 10**24})
    sender = Sender(chain, KEY, tmp_path_factory.mktemp("sender") / "sender.sqlite")
    first = sender.deploy(load("ImpactEvaluator"), KEY.address, purpose="one")
    sender.deploy(load("ImpactEvaluator"), KEY.address, purpose="two")
    contract = Contract(chain, first, load("ImpactEvaluator"))
    for text in ("a", "b", "longer than that"):
        data = contract.encode("addMeasurements", text)
        sender.transact(first, data, purpose=text)
    sender.transact(Address(b"\x09" * 20), b"", 5, purpose="gift")
    sender.close()
    yield (
        chain,
        chain_steps(
            chain, {"ImpactEvaluator": first}, {"ImpactEvaluator.addMeasurements": Phase.PAYMENT}
        ),
    )
    chain.close()


def test_every_transaction_is_counted_by_what_it_calls(spent):
    chain, steps = spent
    by_name = {step.name: step for step in steps}
    assert [*by_name] == [
        "deploy ImpactEvaluator", "deploy code", "ImpactEvaluator.addMeasurements", "transfer",
    ]  # fmt: skip
    assert [step.transactions for step in steps] == [1, 1, 3, 1]
    assert [step.phase for step in steps] == [
        Phase.SET_UP, Phase.SET_UP, Phase.PAYMENT, Phase.EPOCH,
    ]  # fmt: skip
    assert by_name["transfer"].gas == 21_000
    assert by_name["transfer"].calldata_bytes == 0
    head = int(chain.call("eth_blockNumber"), 16)
    used = sum(
        int(chain.call("eth_getBlockByNumber", hex(number), False)["gasUsed"], 16)
        for number in range(head + 1)
    )
    assert sum(step.gas for step in steps) == used, "nothing on the chain is left out"
    assert by_name["ImpactEvaluator.addMeasurements"].calldata_bytes == 3 * 100


def test_counting_can_begin_at_a_block(spent):
    chain, steps = spent
    head = int(chain.call("eth_blockNumber"), 16)
    [last] = chain_steps(chain, {}, {}, first_block=head, chain="side")
    assert (last.name, last.chain) == ("transfer", "side")
    costs = Costs(steps=[*steps, last], stored_bytes=0, private_bytes=0, cpu_s={})
    assert costs.transactions == 6, "another chain is not the main chain"
    assert costs.of(chain="side") == [last]
    assert costs.gas == sum(step.gas for step in steps)
    assert {step.phase for step in costs.of(Phase.PAYMENT)} == {Phase.PAYMENT}


def test_processor_time_goes_to_the_party_that_spent_it():
    clock = PartyClock()
    with clock.spent_by("nodes"):
        sum(range(2_000_000))
    with pytest.raises(ValueError), clock.spent_by("verifier"):
        raise ValueError
    clock.add("chain", 1.5)
    clock.add("chain", 1.0)
    assert clock.cpu_s["nodes"] > 0.005
    assert [*clock.cpu_s] == ["nodes", "verifier", "chain"]
    assert clock.cpu_s["chain"] == 2.5


@pytest.mark.parametrize("end", ["wait", "kill"])
def test_a_child_says_what_it_spent_when_it_has_ended(tmp_path, end):
    command = [sys.executable, "-c", BURN]
    child = Child("burner", command, tmp_path / "log", lambda _name, _event: None)
    child.wait_ready()
    assert child.alive
    assert child.cpu_s == 0.0
    (child.kill if end == "kill" else child.stop)()
    assert 0.25 < child.cpu_s < 5
    assert not child.alive


def test_bytes_are_those_of_files_wherever_they_lie(tmp_path):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    assert bytes_in([tmp_path]) == 8
    assert bytes_in([tmp_path / "b", tmp_path / "absent", tmp_path / "deep"]) == 8
