"""Signature chains: every way to forge, replay, splice or deal with oneself is refused with its own reason."""

from dataclasses import replace

import pyarrow as pa
import pytest
from epoch_builder import input_of_jobs, payee
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.evaluate.functions.spark_chain import DOMAIN, FIELDS, PROVIDERS, REASONS, TASKS
from meridian.evaluate.registry import function_named
from meridian.evaluate.spark.signature_chain import (
    Check,
    Fault,
    Knowledge,
    Place,
    Provider,
    SignatureChain,
    Signers,
    fault_of,
    make_chain,
    parse,
)
from meridian.networks.generator import Traffic
from meridian.networks.local import epoch_inputs, scrambled
from meridian.networks.spark_chain import generate
from meridian.primitives import dagcbor
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

ORCHESTRATOR, STATION, PROVIDER, STRANGER = (
    PrivateKey(bytes([number]) * 32) for number in (1, 2, 3, 4)
)
PLACE = Place(Domain(314, Address(b"\x12" * 20)), b"n" * 32, 1)
CHECK = Check("station-1", "bafkqaaa", "f01000", "OK", 240, "1220ab")
SIGNERS = Signers(ORCHESTRATOR, STATION, PROVIDER)
PAYEE = Address(b"\x55" * 20)
VALID, TIMES = (1_000, 9_000), (2_000, 2_500)


def chain_of(
    place: Place = PLACE, check: Check = CHECK, signers: Signers = SIGNERS, task: int = 7
) -> SignatureChain:
    return make_chain(place, check, signers, task_id=bytes([task]) * 32, valid=VALID, times=TIMES)


CHAIN, OTHER = chain_of(), chain_of(check=replace(CHECK, cid="bafother"), task=8)
KNOWN = Knowledge(
    PLACE,
    ORCHESTRATOR.address,
    {"f01000": Provider(PROVIDER.address, Address(b"\x66" * 20))},
    {CHAIN.task_id: CHAIN.task, OTHER.task_id: OTHER.task},
)


def refused(
    chain: SignatureChain, check: Check = CHECK, to: Address = PAYEE, known: Knowledge = KNOWN
) -> Fault | None:
    return fault_of(chain, check, to, known)


def test_a_good_chain_is_good() -> None:
    assert refused(CHAIN) is None
    assert SignatureChain.decode(CHAIN.encode()) == CHAIN
    assert parse(CHAIN.encode().hex()) == CHAIN


def test_forged_statements() -> None:
    assert refused(chain_of(signers=replace(SIGNERS, orchestrator=STRANGER))) == Fault.FORGED_TASK
    by_provider = replace(CHAIN, request_signature=PROVIDER.sign(CHAIN.request))
    assert refused(by_provider) == Fault.FORGED_REQUEST
    by_station = replace(CHAIN, answer_signature=STATION.sign(CHAIN.answer))
    assert refused(by_station) == Fault.FORGED_ANSWER
    assert refused(CHAIN, replace(CHECK, miner_id="f09999")) == Fault.UNKNOWN_PROVIDER


@pytest.mark.parametrize(
    "change",
    [
        {"cid": "bafother"},
        {"station_id": "station-2"},
        {"byte_length": 241},
        {"checksum": "1220ac"},
    ],
)
def test_a_record_that_says_something_else_does_not_fit(change: dict[str, object]) -> None:
    assert refused(CHAIN, replace(CHECK, **change)) == Fault.SPLICED


def test_parts_of_different_chains_do_not_fit() -> None:
    answer = {"answer": OTHER.answer, "answer_signature": OTHER.answer_signature}
    request = {"request": OTHER.request, "request_signature": OTHER.request_signature}
    task = {"task": OTHER.task, "task_signature": OTHER.task_signature}
    for parts in (answer, request, task, answer | request, OTHER.__class__ and request | task):
        assert refused(replace(CHAIN, **parts)) == Fault.SPLICED


def test_another_epoch_network_or_domain() -> None:
    later = replace(PLACE, epoch=2)
    assert refused(chain_of(later)) == Fault.ANOTHER_EPOCH
    assert refused(replace(chain_of(later), epoch=1)) == Fault.SPLICED
    assert refused(chain_of(replace(PLACE, network=b"m" * 32))) == Fault.SPLICED
    for domain in (Domain(315, PLACE.domain.contract), Domain(314, Address(bytes(20)))):
        assert refused(chain_of(replace(PLACE, domain=domain))) == Fault.SPLICED


def test_out_of_time() -> None:
    for times in ((900, 2_500), (2_000, 9_001), (3_000, 2_500)):
        late = make_chain(PLACE, CHECK, SIGNERS, task_id=b"\x07" * 32, valid=VALID, times=times)
        assert refused(late) == Fault.OUT_OF_TIME


def test_self_dealing() -> None:
    own = chain_of(signers=replace(SIGNERS, station=PROVIDER))
    assert refused(own) == Fault.SELF_DEALT
    assert refused(CHAIN, to=PROVIDER.address) == Fault.SELF_DEALT
    assert refused(CHAIN, to=KNOWN.providers["f01000"].operator) == Fault.SELF_DEALT
    assert refused(CHAIN, to=ORCHESTRATOR.address) == Fault.SELF_DEALT
    assert refused(chain_of(signers=replace(SIGNERS, station=ORCHESTRATOR))) == Fault.SELF_DEALT


def test_the_orchestrators_records() -> None:
    assert refused(chain_of(task=9)) == Fault.NOT_RECORDED
    second = make_chain(
        PLACE, CHECK, SIGNERS, task_id=b"\x07" * 32, valid=(1_000, 9_001), times=TIMES
    )
    assert refused(second) == Fault.CONTRADICTS_RECORD


@settings(max_examples=150)
@given(st.integers(0, len(CHAIN.encode()) * 8 - 1))
def test_every_flipped_bit_is_refused(bit: int) -> None:
    packed = bytearray(CHAIN.encode())
    packed[bit // 8] ^= 1 << bit % 8
    try:
        chain = SignatureChain.decode(bytes(packed))
    except InvalidInput:
        return
    assert refused(chain) is not None


@pytest.mark.parametrize(
    "text", ["", "zz", CHAIN.encode().hex().upper(), CHAIN.encode().hex() + "00", "0002" + CHAIN.encode().hex()[4:]]
)  # fmt: skip
def test_text_that_is_no_chain(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


INPUTS = {
    DOMAIN: dagcbor.encode({"chain_id": 314, "contract": b"\x12" * 20, "network": b"n" * 32}),
    TASKS: dagcbor.encode([[CHAIN.task_id, CHAIN.task], [OTHER.task_id, OTHER.task]]),
    PROVIDERS: dagcbor.encode({"f01000": [bytes(PROVIDER.address), b"\x66" * 20]}),
}
TYPES = {name: pa.int64() if name == "byte_length" else pa.string() for name in FIELDS}
PARAMETERS = {"orchestrator": address_text(ORCHESTRATOR.address)}


def job(
    number: int, chain: str | None, result: str = "OK", station: str = "station-1"
) -> dict[str, object]:
    return {
        "node_id": station, "job_id": f"j{number}", "cid": CHECK.cid, "miner_id": CHECK.miner_id,
        "retrieval_result": result, "byte_length": 240, "car_checksum": CHECK.checksum,
        "signature_chain": chain,
    }  # fmt: skip


def test_the_function_counts_each_task_once_in_any_order() -> None:
    packed = CHAIN.encode().hex()
    jobs = [
        job(1, packed), job(2, packed), job(3, packed), job(4, packed, "TIMEOUT"), job(5, None),
        job(6, "00"), job(7, OTHER.encode().hex()), job(8, packed, station="station-2"),
    ]  # fmt: skip
    epoch = input_of_jobs(jobs, TYPES, inputs=INPUTS)
    function = function_named("spark-chain")
    result = function.evaluate(epoch, PARAMETERS)
    counts = {reason: result.summary[reason] for reason in REASONS if result.summary[reason]}
    assert counts == {
        "ok": 1,
        "replayed": 2,
        "unsuccessful": 1,
        "no_chain": 1,
        "malformed": 1,
        "spliced": 2,
    }
    assert dict(zip(epoch.node_ids, result.weights, strict=True)) == {
        "station-1": 1,
        "station-2": 0,
    }
    for seed in range(6):
        moved, order = scrambled(epoch, seed)
        again = function.evaluate(moved, PARAMETERS, threads=2)
        assert again.weights == result.weights
        assert [again.verdicts[place] for place in map(order.index, range(len(jobs)))] == list(
            result.verdicts
        )
    assert payee("station-1") not in KNOWN.providers


def test_inputs_and_parameters_are_checked() -> None:
    epoch = input_of_jobs([job(1, None)], TYPES, inputs=INPUTS)
    evaluate = function_named("spark-chain").evaluate
    for parameters in ({}, {"orchestrator": 3}, {**PARAMETERS, "x": 1}):
        with pytest.raises(InvalidInput):
            evaluate(epoch, parameters)
    for name, wrong in ((DOMAIN, {}), (TASKS, [[b"x", b"y"]]), (PROVIDERS, {"f0": [b"", b""]})):
        spoilt = replace(epoch, inputs={**INPUTS, name: dagcbor.encode(wrong)})
        with pytest.raises(InvalidInput, match=name):
            evaluate(spoilt, PARAMETERS)
        missing = replace(epoch, inputs={key: INPUTS[key] for key in INPUTS if key != name})
        with pytest.raises(InvalidInput, match=name):
            evaluate(missing, PARAMETERS)


def test_generated_checks_show_every_fate() -> None:
    source = generate(Traffic(seed=3, jobs=240, nodes=12, epochs=2))
    inputs, rejected = epoch_inputs(source)
    assert not rejected
    totals = dict.fromkeys(REASONS, 0)
    for epoch in inputs:
        result = function_named("spark-chain").evaluate(
            epoch, source.definition.function_parameters
        )
        for reason in REASONS:
            totals[reason] += result.summary[reason]
    assert totals["ok"] > 180
    shown = {reason for reason, count in totals.items() if count}
    assert shown == {
        "ok",
        "unsuccessful",
        "no_chain",
        "forged_answer",
        "spliced",
        "malformed",
        "not_recorded",
    }
