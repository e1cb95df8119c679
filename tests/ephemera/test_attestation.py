"""Report signatures: who counts, what counts, and how they are bounded."""

from dataclasses import replace

import pytest
from cluster import EPOCH, Cluster, DiskArchive, Voice

from meridian.ephemera import frame as frames
from meridian.ephemera.closed import ClosedEpochs
from meridian.ephemera.effects import Attested, Misbehaviour, Persist, Rejected
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.limits import Limits
from meridian.ephemera.message import WANT_REPORTS, Ask, ReportSignature
from meridian.errors import InvalidInput
from meridian.primitives.keys import recover

A, B, D, E = b"\x0a" * 32, b"\x0b" * 32, b"\x0d" * 32, b"\x0e" * 32


def decided(n: int = 4, **options) -> tuple[Cluster, Voice]:
    cluster = Cluster(n, **options)
    cluster.open()
    for i in range(n):
        cluster.submit(i, b"the same")
    cluster.run(0)
    assert all(cluster.decided(i) for i in range(n))
    return cluster, Voice(n)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10])
def test_a_quorum_of_equal_signatures_attests_and_one_less_does_not(n):
    cluster, voice = decided(n)
    q = voice.context.quorum
    if q == 1:
        effects = cluster.replicas[0].submit_report(EPOCH, A, D, 0)
        assert any(isinstance(effect, Attested) for effect in effects)
        return
    assert not attested(cluster.replicas[0].submit_report(EPOCH, A, D, 0))
    for i in range(1, q - 1):
        assert not attested(cluster.inject(i, 0, voice.report(i, A, D)))
    [found] = attested(cluster.inject(q - 1, 0, voice.report(q - 1, A, D)))
    assert (found.epoch, found.attempt, found.digest) == (EPOCH, A, D)
    addresses = [address for address, _ in found.signatures]
    assert addresses == sorted(addresses)
    assert len(addresses) == q
    assert [recover(D, signature) for _, signature in found.signatures] == addresses


def attested(effects) -> list[Attested]:
    return [effect for effect in effects if isinstance(effect, Attested)]


def test_different_digests_and_attempts_are_not_added_up():
    cluster, voice = decided()
    cluster.replicas[0].submit_report(EPOCH, A, D, 0)
    assert not attested(cluster.inject(1, 0, voice.report(1, A, E)))
    assert not attested(cluster.inject(2, 0, voice.report(2, B, D)))
    assert not attested(cluster.inject(2, 0, voice.report(2, A, D)))
    assert attested(cluster.inject(3, 0, voice.report(3, A, D)))


def test_a_second_digest_in_one_attempt_is_evidence_and_in_another_attempt_is_not():
    cluster, voice = decided()
    cluster.inject(1, 0, voice.report(1, A, D))
    assert not misbehaviour(cluster.inject(1, 0, voice.report(1, B, E)))
    [found] = misbehaviour(cluster.inject(1, 0, voice.report(1, A, E)))
    assert verify_evidence(cluster.context, found.evidence).kind == "double_report_sig"


def misbehaviour(effects) -> list[Misbehaviour]:
    return [effect for effect in effects if isinstance(effect, Misbehaviour)]


def test_both_signatures_of_a_report_are_checked():
    cluster, voice = decided()
    good = voice.report(1, A, D)
    for report in (
        ReportSignature(1, A, D, good.report_signature, bytes(64)),
        ReportSignature(1, A, D, voice.report(2, A, D).report_signature, good.signature),
        ReportSignature(1, B, D, good.report_signature, good.signature),
        ReportSignature(1, A, E, good.report_signature, good.signature),
        ReportSignature(2, A, D, good.report_signature, good.signature),
    ):
        [effect] = cluster.inject(1, 0, report)
        assert isinstance(effect, Rejected)
    assert cluster.inject(1, 0, good) == []


def test_a_report_that_comes_after_the_quorum_is_checked_only_if_it_contradicts():
    """And only what comes from the member itself waits unchecked: a relay cannot take its place."""
    for genuine in (True, False):
        cluster, voice = decided()
        cluster.do(0, cluster.replicas[0].submit_report(EPOCH, A, D, 0))
        cluster.inject(1, 0, voice.report(1, A, D))
        assert attested(cluster.inject(2, 0, voice.report(2, A, D)))
        late = voice.report(3, A, D)
        forged = replace(late, signature=voice.report(2, A, D).signature)
        assert isinstance(cluster.inject(1, 0, forged)[0], Rejected), "passed on: checked"
        assert cluster.inject(3, 0, late if genuine else forged) == []
        assert cluster.inject(3, 0, late if genuine else forged) == []
        assert bool(misbehaviour(cluster.inject(3, 0, voice.report(3, A, E)))) == genuine
    cluster.inject(3, 0, late)
    assert cluster.inject(1, 0, late) == [], "passed on after it was set aside: no contradiction"


def test_a_report_is_signed_once_per_attempt_and_only_after_the_decision():
    cluster, _ = decided()
    fresh = Cluster(4)
    fresh.open([0])
    with pytest.raises(InvalidInput, match="not decided"):
        fresh.replicas[0].submit_report(EPOCH, A, D, 0)
    effects = cluster.replicas[0].submit_report(EPOCH, A, D, 0)
    assert isinstance(effects[0], Persist)
    assert (effects[0].record.kind, effects[0].record.key) == ("report", A)
    assert cluster.replicas[0].submit_report(EPOCH, A, D, 0) == []
    with pytest.raises(InvalidInput, match="another digest"):
        cluster.replicas[0].submit_report(EPOCH, A, E, 0)
    assert cluster.replicas[0].submit_report(EPOCH, B, E, 0)
    with pytest.raises(InvalidInput):
        cluster.replicas[0].submit_report(EPOCH, b"short", D, 0)


def test_attempts_are_bounded_per_member():
    cluster, voice = decided(limits=Limits(attempts_max=2))
    for attempt in (A, B):
        assert cluster.inject(1, 0, voice.report(1, attempt, D)) == []
    [effect] = cluster.inject(1, 0, voice.report(1, D, D))
    assert isinstance(effect, Rejected)
    assert cluster.inject(2, 0, voice.report(2, D, D)) == []


def test_signatures_that_come_before_the_own_decision_count_after_it():
    """A slow member hears REPORT_SIGs first; `Attested` still follows `Decided`."""
    cluster = Cluster(4)
    cluster.open()
    voice = Voice(4)
    for i in (1, 2, 3):
        assert cluster.inject(i, 0, voice.report(i, A, D)) == []
    for i in range(4):
        cluster.submit(i, b"the same")
    cluster.run(0)
    kinds = [type(e).__name__ for e in cluster.seen[0]]
    assert kinds.index("Decided") < kinds.index("Attested")


def test_lost_report_signatures_are_sent_again_ever_more_slowly():
    cluster, _ = decided()
    for i in range(4):
        cluster.do(i, cluster.replicas[i].submit_report(EPOCH, A, D, cluster.now_ms))
    cluster.queue.clear()
    cluster.run(10_000, lambda: all(cluster.attested(i) for i in range(4)))
    assert all(cluster.attested(i) for i in range(4))
    cluster.run(10_000)
    assert [r.next_deadline_ms() for r in cluster.replicas] == [None] * 4


def test_who_asks_gets_the_own_signature_also_beside_an_attested_set_without_it():
    """Else a member that signed twice could keep an asker one signature short (simulator, seed 490)."""
    cluster, voice = decided()
    others = [1, 2, 3]
    for i in others:
        cluster.do(0, cluster.inject(i, 0, voice.report(i, A, D)))
    assert cluster.attested(0)
    cluster.do(0, cluster.replicas[0].submit_report(EPOCH, A, D, 0))
    closed = ClosedEpochs(DiskArchive(cluster.disks[0]), cluster.limits)
    closed.add(cluster.context)
    ask = frames.encode(Ask(WANT_REPORTS), EPOCH)
    asker = cluster.context.members[1]
    for answers in (cluster.inject(1, 0, ask), closed.receive(asker, ask, 0)):
        signers = {frames.decode(send.frame, cluster.context).member for send in answers}
        assert signers == {0, *others}
