"""The evaluation of mixnodes by uptime, in the terms of Meridian: mixnodes are nodes, averages are weights.

Every Nym-Api evaluates its own readings, so rows differ honestly and `wmedian` decides. The function's digest, which the
contract's schedule holds, is over the very source text that averages.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Final

from meridian.committee.observation import Observation
from meridian.committee.rules import CommitteeRules
from meridian.errors import InvalidInput
from meridian.evaluate.function import Evaluation
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row as WeightRow
from meridian.evaluate.row import RowHeader
from meridian.evaluate.verdicts import verdict_root
from meridian.nym.rows import VALUE_MAX, Row
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, NodeKey, node_key

NAME: Final = "nym-uptime"
REASONS: Final = ("ok",)


def _bundle() -> bytes:
    source = resources.files("meridian.nym").joinpath("rows.py").read_bytes()
    code = {"rows.py": source.replace(b"\r\n", b"\n")}
    return dagcbor.encode({"name": NAME, "version": 1, "engine": "python", "sources": code})


BUNDLE: Final = _bundle()
FUNCTION_DIGEST: Final = digest_of(BUNDLE)


def parameters(aggregate: str) -> EvaluationParameters:
    """Return the parameters artefact: the rule is all that there is to choose."""
    return EvaluationParameters(aggregate=aggregate)


def node_id(mixnode: int) -> str:
    """Return the text id under which a mixnode is registered."""
    return f"mixnode-{mixnode}"


def node_keys(mixnodes: int) -> dict[NodeKey, int]:
    """Return key -> mixnode, ascending by key."""
    keys = {node_key(node_id(mixnode)): mixnode for mixnode in range(mixnodes)}
    return dict(sorted(keys.items()))


def weights_of(row: Row, mixnodes: int) -> tuple[int | None, ...]:
    """Return a row's averages in the order of node keys."""
    values = row.spread(mixnodes)
    return tuple(values[mixnode] for mixnode in node_keys(mixnodes).values())


def values_of(weights: Sequence[int | None], mixnodes: int) -> tuple[int | None, ...]:
    """Return weights in the order of node keys as values by mixnode."""
    places = {mixnode: place for place, mixnode in enumerate(node_keys(mixnodes).values())}
    return tuple(weights[places[mixnode]] for mixnode in range(mixnodes))


def observation(header: RowHeader, row: Row, mixnodes: int) -> Observation:
    """Return one Nym-Api's contribution; there are no jobs to give verdicts on."""
    weights = weights_of(row, mixnodes)
    summary = {"nodes": sum(weight is not None for weight in weights)}
    made = WeightRow(header, verdict_root(()), tuple(node_keys(mixnodes)), weights)
    return Observation(made, made.encode(), Evaluation(weights, b"", REASONS, summary))


class UptimeRules(CommitteeRules):
    """The protocol's `Application`: as for evaluators, and every weight is an average of a known mixnode."""

    def __init__(self, mixnodes: int) -> None:
        super().__init__()
        self._keys: Mapping[NodeKey, int] = node_keys(mixnodes)

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """Return why a row is refused, or None."""
        reason = super().check_row(epoch, member, body)
        if reason is not None:
            return reason
        row = WeightRow.decode(body)
        if row.node_keys != tuple(self._keys):
            return "nodes: are not the mixnodes"
        try:
            check_range(row.weights)
        except InvalidInput as error:
            return str(error)
        return None


def check_range(weights: Sequence[int | None]) -> None:
    """Raise InvalidInput unless every weight is None or 0..100 percent."""
    for weight in weights:
        if weight is not None and weight > VALUE_MAX:
            raise InvalidInput("weight", f"{weight} is not in 0..{VALUE_MAX}")
