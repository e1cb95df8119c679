"""Proofs about hidden jobs: what is true can be proven, what is not cannot, and the proof says nothing else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.models.zero_knowledge import group, one_of_many, range_proof, verdicts
from meridian.models.zero_knowledge.group import NOTHING, ORDER, G, H, add, commit, minus, times
from meridian.models.zero_knowledge.verdicts import ThresholdRule

SEED = bytes(range(32))
CONTEXT = b"network, epoch 3, node"


def refusal(call, *arguments) -> str:
    with pytest.raises(InvalidInput) as error:
        call(*arguments)
    return error.value.field


def blinded(values):
    secrets = group.Scalars(SEED, b"test")
    return [(value, secrets.next()) for value in values]


@given(st.integers(0, ORDER - 1), st.integers(0, ORDER - 1))
@settings(max_examples=25)
def test_commitments_add_up(a, b):
    assert add([commit(a, b), commit(b, a)]) == commit(a + b, a + b)
    assert add([commit(a, b), minus(commit(a, b))]) == NOTHING
    assert times(commit(1, 0), a) == commit(a, 0)


def test_the_second_generator_is_another_point():
    assert len({G, H, NOTHING}) == 3
    assert commit(0, 1) == H
    assert commit(1, 0) == G
    assert commit(0, 0) == NOTHING


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 33])
def test_any_place_can_be_proven_and_the_proof_is_as_long_for_all(length):
    opened = blinded([200 if at in {0, length // 2, length - 1} else 500 for at in range(length)])
    commitments = [commit(*one) for one in opened]
    sizes = set()
    for index in {0, length // 2, length - 1}:
        proof = one_of_many.prove(CONTEXT, commitments, index, 200, opened[index][1], SEED)
        one_of_many.verify(CONTEXT, commitments, 200, proof)
        sizes.add(proof.size)
    assert len(sizes) == 1


def test_a_masked_inclusion_holds_for_its_statement_only():
    opened = blinded([500, 500, 200, 500, 404])
    commitments = [commit(*one) for one in opened]
    proof = one_of_many.prove(CONTEXT, commitments, 2, 200, opened[2][1], SEED)
    one_of_many.verify(CONTEXT, commitments, 200, proof)
    assert refusal(one_of_many.verify, b"epoch 4", commitments, 200, proof) == "bit"
    assert refusal(one_of_many.verify, CONTEXT, commitments, 201, proof) == "bit"
    assert refusal(one_of_many.verify, CONTEXT, commitments[::-1], 200, proof) == "bit"
    assert refusal(one_of_many.verify, CONTEXT, commitments[:4], 200, proof) == "bits"
    for name in ("answer", "bit_answer", "product_answer"):
        part = proof.bits[1]
        changed = replace(part, **{name: (getattr(part, name) + 1) % ORDER})
        forged = replace(proof, bits=(proof.bits[0], changed, proof.bits[2]))
        assert refusal(one_of_many.verify, CONTEXT, commitments, 200, forged) in {"bit", "product"}
    for name in ("bit", "mask", "product", "mix"):
        changed = replace(proof.bits[0], **{name: H})
        forged = replace(proof, bits=(changed, *proof.bits[1:]))
        refusal(one_of_many.verify, CONTEXT, commitments, 200, forged)
    off = replace(proof, answer=(proof.answer + 1) % ORDER)
    assert refusal(one_of_many.verify, CONTEXT, commitments, 200, off) == "inclusion"
    assert (
        refusal(one_of_many.verify, CONTEXT, commitments, 200, replace(proof, answer=ORDER))
        == "inclusion"
    )


def test_who_has_no_such_job_can_prove_nothing():
    opened = blinded([500, 500, 500, 404])
    commitments = [commit(*one) for one in opened]
    assert (
        refusal(one_of_many.prove, CONTEXT, commitments, 1, 200, opened[1][1], SEED) == "blinding"
    )
    other = [*commitments[:1], commit(200, opened[1][1]), *commitments[2:]]
    proof = one_of_many.prove(CONTEXT, other, 1, 200, opened[1][1], SEED)
    assert refusal(one_of_many.verify, CONTEXT, commitments, 200, proof) in {"bit", "inclusion"}


@given(st.integers(1, 16), st.data())
@settings(max_examples=12)
def test_every_value_of_so_many_bits_can_be_proven_and_no_other(bits, data):
    value = data.draw(st.integers(0, (1 << bits) - 1))
    proof = range_proof.prove(CONTEXT, value, 77, bits, SEED)
    range_proof.verify(CONTEXT, commit(value, 77), bits, proof)
    assert refusal(range_proof.verify, CONTEXT, commit(value + 1, 77), bits, proof) == "sum"
    assert refusal(range_proof.verify, b"other", commit(value, 77), bits, proof) == "bit"
    assert refusal(range_proof.prove, CONTEXT, 1 << bits, 77, bits, SEED) == "value"


def test_a_number_outside_cannot_be_passed_off_by_bits_that_are_none():
    """-1 as bits (1, -1): they add up, but the second is neither 0 nor 1."""
    honest = range_proof.prove(CONTEXT, 1, 5, 2, SEED)
    first, second = commit(1, 3), commit(-1, 1)
    whole = add([first, times(second, 2)])
    assert whole == commit(-1, 5)
    bits = zip(honest.bits, (first, second), strict=True)
    forged = replace(honest, bits=tuple(replace(bit, commitment=point) for bit, point in bits))
    assert refusal(range_proof.verify, CONTEXT, whole, 2, forged) == "bit"
    off = replace(honest.bits[0], zero_answer=ORDER)
    forged = replace(honest, bits=(off, honest.bits[1]))
    assert refusal(range_proof.verify, CONTEXT, commit(1, 5), 2, forged) == "bit"


RULE = ThresholdRule(limit=100, bits=8)
VALUES = [0, 7, 100, 101, 255, 42]


def test_verdicts_hold_and_the_total_is_that_of_the_jobs_that_count():
    judged = verdicts.judge(CONTEXT, VALUES, RULE, SEED)
    verdicts.verify(CONTEXT, judged.root, judged, RULE)
    assert [one.ok for one in judged.verdicts] == [value <= 100 for value in VALUES]
    assert judged.total == 149


def test_a_wrong_verdict_or_total_is_refused():
    judged = verdicts.judge(CONTEXT, VALUES, RULE, SEED)
    root = judged.root
    more = replace(judged, total=judged.total + 1)
    assert refusal(verdicts.verify, CONTEXT, root, more, RULE) == "total"
    for at in (2, 3):
        lie = replace(judged.verdicts[at], ok=not judged.verdicts[at].ok)
        said = (*judged.verdicts[:at], lie, *judged.verdicts[at + 1 :])
        forged = replace(judged, verdicts=said)
        assert refusal(verdicts.verify, CONTEXT, root, forged, RULE) == "verdicts"
        borrowed = replace(judged.verdicts[at], ok=lie.ok, proofs=judged.verdicts[5 - at].proofs)
        forged = replace(judged, verdicts=(*said[:at], borrowed, *said[at + 1 :]))
        assert refusal(verdicts.verify, CONTEXT, root, forged, RULE) in {"sum", "bit"}
    assert refusal(verdicts.verify, CONTEXT, root, judged, replace(RULE, limit=99)) in {
        "sum",
        "bit",
    }
    assert refusal(verdicts.verify, b"epoch 4", root, judged, RULE) == "bit"
    fewer = replace(judged, commitments=judged.commitments[:-1], verdicts=judged.verdicts[:-1])
    assert refusal(verdicts.verify, CONTEXT, root, fewer, RULE) == "root"


def test_input_is_refused_by_name():
    assert refusal(verdicts.judge, CONTEXT, [256], RULE, SEED) == "values"
    assert refusal(ThresholdRule, 256, 8) == "limit"
    assert refusal(group.Scalars, b"short", b"") == "seed"
    assert refusal(group.read_point, b"\x02" + bytes(32), "point") == "point"
    assert refusal(one_of_many.prove, CONTEXT, [], 0, 0, 0, SEED) == "commitments"
    assert refusal(range_proof.prove, CONTEXT, 0, 0, 65, SEED) == "bits"


def test_the_root_over_a_list_is_that_of_its_order_and_length():
    points = [commit(at, 1) for at in range(6)]
    roots = {group.root_of(points[:length]) for length in range(7)}
    assert len(roots | {group.root_of(points[::-1])}) == 8


def test_the_example_of_the_page_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "explanation" / "zero-knowledge.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    exec(compile(block, page.name, "exec"), {})
    root, size = capsys.readouterr().out.split()
    assert (len(root), int(size)) == (64, 488)
