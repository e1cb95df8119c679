"""An evaluator that lies about weights, or says two things at once; everything else it does as the real one.

``shift``: it gives the first node what the others earned. ``double``: it signs a second row beside its first.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from meridian.committee.observation import Observation
from meridian.ephemera import frame as frames
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Kind
from meridian.ephemera.message import Row
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.node.chain_view import Commitment
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.service import EvaluatorService
from meridian.node.evaluator.work import EpochWork
from meridian.node.process import bound_recursion, serve_until_stopped, start_logging

LIES: Final = ("shift", "double")


class LyingEvaluator(EvaluatorService):
    """One liar.

    Args:
        config: As an evaluator's.
        lie: One of `LIES`.
    """

    def __init__(self, config: EvaluatorConfig, lie: str) -> None:
        self._lie = lie
        super().__init__(config)

    def _prepare_once(self, commitment: Commitment) -> EpochWork | None:
        work = super()._prepare_once(commitment)
        if work is None or self._lie != "shift":
            return work
        return replace(work, observation=false_observation(work.observation))

    def _follow_peers(self) -> None:
        super()._follow_peers()
        if self._lie == "double":
            for epoch, state in self._epochs.items():
                if state.is_open and state.work is not None:
                    self._say_otherwise(epoch, state.work)

    def _say_otherwise(self, epoch: int, work: EpochWork) -> None:
        """Sign another row than the one that everybody has, and send it to everybody too."""
        context = self._term.context(epoch, work.terms.members)
        own = context.index_of(self._key.address)
        assert own is not None, "only members work an epoch"
        root = row_root(false_observation(work.observation).body)
        digest = commitment_of(self._key.address, Opening(bytes(32), root, NO_TRACE))
        signature = self._key.sign(context.statement(Kind.ROW, 0, digest))
        frame = frames.encode(Row(own, digest, signature), epoch)
        for member in context.members:
            if member != self._key.address:
                self._term.links.send(member, frame)


def false_observation(true: Observation) -> Observation:
    """Return an observation in which the first node has earned what all have, and the others next to nothing."""
    weights = [weight or 0 for weight in true.row.weights]
    false = [sum(weights) - (len(weights) - 1), *[1] * (len(weights) - 1)]
    row = replace(true.row, weights=tuple(false))
    return replace(true, row=row, body=row.encode())


async def _serve(config: EvaluatorConfig, lie: str) -> None:
    service = LyingEvaluator(config, lie)
    try:
        await service.run()
    finally:
        await service.close()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--lie", type=click.Choice(LIES), required=True)
def command(path: Path, lie: str) -> None:
    """Run a lying evaluator from its configuration file."""
    bound_recursion()
    config = EvaluatorConfig.load(path)
    start_logging(f"liar-{config.listen_port}")
    raise SystemExit(serve_until_stopped(lambda: _serve(config, lie)))


if __name__ == "__main__":
    command()
