"""Which rows the committee accepts."""

import pytest
from committee_world import MEMBERS, body_of, header_of

from meridian.committee import rules as rules_module
from meridian.committee.rules import CommitteeRules
from meridian.errors import InvalidInput
from meridian.primitives.ids import network_id

ME, WEIGHTS = MEMBERS[0], {"alpha": 3, "beta": None}


def rules_for(*epochs: int) -> CommitteeRules:
    rules = CommitteeRules()
    for epoch in epochs:
        rules.expect(header_of(epoch))
    return rules


def test_a_row_of_the_expected_evaluation_is_accepted_from_any_member_with_any_weights() -> None:
    rules = rules_for(1)
    for member in MEMBERS:
        assert rules.check_row(1, member, body_of(header_of(1), WEIGHTS)) is None
    assert rules.check_row(1, ME, body_of(header_of(1), {"stranger": 2**128 - 1})) is None
    assert rules.check_row(1, ME, body_of(header_of(1), {})) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", network_id("other")),
        ("commitment", b"\x77" * 32),
        ("function", b"\x77" * 32),
        ("parameters", b"\x77" * 32),
        ("inputs_root", b"\x77" * 32),
    ],
)
def test_a_row_of_another_evaluation_is_refused_by_the_field_that_differs(
    field: str, value: bytes
) -> None:
    reason = rules_for(1).check_row(1, ME, body_of(header_of(1, **{field: value}), WEIGHTS))
    assert reason == f"{field}: is not the one of this epoch"


def test_a_row_of_another_epoch_is_refused_also_if_that_epoch_is_open() -> None:
    reason = rules_for(1, 2).check_row(1, ME, body_of(header_of(2), WEIGHTS))
    assert reason == "epoch: is not the one of this epoch"
    assert rules_for(1).check_row(2, ME, body_of(header_of(2), WEIGHTS)) == (
        "epoch: is not expected here"
    )


@pytest.mark.parametrize("cut", [0, 1, 33, -1])
def test_a_malformed_row_is_refused_with_a_reason_and_never_raises(cut: int) -> None:
    body = body_of(header_of(1), WEIGHTS)
    assert rules_for(1).check_row(1, ME, body[:cut])
    assert rules_for(1).check_row(1, ME, body + b"\x00")


def test_an_epoch_keeps_its_first_header() -> None:
    rules = rules_for(1)
    rules.expect(header_of(1))
    with pytest.raises(InvalidInput, match="already has another header"):
        rules.expect(header_of(1, commitment=b"\x77" * 32))
    assert rules.check_row(1, ME, body_of(header_of(1), WEIGHTS)) is None


def test_a_forgotten_epoch_is_not_expected_and_forgetting_twice_is_harmless() -> None:
    rules = rules_for(1, 2)
    rules.forget(1)
    rules.forget(1)
    assert rules.check_row(1, ME, body_of(header_of(1), WEIGHTS)) == "epoch: is not expected here"
    assert rules.check_row(2, ME, body_of(header_of(2), WEIGHTS)) is None


def test_the_number_of_open_epochs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "EPOCHS_MAX", 3)
    rules = rules_for(1, 2, 3)
    rules.expect(header_of(3))  # no new one
    with pytest.raises(InvalidInput, match="3 are open already"):
        rules.expect(header_of(4))
    rules.forget(2)
    rules.expect(header_of(4))
