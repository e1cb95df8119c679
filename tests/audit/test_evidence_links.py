"""Links: order, dependence, and what counts as broken."""

import pytest

from meridian.audit.evidence import (
    ITEMS_MAX,
    Broken,
    Finding,
    State,
    Step,
    first_broken,
    run_steps,
)
from meridian.errors import InvalidInput


def broken(_: object) -> Finding:
    raise Broken("it is bad", [f"file {number}" for number in range(ITEMS_MAX + 5)])


def unreadable(_: object) -> Finding:
    raise InvalidInput("field", "is not what it should be")


def too_deep(_: object) -> Finding:
    raise RecursionError


def holds(_: object) -> Finding:
    return Finding("fine", ("note",))


def test_what_needs_a_broken_link_is_unchecked_and_says_so() -> None:
    steps = (
        Step("a", (), holds),
        Step("b", ("a",), broken),
        Step("c", ("b",), holds),
        Step("d", ("a", "c"), holds),
        Step("e", ("a",), holds),
    )
    links = run_steps(None, steps)
    assert [link.state for link in links] == [
        State.HOLDS,
        State.BROKEN,
        State.UNCHECKED,
        State.UNCHECKED,
        State.HOLDS,
    ]
    assert links[2].detail == "not checked: it needs b"
    assert links[3].detail == "not checked: it needs c"
    assert first_broken(links) is links[1]
    assert len(links[1].items) == ITEMS_MAX + 1
    assert links[1].items[-1] == "and 5 more"


@pytest.mark.parametrize("check", [unreadable, too_deep])
def test_unreadable_data_break_the_link_and_do_not_end_the_audit(check) -> None:
    (link,) = run_steps(None, (Step("a", (), check),))
    assert link.state is State.BROKEN


def test_a_sealed_link_is_not_broken_and_may_be_needed() -> None:
    steps = (
        Step("a", (), lambda _: Finding("counts hold", sealed=True)),
        Step("b", ("a",), holds),
    )
    links = run_steps(None, steps)
    assert [link.state for link in links] == [State.SEALED, State.HOLDS]
    assert first_broken(links) is None


def test_a_bug_of_ours_is_not_taken_for_a_finding() -> None:
    with pytest.raises(AttributeError):
        run_steps(object(), (Step("a", (), lambda case: case.missing),))
