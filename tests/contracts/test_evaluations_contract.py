"""Evaluations: one report for each epoch, by a quorum, within the budget; the schedule only grows."""

from dataclasses import replace

import coincurve
import pytest
from contract_world import (
    CHALLENGE_S,
    FIRST,
    FUNCTION,
    NETWORK,
    PARAMETERS,
    TERMS,
    Refused,
    World,
    account,
    key,
    refuses,
)

from meridian.contracts.calldata import ascending_words, signature_words
from meridian.contracts.statements import Transmission
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import ZERO_ADDRESS, address_text, network_id
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
ROOT = sha256(b"reward root")
EACH = 1000


def make_world(members: int = 7) -> World:
    world = World()
    world.join_members(members)
    world.fund(FIRST, 50, EACH)
    world.ready(FIRST)
    return world


@pytest.fixture
def world() -> World:
    return make_world()


def words(signers, digest):
    return [signature_words(signer.sign(digest)) for signer in signers]


def report_hash(world, report):
    return report.digest(world.evaluations.domain)


def test_an_accepted_report_is_stored_with_its_winner(world):
    report = world.report(FIRST, ROOT, 600)
    winner = world.members[4]
    outcome = world.submit(report, transmitter=winner)
    unlock_at = world.now_s + CHALLENGE_S
    digest = report_hash(world, report)
    (event,) = outcome.events
    assert event.args == {
        "epoch": FIRST,
        "report_hash": digest,
        "transmitter": address_text(winner.address),
        "reward_root": ROOT,
        "total": 600,
        "unlock_at": unlock_at,
        "previous": bytes(32),
    }
    read = world.evaluations.read
    expected = (digest, ROOT, 600, unlock_at, address_text(winner.address))
    assert read("report", FIRST) == expected
    assert (read("last_report"), read("last_total"), read("last_epoch")) == (digest, 600, FIRST)
    assert read("report_count") == 1
    assert read("report", FIRST + 1) == (bytes(32), bytes(32), 0, 0, address_text(ZERO_ADDRESS))
    assert not read("unlocked", FIRST)
    assert not read("unlocked", FIRST + 1)
    world.now_s = unlock_at
    assert read("unlocked", FIRST)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10, 13, 31, 100, 128])
def test_a_quorum_is_accepted_and_one_less_is_refused(n):
    world = make_world(n)
    q = quorum(n)
    assert world.evaluations.read("quorum", FIRST) == q
    report = world.report(FIRST, ROOT, 600)
    fewer = world.members[n - q + 1 :]
    assert refuses(world.submit, report, fewer) == "evaluations: quorum"
    world.submit(report, world.members[n - q :], transmitter=world.members[-1])


def test_all_members_may_sign(world):
    world.submit(world.report(FIRST, ROOT, 600), world.members)


def test_signatures_that_do_not_count_are_refused(world):
    report = world.report(FIRST, ROOT, 600)
    digest = report_hash(world, report)
    good = words(world.members[:5], digest)
    stranger = key("stranger")
    with_stranger = {s.address: s.sign(digest) for s in [*world.members[:4], stranger]}
    cases = {
        "evaluations: signer": [ascending_words(with_stranger)],
        "evaluations: order": [
            [good[1], good[0], *good[2:]],
            [good[0], good[0], *good[1:]],
            [*good, good[4]],
            [*good, *good],
        ],
        "evaluations: signature": [
            [*good[:2], (0, 0), *good[3:]],
            [*good[:2], (good[2][0], 2**255 - 1), *good[3:]],
        ],
    }
    for reason, lists in cases.items():
        for signatures in lists:
            assert refuses(world.submit, report, words=signatures) == reason
    world.submit(report, words=good)


def test_the_other_spelling_of_a_members_signature_is_refused():
    """EIP-2098 has room for s between half the order and 2^255, so a key is made that hits it."""

    def world_of(member):
        world = World()
        world.members = [member]
        world.join(member)
        world.ready(FIRST)
        return world

    world = world_of(key("anybody"))
    digest = report_hash(world, world.report(FIRST, ROOT, 0))
    k, s = 12345, ORDER // 2 + 1
    point = coincurve.PrivateKey(k.to_bytes(32, "big")).public_key.format()
    r = int.from_bytes(point[1:], "big")
    secret = (s * k - int.from_bytes(digest, "big")) * pow(r, -1, ORDER) % ORDER
    world = world_of(PrivateKey(secret.to_bytes(32, "big")))
    report = world.report(FIRST, ROOT, 0)
    assert report_hash(world, report) == digest
    high = (r, s | (point[0] - 2) << 255)
    assert refuses(world.submit, report, words=[high]) == "evaluations: signature"
    low = (r, ORDER - s | (3 - point[0]) << 255)
    world.submit(report, words=[low])


def test_signatures_for_another_statement_are_refused(world):
    report = world.report(FIRST, ROOT, 600)
    here = world.evaluations.domain
    signed_elsewhere = {
        "chain": (report, Domain(here.chain_id + 1, here.contract)),
        "contract": (report, Domain(here.chain_id, world.rewards.address)),
        "epoch": (replace(report, epoch=FIRST + 1), here),
        "network": (replace(report, network=network_id("other")), here),
        "block": (replace(report, block_hash=bytes(32)), here),
        "inputs": (replace(report, inputs_root=bytes(32)), here),
        "verdicts": (replace(report, verdict_root=bytes(32)), here),
        "rewards": (replace(report, reward_root=bytes(32)), here),
        "total": (replace(report, total=601), here),
    }
    for what, (other, domain) in signed_elsewhere.items():
        signatures = words(world.members[:5], other.digest(domain))
        # The recovered accounts are random, so they are strangers or out of order.
        reason = refuses(world.submit, report, words=signatures)
        assert reason in {"evaluations: signer", "evaluations: order"}, what


def test_members_of_another_epoch_do_not_count(world):
    newcomers = [key(f"newcomer {i}") for i in range(7)]
    for old, new in zip(world.members, newcomers, strict=True):
        world.registry.send("leave_evaluator", sender=old.address)
        world.join(new)
    world.ready(FIRST + 1)
    newcomers.sort(key=lambda member: member.address)
    report = world.report(FIRST, ROOT, 600)
    reason = refuses(world.submit, report, newcomers, transmitter=newcomers[0])
    assert reason == "evaluations: signer"
    world.submit(report)
    world.submit(world.report(FIRST + 1, ROOT, 600), newcomers, transmitter=newcomers[0])


def test_the_winner_is_the_transmitting_member_not_the_sender(world):
    report = world.report(FIRST, ROOT, 600)
    winner = world.members[6]
    outcome = world.submit(report, transmitter=winner, sender=account("copycat"))
    assert outcome.events[0].args["transmitter"] == address_text(winner.address)


def test_only_a_members_own_transmission_of_this_report_counts(world):
    report = world.report(FIRST, ROOT, 600)
    digest, domain, member = report_hash(world, report), world.evaluations.domain, world.members[0]
    other = sha256(b"other")
    for signer, says, where in (
        (key("stranger"), Transmission(NETWORK, FIRST, digest), domain),
        (member, Transmission(NETWORK, FIRST + 1, digest), domain),
        (member, Transmission(network_id("other"), FIRST, digest), domain),
        (member, Transmission(NETWORK, FIRST, other), domain),
        (member, Transmission(NETWORK, FIRST, digest), Domain(2, domain.contract)),
    ):
        signed = signature_words(signer.sign(says.digest(where)))
        assert refuses(world.submit, report, transmission=signed) == "evaluations: transmitter"
    signature = refuses(world.submit, report, transmission=(0, 0))
    assert signature == "evaluations: transmitter"


def test_the_first_valid_report_wins(world):
    first, second = (world.report(FIRST, sha256(text), 600) for text in (b"one", b"two"))
    world.submit(first)
    assert refuses(world.submit, second) == "evaluations: reported"
    assert refuses(world.submit, first) == "evaluations: reported"


def test_a_report_must_be_about_what_is_on_chain(world):
    report = world.report(FIRST, ROOT, 600)
    for changes, reason in (
        ({"network": network_id("other")}, "evaluations: network"),
        ({"epoch": FIRST + 1}, "evaluations: not open"),
        ({"commitment": sha256(b"other")}, "evaluations: commitment"),
        ({"function_digest": sha256(b"other")}, "evaluations: function"),
        ({"parameters_digest": sha256(b"other")}, "evaluations: parameters"),
        ({"previous": sha256(b"other")}, "evaluations: previous"),
        ({"total": EACH + 1}, "rewards: budget"),
    ):
        assert refuses(world.submit, replace(report, **changes)) == reason
    world.open(FIRST + 1)
    uncommitted = replace(report, epoch=FIRST + 1, commitment=bytes(32))
    assert refuses(world.submit, uncommitted) == "evaluations: uncommitted"
    assert refuses(world.evaluations.read, "quorum", FIRST + 2) == "evaluations: not open"


def test_totals_never_fall_and_grow_by_at_most_the_epochs_budget(world):
    world.submit(world.report(FIRST, ROOT, 600))
    world.ready(FIRST + 1)
    assert refuses(world.submit, world.report(FIRST + 1, ROOT, 599)) == "rewards: total"
    over = world.report(FIRST + 1, ROOT, 600 + EACH + 1)
    assert refuses(world.submit, over) == "rewards: budget"
    stale = replace(world.report(FIRST + 1, ROOT, 600), previous=bytes(32))
    assert refuses(world.submit, stale) == "evaluations: previous"
    world.submit(world.report(FIRST + 1, ROOT, 600 + EACH))


def test_late_and_out_of_order_epochs_are_accepted(world):
    for epoch in range(FIRST + 1, FIRST + 4):
        world.ready(epoch)
    total = 0
    for epoch in (FIRST + 2, FIRST, FIRST + 3, FIRST + 1):
        total += EACH
        before = world.evaluations.read("last_report")
        (event,) = world.submit(world.report(epoch, ROOT, total)).events
        assert event.args["previous"] == before
        world.now_s += 10_000
    assert world.evaluations.read("report_count") == 4
    assert world.evaluations.read("last_epoch") == FIRST + 1


def test_only_the_owner_extends_the_schedule_for_epochs_neither_funded_nor_open(world):
    other = (sha256(b"other function"), sha256(b"other parameters"))

    def schedule(first, sender=world.owner):
        arguments = (first, *other, TERMS.arguments)
        return world.evaluations.send("set_schedule", *arguments, sender=sender)

    read = world.evaluations.read
    unfunded = FIRST + 50
    assert refuses(schedule, unfunded, account("stranger")) == "evaluations: owner"
    assert refuses(schedule, unfunded - 1) == "evaluations: funded"
    (event,) = schedule(unfunded + 5).events
    assert (event.name, event.args["version"]) == ("Scheduled", 2)
    assert refuses(schedule, unfunded + 5) == "evaluations: order"
    schedule(unfunded + 7)
    assert read("schedule", FIRST) == (1, FUNCTION, PARAMETERS)
    assert read("schedule", unfunded + 4) == (1, FUNCTION, PARAMETERS)
    assert read("schedule", unfunded + 5) == (2, *other)
    assert read("schedule", unfunded + 6) == (2, *other)
    assert read("schedule", unfunded + 7)[0] == 3
    assert read("schedule", 2**60)[0] == 3
    assert read("version_count") == 3
    assert refuses(read, "schedule", FIRST - 1) == "evaluations: epoch"


def test_the_schedule_does_not_change_under_open_epochs():
    world = World()
    world.join_members(1)
    world.open(FIRST + 3)
    other = (sha256(b"other function"), sha256(b"other parameters"))
    new = (*other, TERMS.arguments)
    send = world.evaluations.send
    for first, reason in ((FIRST + 3, "evaluations: open"), (FIRST, "evaluations: order")):
        assert refuses(send, "set_schedule", first, *new, sender=world.owner) == reason
    send("set_schedule", FIRST + 4, *new, sender=world.owner)
    world.fund(FIRST + 4, 1, EACH)
    world.ready(FIRST)
    for epoch in range(FIRST + 1, FIRST + 5):
        world.ready(epoch)
    stale = replace(
        world.report(FIRST + 4, ROOT, EACH),
        function_digest=FUNCTION,
        parameters_digest=PARAMETERS,
    )
    assert refuses(world.submit, stale) == "evaluations: function"
    world.submit(world.report(FIRST + 4, ROOT, EACH))


def test_many_versions_are_found():
    world = World()
    for version in range(2, 12):
        digests = (sha256(bytes([version])), PARAMETERS, TERMS.arguments)
        first = FIRST + 3 * version
        world.evaluations.send("set_schedule", first, *digests, sender=world.owner)
    for epoch in range(FIRST, FIRST + 40):
        expected = min(11, max(1, (epoch - FIRST) // 3))
        assert world.evaluations.read("schedule", epoch)[0] == expected


def test_without_an_owner_nobody_can_change_the_schedule():
    world = World(owner=ZERO_ADDRESS)
    arguments = ("set_schedule", FIRST + 1, FUNCTION, PARAMETERS, TERMS.arguments)
    assert refuses(world.evaluations.send, *arguments) == "evaluations: owner"


def test_contracts_that_do_not_belong_together_cannot_be_deployed(world):
    there = World().addresses
    good = (
        world.addresses.registry,
        world.addresses.commitments,
        there.rewards,
        ZERO_ADDRESS,
        world.owner,
        CHALLENGE_S,
        2**32,
        FUNCTION,
        PARAMETERS,
        TERMS.arguments,
    )
    for at, value, reason in (
        (0, world.addresses.rewards, "evaluations: wiring"),
        (2, ZERO_ADDRESS, "evaluations: wiring"),
        (3, account("stranger"), "evaluations: wiring"),
        (5, 2**33, "evaluations: delay"),
        (6, 2**33, "evaluations: delay"),
    ):
        arguments = (*good[:at], value, *good[at + 1 :])
        assert refuses(world.deploy, "Evaluations", *arguments) == reason
    # Registry was told of the address that Evaluations has, and of no other.
    assert refuses(world.deploy, "Evaluations", *good) == "evaluations: wiring"


def test_sealing_may_not_outlast_the_time_for_a_report():
    with pytest.raises(Refused, match="evaluations: delay"):
        World(sealing_seconds=601, report_seconds=600)
    World(sealing_seconds=600, report_seconds=600)


def test_only_evaluations_changes_the_reports_of_rewards(world):
    for arguments in (
        ("accept", FIRST, ROOT, 1, 0, 0, FIRST),
        ("forget", FIRST, False),
        ("roll", FIRST),
    ):
        assert refuses(world.rewards.send, *arguments) == "rewards: sender"
