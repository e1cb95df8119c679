"""From the report on chain back to the readings: the links of an epoch, as `meridian verify` has them where it can.

What differs from an epoch of jobs stands here: the committed list of readings, the rules, and that every row of the
decided block is the average of its Nym-Api's committed readings.
"""

from typing import Final

from meridian.audit.agreed import check_block, check_certificate, check_rows, load_records
from meridian.audit.case import Case
from meridian.audit.deployment import check_contracts
from meridian.audit.evidence import Broken, Finding, Link, Step, require, run_steps
from meridian.audit.measured import check_commitment
from meridian.audit.objects import fetch, pointed
from meridian.audit.rewarded import (
    check_aggregation,
    check_contract,
    check_report,
    check_rewards,
    check_signatures,
)
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput
from meridian.evaluate.inputs import inputs_root
from meridian.evaluate.row import Row as WeightRow
from meridian.evaluate.row import RowHeader
from meridian.measure.epoch import Calendar
from meridian.nym.network import NymNetwork
from meridian.nym.onchain import uptime
from meridian.nym.onchain.measurements import Measurements, ReadingLog
from meridian.nym.rows import Row
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text


class ChainCase(Case):
    """The state of one audit of an epoch of Nym-Apis."""

    logs: dict[Address, ReadingLog]  # measurements

    def __init__(self, source: EvidenceSource, epoch: int, system: NymNetwork) -> None:
        super().__init__(source, epoch)
        self.system = system
        for key, number in uptime.node_keys(system.mixnodes).items():
            self.names[key] = uptime.node_id(number)


def check_measurements(case: ChainCase) -> Finding:
    """Check the committed list and every log in it.

    Raises:
        Broken: Naming the list, or the member whose readings are not what was committed.
    """
    committed, network = case.committed, case.source.network
    case.counted, case.annotation = {}, committed.annotation  # whatever the list turns out to be
    others = [
        file
        for file, digest in pointed(case.source.manifests(case.epoch), "a list of readings")
        if digest != committed.manifest
    ]
    require(others, "an index file names another list than the chain")
    listed = Measurements.decode(fetch(case.source, committed.manifest, "the list of readings"))
    said = {
        "network": (listed.network, network.network_id),
        "epoch": (listed.epoch, case.epoch),
        "mixnodes": (listed.mixnodes, case.system.mixnodes),
        "root": (listed.root, committed.root),
        "n_nodes": (listed.mixnodes, committed.n_nodes),
        "annotation": (listed.annotation, committed.annotation),
    }
    require(
        [name for name, (one, other) in said.items() if one != other],
        "the list says something else than the commitment",
    )
    calendar = Calendar(network.genesis_s, network.epoch_seconds, network.first_epoch)
    start_ms = calendar.start_us(case.epoch) // 1000
    end_ms = calendar.end_us(case.epoch) // 1000
    domain = Domain(chain_id=network.chain_id, contract=network.commitments)
    case.logs = {}
    for member, digest in listed.logs.items():
        name = f"the readings of {address_text(member)}"
        try:
            log = ReadingLog.decode(fetch(case.source, digest, name))
            if (log.member, log.epoch, log.network) != (member, case.epoch, network.network_id):
                raise InvalidInput("readings", "are of another member, epoch or network")
            log.check(domain, case.system.mixnodes, start_ms, end_ms)
        except InvalidInput as error:
            raise Broken(f"{name} cannot be used", [str(error)]) from error
        case.logs[member] = log
    return Finding(
        f"{listed.readings} readings of {len(case.logs)} Nym-Apis, committed before any row was sent",
        tuple(f"{address_text(m)}: {len(log.readings)} readings" for m, log in case.logs.items()),
    )


def check_rules(case: ChainCase) -> Finding:
    """Check that the schedule names the averaging that runs here, and note who is paid for which mixnode.

    Raises:
        Broken: If it does not, or a mixnode is not registered.
    """
    case.schedule = case.source.chain.schedule(case.epoch)
    case.parameters = uptime.parameters(case.system.aggregate)
    if case.schedule.function != uptime.FUNCTION_DIGEST:
        raise Broken("the schedule names code that this installation does not run")
    if case.schedule.parameters != case.parameters.digest:
        raise Broken(f"the schedule names other parameters than {case.system.aggregate}")
    known = case.source.chain.payees(case.epoch)
    payees = {key: accounts[-1] for key, accounts in known.items()}
    lacking = [name for key, name in case.names.items() if key not in payees]
    require(lacking, "mixnodes are not registered on chain")
    case.payees = {key: payees[key] for key in case.names}
    case.header = RowHeader(
        network=case.source.network.network_id,
        epoch=case.epoch,
        commitment=case.committed.digest,
        function=case.schedule.function,
        parameters=case.schedule.parameters,
        inputs_root=inputs_root({}),
    )
    return Finding(f"{uptime.NAME}, averaged by {case.system.aggregate}; {len(payees)} mixnodes")


def check_averages(case: ChainCase) -> Finding:
    """Check that every row is the average of its member's committed readings; without any, that it is silent.

    Raises:
        Broken: Naming the members whose rows are not.
    """
    wrong = []
    for member, body in case.rows:
        log = case.logs.get(member)
        own = Row(case.epoch, ()) if log is None else log.row()
        weights = uptime.weights_of(own, case.system.mixnodes)
        if WeightRow.decode(body).weights != weights:
            wrong.append(address_text(member))
    require(wrong, "rows do not follow from the committed readings")
    return Finding(f"all {len(case.rows)} rows follow from the committed readings")


STEPS: Final[tuple[Step[ChainCase], ...]] = (
    Step("contracts", (), lambda case: check_contracts(case.source, case.epoch)),
    Step("commitment", ("contracts",), check_commitment),
    Step("measurements", ("commitment",), check_measurements),
    Step("rules", ("commitment",), check_rules),
    Step("records", ("contracts",), load_records),
    Step("block", ("records",), check_block),
    Step("certificate", ("block",), check_certificate),
    Step("rows", ("block",), check_rows),
    Step("averages", ("rows", "measurements"), check_averages),
    Step("aggregation", ("rows", "rules"), check_aggregation),
    Step("rewards", ("aggregation",), check_rewards),
    Step("report", ("rewards",), check_report),
    Step("signatures", ("records",), check_signatures),
    Step("contract", ("rewards",), check_contract),
)


def audit_chain_epoch(
    source: EvidenceSource, epoch: int, system: NymNetwork
) -> tuple[ChainCase, list[Link]]:
    """Check every link of an epoch, and return also what was recomputed on the way."""
    case = ChainCase(source, epoch, system)
    return case, run_steps(case, STEPS)
