"""Where an evaluator evaluates: here in one piece, or shard by shard on workers, with the same bytes (`meridian.scale`)."""

import logging
from collections.abc import Sequence

from meridian.errors import NotFound, RemoteFault
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, Evaluation, EvaluationFunction, Parameters
from meridian.evaluate.layered import evaluate_layered
from meridian.node.job_store import JobStore
from meridian.scale.evaluating import Rule, evaluate_sharded, must_stay_whole
from meridian.scale.pool import open_pool
from meridian.scale.settings import EngineKind, EngineSettings
from meridian.scale.shards import CarriedShards, ShardJobs, cut
from meridian.scale.tasks import Items

_log = logging.getLogger(__name__)


class Engine:
    """Evaluates epochs.

    Args:
        settings: Where.
    """

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self._settings = settings or EngineSettings()

    def evaluate(
        self,
        function: EvaluationFunction,
        epoch: EpochInput,
        parameters: Parameters,
        layers: Sequence[ActiveLayer],
        kept: JobStore,
        counts: Sequence[int],
    ) -> Evaluation:
        """Evaluate an epoch. Where workers cannot be had it is done here: a result that is late is worth nothing.

        Args:
            function: The function of the schedule.
            epoch: The epoch.
            parameters: The function's own.
            layers: In the order in which they decide.
            kept: Holds the epoch's jobs.
            counts: How many of them each node has.

        Raises:
            InvalidInput: If the function or a layer refuses the parameters or the jobs, or a sum overflows.
        """
        about = {"epoch": epoch.epoch}
        if (
            self._settings.kind is EngineKind.INLINE
            or epoch.jobs.num_rows <= self._settings.shard_rows
        ):
            return evaluate_layered(function, epoch, parameters, layers)
        reason = must_stay_whole(function, parameters, layers, epoch.jobs)
        if reason is not None:
            _log.info("evaluated in one piece: %s", reason, extra=about)
            return evaluate_layered(function, epoch, parameters, layers)
        rule = Rule(function.bundle, parameters, tuple(layers))
        try:
            with open_pool(self._settings) as pool:
                shards = self._shards(epoch, kept, counts)
                return evaluate_sharded(rule, function, shards, pool).evaluation
        except (RemoteFault, NotFound) as problem:
            _log.warning("evaluated here, not on workers: %s", problem, extra=about)
            return evaluate_layered(function, epoch, parameters, layers)

    def _shards(self, epoch: EpochInput, kept: JobStore, counts: Sequence[int]) -> Items[ShardJobs]:
        stored = kept.stored()
        nodes = list(zip(epoch.node_ids, epoch.payees, counts, strict=True))
        shards = [
            ShardJobs(epoch.epoch, shard, stored.columns, stored.reader, epoch.inputs)
            for shard in cut(nodes, stored.rows, self._settings.shard_rows)
        ]
        # Another machine does not see our files, and what is in memory has none.
        travels = self._settings.kind is not EngineKind.PROCESSES or stored.in_memory
        return CarriedShards(shards) if travels else shards
