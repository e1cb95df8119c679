"""The regression tests of the original's defects can fail: each broken rule makes its test fail."""

from collections.abc import Callable

import pytest
import test_availability_defects as availability
import test_bft_defects as bft
import test_safety_defects as safety

from meridian.ephemera.broadcast import broadcaster, slot
from meridian.ephemera.broadcast.broadcaster import Broadcaster
from meridian.ephemera.broadcast.instance import Instance
from meridian.ephemera.broadcast.seat import BroadcastSeat
from meridian.ephemera.broadcast.serving import Serving
from meridian.ephemera.broadcast.slot import Kind
from meridian.ephemera.context import Context
from meridian.ephemera.messages import block
from meridian.ephemera.messages.block import MessageBlock
from meridian.ephemera.messages.block_channel import BlockChannel
from meridian.ephemera.messages.member_set import MemberSet
from meridian.ephemera.messages.mempool import Mempool
from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.messages.producer import Producer
from meridian.errors import MeridianError
from meridian.primitives import quorum, rfc6962
from meridian.primitives.hashing import MESSAGE_NODE, tagged

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


FAILURES = (AssertionError, ValueError, RuntimeError, MeridianError, pytest.fail.Exception)


def put(target: object, name: str, value: object) -> Mutant:
    return lambda patch: patch.setattr(target, name, value)


def threshold(name: str, change: int) -> Mutant:
    rule = getattr(quorum, name)
    return put(Context, name, property(lambda context: rule(context.n) + change))


def connected_quorum(patch: Patch) -> None:
    """The quorum of those three or four whom one sees."""
    patch.setattr(Context, "quorum", property(lambda context: quorum.quorum((context.n + 1) // 2)))


def second_echo(patch: Patch) -> None:
    """Contexts by hash: another SEND of the slot is a new one, and echoed too."""
    said = Broadcaster._said

    def mutant(self, kind, member, at, digest, signature):
        known = self._instances.get(at)
        if known is not None and kind is Kind.SEND and known.send is not None:
            known.send = None
            known.said[Kind.ECHO].pop(self._seat.own, None)
        return said(self, kind, member, at, digest, signature)

    patch.setattr(Broadcaster, "_said", mutant)


def no_evidence(patch: Patch) -> None:
    patch.setattr(BroadcastSeat, "accuse", lambda *_, spread: None)


def unbound(*fields: int) -> Mutant:
    """Some fields of a statement are not signed."""

    def patched(patch: Patch) -> None:
        made = slot._statement

        def mutant(domain, context, kind, at, digest):
            bound = [domain, context, kind, at, digest]
            for field in fields:
                bound[field] = (None, bytes(32), 33, slot.Slot(1, 0, 1), bytes(32))[field]
            return made(*bound)

        patch.setattr(slot, "_statement", mutant)

    return patched


def unsigned(patch: Patch) -> None:
    patch.setattr(broadcaster, "signed", lambda *_: True)


def impatient(patch: Patch) -> None:
    """The next interval makes the next block, whatever became of the last one."""
    patch.setattr(MemberSet, "_may_produce", lambda self: True)


def duplicated_leaf(leaves, tag=MESSAGE_NODE):
    """The original's tree: an odd node is hashed with itself."""
    level = list(leaves) or [bytes(32)]
    while len(level) > 1:
        level += level[-1:] * (len(level) % 2)
        level = [tagged(tag, *level[i : i + 2]) for i in range(0, len(level), 2)]
    return level[0]


def no_window(patch: Patch) -> None:
    patch.setattr(Broadcaster, "_in_window", lambda *_: True)


def forgotten_frontier(patch: Patch) -> None:
    """As an evicted context: after a restart nothing is known to be delivered."""
    start = Broadcaster.start

    def mutant(self, records, now_ms):
        patch.setattr(self._archive, "frontiers", lambda epoch: {})
        start(self, records, now_ms)

    patch.setattr(Broadcaster, "start", mutant)


def lazy_own_vote(patch: Patch) -> None:
    """A quorum is looked for only among the votes of others."""
    certify = Instance.try_certify

    def mutant(self):
        others = [v for v in self.said[Kind.VOTE] if v != 0]
        return len(others) >= self._context.quorum and certify(self)

    patch.setattr(Instance, "try_certify", mutant)


def broadcasts_what_was_rejected(patch: Patch) -> None:
    """RejectAndRemove without a return: falls through to the broadcast."""
    made = Producer.try_block

    def mutant(self, height, now_ms, wall_ms):
        hooks, found = self._hooks, None

        class Asked:
            def check_block(self, candidate, *, own):
                nonlocal found
                found = candidate
                return hooks.check_block(candidate, own=own)

        self._hooks = Asked()
        try:
            return made(self, height, now_ms, wall_ms) or found
        finally:
            self._hooks = hooks

    patch.setattr(Producer, "try_block", mutant)


def forget(kind: str) -> Mutant:
    persist = BroadcastSeat.persist

    def mutant(seat, what, key, value):
        if what != kind:
            persist(seat, what, key, value)

    return put(BroadcastSeat, "persist", mutant)


def everybody_is_a_member(patch: Patch) -> None:
    index_of = Context.index_of

    def mutant(context, who):
        found = index_of(context, who)
        return 1 if found is None else found

    patch.setattr(Context, "index_of", mutant)


def unjudged(patch: Patch) -> None:
    """check_block only for own blocks."""
    patch.setattr(BlockChannel, "accepts", lambda *_: True)


def first_come(patch: Patch) -> None:
    """A creator that is called by a block that it does not know."""

    def mutant(self, at, payload, certificate):
        if at.sender == self._own:
            raise RuntimeError("this is a bug!")

    patch.setattr(BlockChannel, "deliver", mutant)


def any_index(self, header):
    return header.count == 1 or rfc6962.verify_inclusion(
        self.message, self.index, header.count, self.path, header.root, MESSAGE_NODE
    )


def keep_to_oneself(patch: Patch) -> None:
    """Only the creator keeps a block; no certificate for others."""
    patch.setattr(Serving, "certificates", lambda *_: None)
    patch.setattr(Serving, "certificate", lambda *_: None)


def same_messages_again(patch: Patch) -> None:
    choose = Producer._choose

    def mutant(self):
        self.first = getattr(self, "first", None) or choose(self)
        return self.first

    patch.setattr(Producer, "_choose", mutant)


def certified_echoes(patch: Patch) -> None:
    patch.setattr("meridian.ephemera.broadcast.slot.signed", lambda *_: True)


MUTANTS: dict[str, tuple[Mutant, Callable[[], None]]] = {
    "D1: f = n // 3": (
        put(quorum, "faults_max", lambda n: n // 3),
        lambda: bft.test_D1_f_is_floor_of_n_minus_1_over_3(6),
    ),
    "D2: amplify at f": (
        threshold("amplify", -1),
        lambda: bft.test_D2_amplification_needs_f_plus_1_votes(4, [3]),
    ),
    "D2: amplify at f, n = 7": (
        threshold("amplify", -1),
        lambda: bft.test_D2_amplification_needs_f_plus_1_votes(7, [5, 6]),
    ),
    "D3: a second ECHO": (second_echo, bft.test_D3_one_echo_per_creator_and_height),
    "D3: no evidence": (no_evidence, bft.test_D3_one_echo_per_creator_and_height),
    "D4: phase not signed": (
        unbound(2),
        bft.test_D4_a_signature_counts_for_one_phase_sender_slot_and_epoch_only,
    ),
    "D4: context not signed": (
        unbound(1),
        bft.test_D4_a_signature_counts_for_one_phase_sender_slot_and_epoch_only,
    ),
    "D4: slot not signed": (
        unbound(3),
        bft.test_D4_a_signature_counts_for_one_phase_sender_slot_and_epoch_only,
    ),
    "D4: digest not signed": (
        unbound(4),
        bft.test_D4_a_signature_counts_for_one_phase_sender_slot_and_epoch_only,
    ),
    "D4: certificates of ECHOs": (
        certified_echoes,
        bft.test_D4_a_certificate_of_echoes_is_no_certificate,
    ),
    "D5: creator not authenticated": (
        unsigned,
        bft.test_D5_a_block_in_another_members_name_is_refused,
    ),
    "D6: a new block at every interval": (
        impatient,
        bft.test_D6_a_producer_on_a_slow_network_waits_for_its_block,
    ),
    "D6: the own block is forgotten in a crash": (
        forget("send"),
        bft.test_D6_a_producer_on_a_slow_network_waits_for_its_block,
    ),
    "D7: n is the connected set": (
        connected_quorum,
        bft.test_D7_n_is_the_registered_set_and_not_the_connected_one,
    ),
    "D8: odd leaf duplicated": (
        put(block, "message_root", duplicated_leaf),
        bft.test_D8_an_odd_leaf_is_not_duplicated,
    ),
    "D8: header and messages not compared": (
        put(MessageBlock, "verify", lambda *_: None),
        bft.test_D8_an_odd_leaf_is_not_duplicated,
    ),
    "D9: check_block for own blocks only": (
        unjudged,
        bft.test_D9_the_application_judges_blocks_and_messages_of_others,
    ),
    "D9: signatures in blocks not checked": (
        put(SignedMessage, "verify", lambda *_: None),
        lambda: bft.test_D9_a_block_of_unsound_messages_is_refused("unsigned"),
    ),
    "D9: strangers in blocks": (
        put(BlockChannel, "accepts", lambda *_: True),
        lambda: bft.test_D9_a_block_of_unsound_messages_is_refused("stranger"),
    ),
    "D10: no window": (
        no_window,
        bft.test_D10_a_flood_of_hashes_makes_nobody_forget_what_it_delivered,
    ),
    "D10: deliveries forgotten": (
        forgotten_frontier,
        bft.test_D10_a_flood_of_hashes_makes_nobody_forget_what_it_delivered,
    ),
    "D11: no share per sender": (
        put(Mempool, "check_room", lambda *_: None),
        bft.test_D11_one_member_cannot_fill_the_mempool,
    ),
    "D12: the own vote is not counted at once": (
        lazy_own_vote,
        bft.test_D12_the_own_vote_that_completes_a_quorum_delivers_at_once,
    ),
    "4.1.1: amplify at f": (
        threshold("amplify", -1),
        lambda: safety.test_4_1_1_one_false_vote_moves_nobody(5),
    ),
    "4.1.2: a quorum of one less": (
        threshold("quorum", -1),
        lambda: safety.test_4_1_2_no_size_claims_one_fault_too_many(9),
    ),
    "4.1.3: phase not signed": (
        unbound(2),
        safety.test_4_1_3_an_echo_of_an_honest_member_is_not_its_vote,
    ),
    "4.1.3: strangers are heard": (
        everybody_is_a_member,
        safety.test_4_1_3_a_frame_of_a_stranger_is_refused_whatever_it_says,
    ),
    "4.1.4: no evidence": (
        no_evidence,
        safety.test_4_1_4_equivocation_is_kept_as_evidence_that_proves_itself,
    ),
    "4.1.5: a creator panics": (
        first_come,
        safety.test_4_1_5_the_named_creator_survives_a_forgery_that_all_others_vote_for,
    ),
    "4.1.6: nobody judges": (
        unjudged,
        safety.test_4_1_6_a_certified_block_was_judged_by_correct_members,
    ),
    "4.1.7: signatures not checked": (
        put(SignedMessage, "verify", lambda *_: None),
        safety.test_4_1_7_the_core_verifies_the_signature_of_every_message,
    ),
    "4.1.8: n is the connected set": (
        connected_quorum,
        safety.test_4_1_8_a_minority_never_makes_a_quorum_of_itself,
    ),
    "4.1.9: replay": (
        put(BlockChannel, "delivered_message", lambda *_: False),
        safety.test_4_1_9_a_message_that_stands_in_a_block_is_not_taken_again,
    ),
    "4.1.10: index of one leaf ignored": (
        put(block.InclusionProof, "holds", any_index),
        safety.test_4_1_10_the_tree_is_one_list_of_messages_and_the_index_counts,
    ),
    "4.2: rejected blocks go out": (
        broadcasts_what_was_rejected,
        availability.test_4_2_reject_and_remove_ends_the_block,
    ),
    "4.2: served without bound": (
        put(Serving, "_spend", lambda *_: True),
        availability.test_4_2_an_unsolicited_flood_is_bounded,
    ),
    "4.3: alone": (lazy_own_vote, availability.test_4_3_one_member_alone_delivers),
    "4.3: nothing is sent again": (
        put(Broadcaster, "_resend", lambda *_: None),
        lambda: availability.test_4_3_every_frame_is_sent_again_until_it_has_arrived(Kind.SEND),
    ),
    "4.3: no catch-up": (
        keep_to_oneself,
        availability.test_4_3_a_member_that_was_away_gets_everything_it_missed,
    ),
    "4.3: ECHOs not durable": (
        forget("echo"),
        availability.test_4_3_a_restarted_member_echoes_no_second_block,
    ),
    "4.3: nothing durable": (
        put(BroadcastSeat, "persist", lambda *_: None),
        availability.test_4_3_what_was_said_is_durable_and_said_again_after_a_restart,
    ),
    "4.3: no gossip": (
        put(MemberSet, "_tell", lambda *_: None),
        availability.test_4_3_a_message_outlives_the_member_that_took_it,
    ),
    "4.3: only the creator keeps a block": (
        keep_to_oneself,
        availability.test_4_3_every_member_keeps_every_block_with_its_certificate,
    ),
    "4.3: the same messages for ever": (
        same_messages_again,
        availability.test_4_3_a_rejected_block_takes_new_messages_the_next_time,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_that_returns_is_seen(name, monkeypatch):
    break_rule, test = MUTANTS[name]
    with monkeypatch.context() as patch:
        break_rule(patch)
        with pytest.raises(FAILURES):
            test()
