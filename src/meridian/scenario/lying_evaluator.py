"""An evaluator that lies about weights, or says two things at once.

``shift``: it gives the first node what the others earned; everything else it does as the real one. ``double``: it
commits itself to two rows, and takes no other part in the epoch. Whoever has decided listens to no rows any more, so it
must not help to decide before both are heard; and as what is sent to a member that has not opened the epoch is lost, it
sends both again and again.
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
from meridian.node.chain_view import Commitment, EpochCommitments
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

    def _prepare_once(
        self, commitment: Commitment, known: EpochCommitments, *, gives_up: bool
    ) -> EpochWork | None:
        work = super()._prepare_once(commitment, known, gives_up=gives_up)
        if work is None:
            return None
        if self._lie == "shift":
            return replace(work, observation=false_observation(work.observation))
        self._epochs[commitment.epoch].barred = "we only say two things about it"  # never opened
        return work

    def _follow_peers(self) -> None:
        super()._follow_peers()
        if self._lie == "double":
            for epoch, state in self._epochs.items():
                if state.work is not None:
                    self._say_both(epoch, state.work)

    def _say_both(self, epoch: int, work: EpochWork) -> None:
        """Sign commitments to the true row and to a false one, and send both to everybody."""
        context = self._term.context(epoch, work.terms.members)
        own = context.index_of(self._key.address)
        assert own is not None, "only members work an epoch"
        for observation in (work.observation, false_observation(work.observation)):
            opening = Opening(bytes(32), row_root(observation.body), NO_TRACE)
            digest = commitment_of(self._key.address, opening)
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
