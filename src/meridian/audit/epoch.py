"""All links of one epoch, in the order in which they need each other."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from meridian.audit.agreed import check_block, check_certificate, check_rows, load_records
from meridian.audit.case import Case
from meridian.audit.counted import check_jobs, check_segments
from meridian.audit.deployment import check_contracts
from meridian.audit.evaluated import (
    check_evaluation,
    check_function,
    check_inputs,
    check_parameters,
)
from meridian.audit.evidence import LINKS, Link, State, Step, run_steps
from meridian.audit.logged import check_epoch_log
from meridian.audit.measured import check_commitment, check_manifest
from meridian.audit.paid import check_claims
from meridian.audit.rewarded import (
    check_aggregation,
    check_contract,
    check_report,
    check_rewards,
    check_signatures,
)
from meridian.audit.source import EvidenceSource
from meridian.errors import NotFound
from meridian.evaluate.sealed_layer import PrivateLayer

_RECORDS: Final = "report"
"""Where the reading of outcome records is told: they are the published form of the report."""

_READING: Final = "outcome records"

MEASURED_STEPS: Final[tuple[Step[Case], ...]] = (
    Step("contracts", (), lambda case: check_contracts(case.source, case.epoch)),
    Step("commitment", ("contracts",), check_commitment),
    Step("manifest", ("commitment",), check_manifest),
    Step("segments", ("manifest",), check_segments),
    Step("jobs", ("segments",), check_jobs),
)
"""From the contracts to the jobs."""

STEPS: Final[tuple[Step[Case], ...]] = (
    *MEASURED_STEPS,
    Step("epoch-log", ("commitment",), check_epoch_log),
    Step("function", ("contracts",), check_function),
    Step("parameters", ("manifest", "function"), check_parameters),
    Step("inputs", ("manifest", "function"), check_inputs),
    Step(_READING, ("contracts",), load_records),
    Step("block", (_READING,), check_block),
    Step("certificate", ("block",), check_certificate),
    Step("rows", ("block",), check_rows),
    Step("aggregation", ("rows", "jobs", "parameters", "inputs"), check_aggregation),
    Step("evaluation", ("aggregation",), check_evaluation),
    Step("rewards", ("aggregation",), check_rewards),
    Step("report", ("rewards",), check_report),
    Step("signatures", (_READING,), check_signatures),
    Step("contract", ("rewards",), check_contract),
    Step("claims", ("evaluation", "report", "contract"), check_claims),
)


def audit_epoch(
    source: EvidenceSource, epoch: int, private: Mapping[bytes, PrivateLayer] = MappingProxyType({})
) -> tuple[Case, list[Link]]:
    """Check every link, and return also what was recomputed on the way; arguments of `verify_epoch_evidence`."""
    case = Case(source, epoch)
    case.private = private
    links = {link.name: link for link in run_steps(case, STEPS)}
    reading = links.pop(_READING)
    if reading.state is not State.HOLDS:
        links[_RECORDS] = replace(reading, name=_RECORDS)
    return case, [_in_public_words(links[name]) for name in LINKS]


def _in_public_words(link: Link) -> Link:
    return replace(
        link, detail=link.detail.replace(_READING, f"{_RECORDS} (its published records)")
    )


def verify_epoch_evidence(
    source: EvidenceSource, epoch: int, private: Mapping[bytes, PrivateLayer] = MappingProxyType({})
) -> list[Link]:
    """Recompute an epoch's chain of evidence from public artefacts and the chain.

    Args:
        source: Everything that is published, and the chain.
        epoch: The epoch.
        private: Commitment -> private bundle, of sealed fraud layers whose rules are known here.

    Returns:
        One link for each name in `evidence.LINKS`, in that order. What needs a broken link is unchecked.

    Raises:
        NotFound: If the network has not opened such an epoch.
        RemoteFault: If the chain cannot be read; published bytes never raise.
    """
    chain = source.chain
    if all(chain.deployment().code.values()) and not (
        chain.opened(epoch) or chain.commitments(epoch)
    ):
        raise NotFound(f"epoch {epoch} is not open on chain, and nothing is committed for it")
    return audit_epoch(source, epoch, private)[1]
