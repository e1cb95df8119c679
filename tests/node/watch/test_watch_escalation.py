"""What arithmetic cannot settle goes to the referees, once, within the limit of bonds, and only if nobody shows more."""

from typing import Any

import msgspec
import pytest
from watch_world import (
    BOND,
    COIN,
    MEMBERS,
    NETWORK,
    NODES,
    REFEREE,
    RESPONSE_S,
    SPONSOR,
    VICTIM,
    VOTING_S,
    WATCHER,
    Heard,
    WatchWorld,
    shares,
)

from meridian.cli.watch_commands import event_text
from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Ruling
from meridian.errors import InvalidInput
from meridian.node.accusation_file import read_accusation
from meridian.node.chain_view import AcceptedReport
from meridian.node.watch.options import WatchOptions
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address

PATIENCE_S = 60.0


def look(world: WatchWorld, name: str = "watcher", **options: Any) -> Heard:
    heard = Heard()
    watcher = world.watcher(heard, name, **({"escalate": True, "patience_s": 0.0} | options))
    watcher.round()
    watcher.close()
    return heard


def withheld(world: WatchWorld) -> AcceptedReport:
    """A report whose claims nobody can see: nothing can be computed from it."""
    world.commit(1)
    return world.report(1, shares() | {VICTIM: 0}, publish=False)


def cases(world: WatchWorld) -> list[dict[str, Any]]:
    return [event.args for event in world.contract("Disputes").events("Escalated")]


def rule(world: WatchWorld, case: int, guilty: list[Address], *, voids: bool) -> None:
    """Have the one referee decide."""
    referees = world.contract("Referees")
    epoch, _, accusation = referees.read("cases", case)
    says = Ruling(NETWORK, case, epoch, accusation, tuple(guilty), (), voids)
    signature = signature_words(REFEREE.sign(says.digest(world.network.domain(referees.address))))
    world.send(SPONSOR, referees, "decide", case, guilty, [], voids, [signature])


def test_a_report_that_nobody_explains_is_escalated_once_and_ruled_on(world: WatchWorld) -> None:
    report = withheld(world)
    heard = Heard()
    watcher = world.watcher(
        heard, escalate=True, patience_s=PATIENCE_S, case_url="https://w/cases/"
    )
    watcher.round()
    assert heard.of("accusation") == []
    world.wait(PATIENCE_S)
    watcher.round()
    watcher.round()
    watcher.close()
    [said] = heard.of("accusation")
    assert (said["kind"], said["result"], len(said["guilty"])) == ("escalate", "escalated", 3)
    [case] = cases(world)
    [path] = (world.root / "watcher" / "cases").iterdir()
    assert (case["accusation"], case["uri"]) == (
        sha256(path.read_bytes()),
        f"https://w/cases/{path.name}",
    )
    document = msgspec.json.decode(path.read_bytes())
    assert (document["report"], document["link"]) == (report.report_hash.hex(), "report")
    assert "no publication names an outcome" in document["finding"]
    sent = world.sent_by(WATCHER)
    look(world)
    assert look(world, "another").results() == ["refused"], "it is before the referees already"
    assert (world.sent_by(WATCHER), len(cases(world))) == (sent, 1)

    signers = [one.address for one in MEMBERS if one.address in said["guilty"]]
    rule(world, 1, signers, voids=True)
    assert world.view.reported() == []
    [ruled] = look(world).of("ruled")
    assert event_text("ruled", ruled) == "epoch 1: the referees have closed case 1: upheld"
    assert world.contract("Disputes").read("locked") == 0
    assert len(cases(world)) == 1


def test_a_bond_above_the_limit_leaves_case_and_call_to_a_person(world: WatchWorld) -> None:
    withheld(world)
    [said] = look(world, bond_max_atto=BOND - 1).of("accusation")
    assert (said["result"], cases(world)) == ("bond too high", [])
    file, arguments = read_accusation(said["file"], world.chain)
    assert (file.contract, file.function, file.takes_bond) == ("Disputes", "escalate", True)
    [path] = (world.root / "watcher" / "cases").iterdir()
    assert arguments[1] == sha256(path.read_bytes())
    assert arguments[2].startswith("ipfs://b")


def test_a_case_that_the_referees_forget_gives_the_bond_back(world: WatchWorld) -> None:
    withheld(world)
    assert look(world).results() == ["escalated"]
    world.wait(VOTING_S)
    assert look(world).of("expired") == []
    world.wait(RESPONSE_S)
    assert [one["result"] for one in look(world).of("expired")] == ["proven"]
    heard = look(world)
    assert [one["result"] for one in heard.of("ruled")] == ["not upheld"]
    assert world.contract("Disputes").read("locked") == 0
    assert len(cases(world)) == 1, "what was ruled on is not brought again"


def test_patience_ends_with_half_of_the_window(world: WatchWorld) -> None:
    withheld(world)
    heard = Heard()
    watcher = world.watcher(heard, escalate=True, patience_s=10**6)
    watcher.round()
    world.wait(280)
    watcher.round()
    assert heard.results() == []
    world.wait(30)
    watcher.round()
    watcher.close()
    assert heard.results() == ["escalated"]


def test_what_arithmetic_proves_is_not_escalated(world: WatchWorld) -> None:
    world.commit(1)
    right = shares()
    world.report(1, right | {VICTIM: right[VICTIM] + COIN, NODES[0]: right[NODES[0]] - COIN})
    heard = look(world)
    assert [(one["kind"], one["result"]) for one in heard.of("accusation")] == [
        ("wrong_reward", "proven")
    ]
    assert look(world).of("accusation") == []


def test_an_outcome_that_does_not_lead_to_the_report_is_named(world: WatchWorld) -> None:
    """The claims are right, so arithmetic is silent; that a committee agreed on them, nobody shows."""
    world.commit(1)
    world.report(1, shares())
    heard = look(world)
    assert [one["faults"] for one in heard.of("report")] == [[]]
    assert heard.results() == ["escalated"]
    [path] = (world.root / "watcher" / "cases").iterdir()
    document = msgspec.json.decode(path.read_bytes())
    assert (document["link"], len(document["outcomes"])) == ("block", 1)


def test_nobody_is_escalated_for_jobs_that_are_withheld(world: WatchWorld) -> None:
    world.commit(1, lie="withholds-data")
    world.report(1, shares())
    heard = look(world)
    assert [one["kind"] for one in heard.of("accusation")] == ["challenge"]
    assert look(world, escalate=False).of("accusation")[0]["kind"] == "challenge"
    assert cases(world) == []


def test_it_looks_at_whole_epochs(world: WatchWorld) -> None:
    with pytest.raises(InvalidInput, match="--escalate: it looks at whole epochs"):
        world.watcher(Heard(), escalate=True, node_id="anna")
    with pytest.raises(InvalidInput, match="--case-url"):
        WatchOptions(
            data_dir=world.data, state_dir=world.root, key_file=world.root, case_url="h" * 221
        )
