"""One epoch under audit: its source, and what earlier links established for later ones.

Each attribute is set by the link named beside it, and read only by links that need that one; so an attribute that is
read too early is a bug of ours and not a finding.
"""

from collections.abc import Mapping

from meridian.audit.evidence import Broken
from meridian.audit.record import OutcomeRecord
from meridian.audit.source import EvidenceSource, JobStore, Schedule, StoredReport
from meridian.contracts.events import Committed, Reported, SelfCommitted
from meridian.ephemera.block import Block
from meridian.ephemera.context import Context
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, Evaluation, EvaluationFunction
from meridian.evaluate.jobs import Jobs
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import RowHeader
from meridian.evaluate.sealed_layer import PrivateLayer, SealedLayer
from meridian.evaluate.trace import Traces
from meridian.measure.manifest import Nodes
from meridian.measure.schema import NetworkSchema
from meridian.measure.union_epoch import Source, UnionEpoch
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.outcome import JudgedRow, MemberRow, Outcome
from meridian.reward.report import Report


class Case:
    """The state of one audit."""

    committed: Committed  # commitment: the newest that stands, with the epoch's digest
    contributions: tuple[Committed | SelfCommitted, ...]  # commitment
    sources: tuple[Source, ...]  # manifest: of `contributions`
    schema: NetworkSchema  # manifest
    union: UnionEpoch[JobStore] | None = None  # segments
    fault: Broken | None  # segments: what is wrong with `jobs`, where nothing counts
    union_document: bytes | None = None  # jobs: what must be published of it
    counted: Mapping[Address, int]  # jobs: of each aggregator
    annotation: bytes  # jobs: count and sums of what counts
    nodes: Nodes  # jobs
    jobs: Jobs  # jobs
    payees: Mapping[NodeKey, Address]  # jobs
    schedule: Schedule  # function
    function: EvaluationFunction  # function
    parameters: EvaluationParameters  # parameters
    layers: tuple[ActiveLayer | SealedLayer, ...]  # parameters
    inputs: Mapping[str, bytes]  # inputs
    input: EpochInput  # evaluation
    header: RowHeader  # inputs
    stored: StoredReport  # outcome records
    records: tuple[tuple[str, OutcomeRecord], ...]  # outcome records, with their files
    context: Context  # block
    block: Block  # block
    rows: tuple[MemberRow, ...]  # rows
    traces: Traces | None = None  # evaluation; without it nobody's work is checked
    reported: Reported  # aggregation
    before: Reported | None  # aggregation
    weights: tuple[int | None, ...]  # aggregation
    verdict_root: bytes  # aggregation
    judged: tuple[JudgedRow, ...]  # aggregation: how the rows compare, where reliability is learnt
    evaluation: Evaluation  # evaluation
    outcome: Outcome  # rewards
    report: Report  # report

    def __init__(self, source: EvidenceSource, epoch: int) -> None:
        self.source = source
        self.epoch = epoch
        self.private: Mapping[bytes, PrivateLayer] = {}
        """Commitment -> private bundle, of sealed fraud layers whose rules are known here."""
        self.names: dict[NodeKey, str] = {}
        """Key -> text id of the committed nodes, once they are known."""

    @property
    def evaluations_domain(self) -> Domain:
        """The domain of protocol and report signatures."""
        network = self.source.network
        return Domain(chain_id=network.chain_id, contract=network.evaluations)

    def name_of(self, key: NodeKey) -> str:
        """Return a node's id, or its key where the id is not known."""
        return self.names.get(key, key.hex())
