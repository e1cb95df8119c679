"""Accusations that are wrong: about what is right, changed in one place, or put together from pieces."""

from collections.abc import Callable
from typing import Any

from contract_world import NETWORK, Report, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.accusing import NAMES, Accusing
from machine.actors import AGGREGATORS, KEYS, MEMBERS, NODES, anybody, member, mostly
from machine.small_epochs import PROMISED_KEY, Made, faults_of, sorted_epoch
from model.rule_state import Answer
from model.tree_rules import JOBS
from model.tree_rules import NODES as NODE_TREE
from published_epochs import LANES

from meridian.contracts.calldata import signature_words
from meridian.disputes.accusation import Accusation
from meridian.disputes.promises import receipt_words
from meridian.disputes.report_faults import Judged, claimed_words
from meridian.disputes.ways import NO_GAP, NO_SPOT, RowTree, job_row_tree, node_row_tree, path_words
from meridian.ephemera.context import PROTOCOL, Kind
from meridian.measure.receipt import Receipt
from meridian.primitives import eip712
from meridian.primitives.hashing import REPORT_SIG, VIEW_CHANGE, sha256, tagged
from meridian.primitives.ids import node_key
from meridian.reward.members import pay_key

Draw = Callable[[int], int]
"""A number below another one."""

AGAINST_COMMITMENTS = ("leaf", "pair", "job leaf", "order", "job order", "omission", "duplicate")
AGAINST_REPORTS = ("wrong_reward", "pay", "decreased", "bad_claims", "disordered_claims")
STATEMENTS = ("double", "kind", "view", "row", "attempt", "amnesia", "kept", "report")


class FramingSteps(Accusing):
    """Whatever is sent, no correct party loses anything, and the model knows the reason."""

    @precondition(lambda self: self.made)
    @rule(
        data=st.data(),
        kind=st.sampled_from([*AGAINST_COMMITMENTS, "true", "true"]),
        by=anybody,
        changes=st.integers(0, 2),
    )
    def frame_author(self, data: st.DataObject, kind: str, by: str, changes: int) -> None:
        draw = drawing(data)
        made = list(self.made.values())
        one = made[-1 - draw(min(6, len(made)))]
        fault = self.true_fault(one, draw) if kind == "true" else self.framed(one, kind, draw)
        if fault is not None:
            self.send_changed(fault, draw, by, changes)

    def send_changed(self, fault: Accusation, draw: Draw, by: str, changes: int) -> Answer | str:
        arguments: Any = fault.arguments
        for _ in range(changes):
            arguments = changed(arguments, draw)
        value = 50 * fault.takes_bond
        name = NAMES[fault.contract]
        return self.call(name, fault.function, *arguments, by=by, value=value)

    def true_fault(self, made: Made, draw: Draw) -> Accusation | None:
        epoch, author, *_ = made.words
        faults = faults_of(epoch, author, made.variant) or self.proofs_against(made)
        return faults[draw(len(faults))] if faults else None

    def framed(self, made: Made, kind: str, draw: Draw) -> Accusation | None:
        """An accusation built from right rows."""
        nodes = node_row_tree(made.shown.node_rows, LANES)
        index = draw(nodes.size)
        jobs = job_row_tree(made.shown.job_rows[index], LANES)
        words, spot = made.words, nodes.spot(index)
        if kind in {"leaf", "job leaf", "pair"}:
            tree, above = (jobs, spot) if kind == "job leaf" else (nodes, NO_SPOT)
            return sum_fault(words, tree, draw, above.words, pair=kind == "pair")
        if kind in {"order", "job order"}:
            tree, above = (jobs, spot) if kind == "job order" else (nodes, NO_SPOT)
            if tree.size < 2:
                return None
            gap = tree.neighbours(draw(tree.size - 1))
            return proof("disorder", (words, gap.words, above.words))
        author = words[1]
        if kind == "omission":
            return self.kept_promise(made, draw)
        others = [one for (_, by), one in self.made.items() if by == author]
        if not others:
            return None
        other = others[draw(len(others))]
        their_nodes = node_row_tree(other.shown.node_rows, LANES)
        there = draw(their_nodes.size)
        theirs = job_row_tree(other.shown.job_rows[there], LANES)
        first = (words, spot.words, jobs.spot(draw(jobs.size)).words)
        second = (other.words, their_nodes.spot(there).words, theirs.spot(draw(theirs.size)).words)
        return proof("duplicate", (*first, *second))

    def kept_promise(self, made: Made, draw: Draw) -> Accusation | None:
        """A receipt, and what stands at the job's place or at another one."""
        epoch, author, *_ = made.words
        if not made.is_readable:
            return None
        deadline = epoch + draw(2)
        promise = self.promised(epoch, author, deadline)
        key = (PROMISED_KEY, node_key(NODES[draw(5)]))[draw(4) == 0]
        absences = []
        for at in range(epoch, deadline + 1):
            there = self.made.get((at, author), made)
            if not there.is_readable:
                return None
            node, jobs = sorted_epoch(*there.words[:2], there.variant).jobs(key)
            job = jobs.place(promise.proof.row[4:36]) if jobs else NO_GAP
            absences.append((there.words, node.words, job.words))
        return proof("omission", (promise.words, absences))

    # ---- reports

    @precondition(lambda self: self.rules.evaluations.state.chain)
    @rule(
        data=st.data(),
        kind=st.sampled_from([*AGAINST_REPORTS, "true", "true"]),
        by=anybody,
        changes=st.integers(0, 2),
    )
    def frame_signers(self, data: st.DataObject, kind: str, by: str, changes: int) -> None:
        draw = drawing(data)
        chain = self.rules.evaluations.state.chain
        report_hash = self.rules.evaluations.report_hash(chain[-1 - draw(min(3, len(chain)))])
        judged = self.judged(report_hash)
        if judged is None:
            return
        fault: Accusation | None
        if kind == "true":
            proofs = self.proofs_of_report(report_hash)
            fault = proofs[draw(len(proofs))] if proofs else None
        else:
            fault = self.report_fault(judged, kind, draw)
        if fault is not None:
            self.send_changed(fault, draw, by, changes)

    def report_fault(self, judged: Judged, kind: str, draw: Draw) -> Accusation | None:
        """An accusation built from claims that may be right."""
        tree = judged.claims.tree
        if kind == "disordered_claims":
            gap = tree.neighbours(draw(tree.size - 1))
            return judged.accuse(kind, (claimed_words(tree.size, gap),), "")
        if kind == "bad_claims":
            spot = tree.spot(draw(tree.size))
            claimed = (1 << 128 | int.from_bytes(spot.row[52:])) + draw(2)
            rest = (tree.size, spot.row, claimed, spot.sides, path_words(spot.path))
            return judged.accuse(kind, rest, "")
        key: bytes = node_key(NODES[draw(5)])
        if kind == "pay":
            key = pay_key(account([*AGGREGATORS, *MEMBERS][draw(6)]))
        places = judged.places(key)
        if kind == "decreased":
            return judged.accuse(kind, places, "")
        nodes = node_row_tree(judged.epoch.node_rows, LANES)
        rest = (judged.epoch.commitment.words, nodes.place(key).words)
        return judged.accuse("wrong_reward", (*places, *rest), "")

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), by=anybody, who=st.sets(member, max_size=3), flaw=mostly("good", "order"))
    def name_signers(self, data: st.DataObject, by: str, who: set[str], flaw: str) -> None:
        """Further signers of a report that may be known as wrong; who signs it is not correct."""
        wrong = list(self.rules.report_proofs.state.wrong)
        known = wrong or list(self.sent)
        report_hash = known[drawing(data)(len(known))]
        if not self.sent[report_hash].true:
            self.false |= {account(name) for name in who}
        else:
            who = {name for name in who if account(name) in self.sent[report_hash].signers}
        signers = sorted(who, key=account, reverse=flaw == "order")
        words = [signature_words(KEYS[name].sign(report_hash)) for name in signers]
        self.call("report_proofs", "signed_wrong", report_hash, words, by=by)

    # ---- statements

    @rule(who=member, form=st.sampled_from(STATEMENTS), by=anybody, data=st.data())
    def accuse_of_statements(self, who: str, form: str, by: str, data: st.DataObject) -> None:
        """Two statements of one member: where one is allowed, or where both are."""
        function, arguments, wrong = self.statements(who, form)
        if wrong and who not in self.liars:
            return
        if wrong:
            self.false.add(account(who))
        draw = drawing(data)
        if draw(3) == 0:
            arguments = changed(arguments, draw)
        self.call("report_proofs", function, *arguments, by=by)

    def statements(self, who: str, form: str) -> tuple[str, tuple[Any, ...], bool]:
        """The call, and whether a correct member does not sign both."""
        context, a, b = sha256(b"context"), sha256(b"a"), sha256(b"b")

        def said(kind: int, view: int, words: bytes) -> tuple[int, int]:
            struct = PROTOCOL.hash(context, kind, view, words)
            return signature_words(
                KEYS[who].sign(eip712.digest(self.rules.domain("evaluations"), struct))
            )

        if form in {"double", "kind", "view", "row"}:
            kind = {"kind": Kind.WISH, "row": Kind.ROW}.get(form, Kind.VOTE)
            view = 0 if form == "row" else 3
            other = said(kind, view + (form == "view"), b)
            arguments: tuple[Any, ...] = (
                context,
                int(kind),
                view,
                a,
                said(kind, view, a),
                b,
                other,
            )
            return "double_statement", arguments, form in {"double", "row"}
        if form == "attempt":
            pair = [said(Kind.REPORT_SIG, 0, tagged(REPORT_SIG, a, one)) for one in (a, b)]
            return "double_attempt", (context, a, a, pair[0], b, pair[1]), True
        if form in {"amnesia", "kept"}:
            lock = b"\x00" if form == "amnesia" else b"\x01" + (3).to_bytes(4) + a
            change = said(Kind.VIEW_CHANGE, 5, tagged(VIEW_CHANGE, lock))
            arguments = (context, 3, a, said(Kind.VOTE, 3, a), 5, lock, change)
            return "amnesia", arguments, form == "amnesia"
        zero = (NETWORK, 1, *[bytes(32)] * 7)
        reports = [(*zero, total, bytes(32)) for total in (1, 2)]
        domain = self.rules.domain("evaluations")
        one, two = (signature_words(KEYS[who].sign(Report(*r).digest(domain))) for r in reports)
        return "double_report", (reports[0], one, reports[1], two), True

    @rule(who=st.sampled_from(AGGREGATORS), by=anybody, data=st.data(), apart=st.booleans())
    def accuse_of_receipts(self, who: str, by: str, data: st.DataObject, apart: bool) -> None:
        """Two receipts with one number, or with two."""
        domain, draw = self.rules.domain("commitments"), drawing(data)
        if not apart and who not in self.liars:
            return
        receipts = [
            Receipt(NETWORK, 20, account(who), 7 + at * apart, sha256(bytes([at])), 5)
            for at in range(2)
        ]
        if not apart:
            self.false.add(account(who))
        arguments: tuple[Any, ...] = ()
        for receipt in receipts:
            signed = KEYS[who].sign(receipt.digest(domain))
            arguments += (receipt_words(receipt), signature_words(signed))
        if draw(3) == 0:
            arguments = changed(arguments, draw)
        self.call("commitment_proofs", "double_receipt", *arguments, by=by)


def drawing(data: st.DataObject) -> Draw:
    return lambda end: data.draw(st.integers(0, max(0, end - 1)))


def proof(function: str, arguments: tuple[Any, ...]) -> Accusation:
    return Accusation("CommitmentProofs", function, arguments, 0, (), "")


def sum_fault(words: Any, tree: RowTree, draw: Draw, above: Any, *, pair: bool) -> Accusation:
    """The row of a leaf, or the lowest pair, beside the sum that it has or one more."""
    spot = tree.spot(draw(tree.size))
    path, sides, content = list(spot.path), spot.sides, spot.row
    hashed, claimed = (JOBS if above[0] else NODE_TREE).leaf(spot.row)
    if pair and path:
        leaf = hashed + claimed.to_bytes(24)
        ends = (path[0], leaf) if sides & 1 else (leaf, path[0])
        content, path, sides = b"".join(ends), path[1:], sides >> 1
        claimed = sum(int.from_bytes(end[32:]) for end in ends)
    claimed += draw(2)
    return proof("bad_sum", (words, content, claimed, sides, path_words(path), above))


def changed(value: Any, draw: Draw) -> Any:
    """The same with one thing changed: a bit, or a node of a path more or less."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ (1 << draw(8))
    if isinstance(value, bytes):
        return changed_bytes(value, draw)
    if isinstance(value, list) and (not value or draw(3) == 0):
        return value[:-1] if draw(2) else [*value, *value[-1:]]
    at = draw(len(value))
    parts = [*value[:at], changed(value[at], draw), *value[at + 1 :]]
    return parts if isinstance(value, list) else tuple(parts)


def changed_bytes(value: bytes, draw: Draw) -> bytes:
    """One bit; or of a row all."""
    if not value or (len(value) >= 68 and draw(4) == 0):
        return b""
    bit = draw(8 * len(value))
    return (int.from_bytes(value) ^ (1 << bit)).to_bytes(len(value))
