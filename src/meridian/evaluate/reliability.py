"""How reliable each evaluator has been, who is out of line, and whom to trust with pay.

- *Standing*: a beta reputation with forgetting. Each epoch multiplies what is remembered by the forgetting factor and
  adds the share of nodes for which the evaluator agreed with the result. The weight that follows stays between half of
  the greatest weight and the greatest, so that patience buys at most 2:1 (peers: Storj's audits; Josang and Ismail 2002).
- *Outliers*: the median absolute deviation with an absolute floor, for evaluators that compute the same thing agree
  exactly and the deviation is then 0. For alerts; it never changes a value.
- *Trust*: what is left of an evaluator's shares after they are clipped at the result (Yuma's clip). It divides pay and
  never sets values: the clip takes a missing value for zero, which is right for pay and wrong for a measurement.

All integers; ppm is millionths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import Aggregated, Values, lower_median

PPM: Final = 10**6
WEIGHT_MAX: Final = PPM
WEIGHT_NEW: Final = WEIGHT_MAX // 2
"""Of an evaluator without a past, and of the least reliable one."""

_MAD_NUMERATOR: Final = (
    51_891  # 3.5 * 1.4826, in ten-thousandths: the limit of Iglewicz and Hoaglin 1993
)
_MAD_DENOMINATOR: Final = 10_000


@dataclass(frozen=True, slots=True)
class ReliabilityRule:
    """How agreement becomes a weight."""

    forgetting_ppm: int = 950_000
    """What an epoch leaves of the past; 950,000 remembers about 20 epochs."""
    tolerance_ppm: int = 20_000
    """How far a value may lie from the result, as a part of it."""
    tolerance_floor: int = 0
    """The same, absolutely."""
    outlier_floor: int = 1
    """The least deviation that the limit of outliers is made of."""

    def __post_init__(self) -> None:
        if not 0 <= self.forgetting_ppm < PPM:
            raise InvalidInput("forgetting_ppm", f"{self.forgetting_ppm} is not in 0..{PPM - 1}")
        if not 0 <= self.tolerance_ppm <= PPM:
            raise InvalidInput("tolerance_ppm", f"{self.tolerance_ppm} is not in 0..{PPM}")
        if self.tolerance_floor < 0:
            raise InvalidInput("tolerance_floor", "is negative")
        if self.outlier_floor < 1:
            raise InvalidInput("outlier_floor", f"{self.outlier_floor} is not positive")


def reliability_rule(values: Mapping[str, Any]) -> ReliabilityRule | None:
    """Read the key ``reliability`` of the parameters artefact; None where it is empty.

    Raises:
        InvalidInput: Naming the parameter that is wrong or unknown.
    """
    if not isinstance(values, dict):
        raise InvalidInput("reliability", "is not a map")
    if not values:
        return None
    known = ReliabilityRule.__slots__
    for name, value in values.items():
        if name not in known:
            raise InvalidInput(f"reliability.{name}", f"is not one of {', '.join(known)}")
        if type(value) is not int:
            raise InvalidInput(f"reliability.{name}", f"{value!r} is not an integer")
    return ReliabilityRule(**values)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of an evaluator, in millionths of an epoch."""

    agreed: int = 0
    differed: int = 0

    @property
    def weight(self) -> int:
        """The reliability weight, `WEIGHT_NEW`..`WEIGHT_MAX`."""
        remembered = self.agreed + self.differed
        if remembered == 0:
            return WEIGHT_NEW
        return max(WEIGHT_NEW, WEIGHT_MAX * self.agreed // remembered)

    def after(self, agreed_ppm: int | None, rule: ReliabilityRule) -> "Standing":
        """Return the standing after an epoch; None: the evaluator said nothing that can be judged."""
        if agreed_ppm is None:
            return self
        return Standing(
            self.agreed * rule.forgetting_ppm // PPM + agreed_ppm,
            self.differed * rule.forgetting_ppm // PPM + PPM - agreed_ppm,
        )


def agreement_ppm(row: Values, result: Aggregated, rule: ReliabilityRule) -> int | None:
    """Return the share of nodes for which a row agrees with the result, of those that both speak about; None of none."""
    if row == result and None not in result:
        return PPM if result else None
    judged = agreed = 0
    for value, right in zip(row, result, strict=True):
        if value is None or right is None:
            continue
        judged += 1
        agreed += abs(value - right) <= max(rule.tolerance_floor, right * rule.tolerance_ppm // PPM)
    return PPM * agreed // judged if judged else None


def outliers(rows: Sequence[Values], floor: int) -> list[list[int]]:
    """Return, for each row, the positions of the nodes about which it is out of line.

    Args:
        rows: What the evaluators say.
        floor: The least deviation that the limit is made of, in units of the values, at least 1.

    Raises:
        InvalidInput: If the floor is not positive: exact agreement would then flag the smallest difference.
    """
    if floor < 1:
        raise InvalidInput("floor", f"{floor} is not positive")
    flagged: list[list[int]] = [[] for _ in rows]
    for node, column in enumerate(zip(*rows, strict=True)):
        present = [value for value in column if value is not None]
        middle = lower_median(present)
        if middle is None or min(present) == max(present):
            continue
        deviation = max(floor, lower_median([abs(value - middle) for value in present]) or 0)
        for positions, value in zip(flagged, column, strict=True):
            if value is not None and (
                abs(value - middle) * _MAD_DENOMINATOR > deviation * _MAD_NUMERATOR
            ):
                positions.append(node)
    return flagged


def trust_ppm(row: Values, result: Aggregated) -> int:
    """Return what is left of an evaluator's shares when each is clipped at the result's share of that node.

    Both are normalised to their own sum; a missing value is a share of nothing. A row that equals the result has all
    its trust, and one that spreads its weight where nobody else does loses exactly that part.
    """
    if row == result and any(result):
        return PPM
    said, right = sum(value or 0 for value in row), sum(value or 0 for value in result)
    if said == 0 or right == 0:
        return 0
    kept = sum(
        min(value * right, limit * said)
        for value, limit in zip(row, result, strict=True)
        if value and limit
    )
    return PPM * kept // (said * right)
