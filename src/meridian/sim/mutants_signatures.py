"""Mutants that do not look at a signature, or sign too little: byte-level probes with real keys expose them."""

from __future__ import annotations

from meridian.ephemera import block, evidence, message, proposal
from meridian.ephemera.agreement import Agreement
from meridian.ephemera.attestation import Attestation
from meridian.ephemera.context import Context
from meridian.ephemera.ledger import Ledger
from meridian.sim.mutation import Edit, Mutant

FIELDS = "statements_bind_every_field"
ASIDE = "what_was_set_aside_is_checked_when_it_matters"
DIGESTS = "digests_bind_every_field"

FORGERY = "forgery"
"""The family of aimed worlds with a forger."""


def _field(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name} is not signed", (Edit(Context, "statement", old, new),), probe=FIELDS)


def _bound(name: str, old: str, new: str) -> Mutant:
    edit = Edit(Context, "__post_init__", old, new)
    return Mutant(f"{name} is not signed", (edit,), probe=FIELDS)


SIGNATURES: tuple[Mutant, ...] = (
    _field("the chain", "digest(self.domain,", "digest(Domain(0, self.domain.contract),"),
    _field(
        "the contract",
        "digest(self.domain,",
        "digest(Domain(self.domain.chain_id, Address(bytes(20))),",
    ),
    _field("the context", "PROTOCOL.hash(self.digest,", "PROTOCOL.hash(NO_DIGEST,"),
    _field("the kind", "(int(kind), view, digest)", "(0, view, digest)"),
    _field("the view", "(int(kind), view, digest)", "(int(kind), 0, digest)"),
    _field("the digest", "(int(kind), view, digest)", "(int(kind), view, NO_DIGEST)"),
    _bound("the network", "fixed(self.network, 32)", "fixed(NO_DIGEST, 32)"),
    _bound("the epoch", "u64(self.epoch)", "u64(0)"),
    _bound("the members", "out.fixed(member, 20)", "out.fixed(bytes(20), 20)"),
    Mutant(
        "the signer is not compared",
        (Edit(Context, "signed_digest", "== self.members[member]", "is not None"),),
        probe=FIELDS,
        aim=FORGERY,
    ),
    Mutant(
        "the attempt is not signed",
        (Edit(message, "report_digest", "attempt, digest)", "digest)"),),
        probe=DIGESTS,
    ),
    Mutant(
        "the lock's view is not signed",
        (Edit(message, "write_lock", "u32(lock[0])", "u32(0)"),),
        probe=DIGESTS,
    ),
    Mutant(
        "the HAVE's members are not signed",
        (Edit(block, "vector_bytes", "out.u16(member)", "out.u16(0)"),),
        probe=DIGESTS,
    ),
    Mutant(
        "statements: signature not checked",
        (Edit(Ledger, "examine", "if not self._context.signed(", "if False and ("),),
        probe="forged_statements_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "WISH: signature not checked",
        (Edit(Agreement, "on_wish", "if not signed:", "if False:"),),
        probe="forged_wishes_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "rows of a block: signature not checked",
        (
            Edit(
                block,
                "verify_block",
                "if not context.signed(row.member,",
                "if False and (row.member,",
            ),
        ),
        probe="forged_blocks_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "HAVEs of a block: signature not checked",
        (
            Edit(
                block,
                "verify_block",
                "if not context.signed(have.member,",
                "if False and (have.member,",
            ),
        ),
        probe="forged_blocks_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "certificates: signature not checked",
        (Edit(block, "verify_certificate", "if not context.signed(", "if False and ("),),
        probe="forged_decisions_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "an ECHO certificate decides",
        (
            Edit(
                block,
                "verify_certificate",
                "if not context.signed(member, kind, certificate.view, certificate.block_hash, signature):",
                "if not any(context.signed(member, k, certificate.view, certificate.block_hash, signature) for k in (Kind.ECHO, Kind.VOTE)):",
            ),
        ),
        probe="forged_decisions_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "one voter counts twice in a certificate",
        (Edit(block, "verify_certificate", "a >= b", "a > b"),),
        probe="forged_decisions_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "DECIDED is believed",
        (
            Edit(
                Agreement,
                "on_decision",
                "        verify_certificate(self._context, certificate)\n",
                "",
            ),
        ),
        probe="forged_decisions_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "claims: signature not checked",
        (
            Edit(
                proposal,
                "verify_justification",
                "if not context.signed(claim.member,",
                "if False and (claim.member,",
            ),
        ),
        probe="forged_justifications_are_refused",
    ),
    Mutant(
        "the lock of a justification is not proved",
        (
            Edit(
                proposal,
                "verify_justification",
                "    if certificate is not None:\n        verify_certificate(",
                "    if False:\n        verify_certificate(",
            ),
        ),
        probe="forged_justifications_are_refused",
    ),
    Mutant(
        "a lock of the same view justifies",
        (Edit(proposal, "_highest_lock", "if best[0] >= view:", "if False:"),),
        probe="forged_justifications_are_refused",
    ),
    Mutant(
        "the lock of a VIEW_CHANGE is not proved",
        (
            Edit(
                Agreement,
                "on_view_change",
                "            verify_certificate(self._context, certificate, Kind.ECHO)\n",
                "",
            ),
        ),
        probe="forged_locks_are_refused",
    ),
    Mutant(
        "a VIEW_CHANGE brings a lock of its own view",
        (Edit(Agreement, "on_view_change", "if certificate.view >= change.view:", "if False:"),),
        probe="forged_locks_are_refused",
    ),
    Mutant(
        "REPORT_SIG: statement not checked",
        (Edit(Attestation, "on_report", "if not self._signed(report)", "if False"),),
        probe="forged_reports_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "REPORT_SIG: the chain's signature not checked",
        (Edit(Attestation, "on_report", "if not context.signed_digest(", "if False and ("),),
        probe="forged_reports_are_refused",
        aim=FORGERY,
    ),
    Mutant(
        "evidence is believed",
        (Edit(evidence, "_check", "if not holds:", "if False:"),),
        probe="forged_evidence_is_refused",
        aim=FORGERY,
    ),
    Mutant(
        "what was set aside accuses unchecked",
        (
            Edit(
                Ledger,
                "_contradicts_aside",
                "self._context.signed(member, kind, view, *kept)",
                "True",
            ),
        ),
        probe=ASIDE,
    ),
    Mutant(
        "what was set aside is forgotten",
        (Edit(Ledger, "_contradicts_aside", "kept is not None", "False"),),
        probe=ASIDE,
    ),
    Mutant(
        "a report that was set aside accuses unchecked",
        (Edit(Attestation, "_contradicted_aside", "not self._signed(kept)", "False"),),
        probe=ASIDE,
    ),
    Mutant(
        "a report that was set aside is forgotten",
        (Edit(Attestation, "_contradicted_aside", "kept is None", "True"),),
        probe=ASIDE,
    ),
)
