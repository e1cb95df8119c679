"""The steps of a proof for a person to follow: what went in, what came out, what it must equal."""

from dataclasses import dataclass

from meridian.measure.proof_steps import Climbed, Compared, Hashed, Ordered, Step
from meridian.primitives.sumtree import LaneKind, annotation


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One step of a proof."""

    name: str
    """What is shown, such as ``job tree, level 3``."""
    rule: str
    """How it is computed or what it is compared with."""
    value: str
    """What comes out."""
    ok: bool = True


def step_text(step: Step) -> ProofStep:
    """Return a step as it is shown."""
    if isinstance(step, Hashed):
        rule = step.layout if step.tag is None else f"SHA-256(0x{step.tag:02x} | {step.layout})"
        value = step.digest.hex()
    elif isinstance(step, Climbed):
        side = "left" if step.on_left else "right"
        rule = (
            f"SHA-256(0x{step.tag:02x} | left 56 | right 56), sibling {step.sibling[:32].hex()} "
            f"(count {_sums(step.sibling, step.lanes)}) on the {side}"
        )
        value = f"{step.node[:32].hex()} (count {_sums(step.node, step.lanes)})"
    elif isinstance(step, Compared):
        found, stated = _text(step.found), _text(step.stated)
        rule = step.rule
        value = f"{found} as stated" if step.holds else f"{found}, but stated is {stated}"
    elif isinstance(step, Ordered):
        relation = "<" if step.holds else "is not below"
        rule, value = step.rule, f"{step.low.hex()} {relation} {step.high.hex()}"
    else:
        rule, value = step.rule, step.reason
    return ProofStep(step.name, rule, value, step.holds)


def _sums(node: bytes, lanes: LaneKind) -> str:
    count, sums = annotation(node, lanes)
    return f"{count}, sums {', '.join(map(str, sums))}"


def _text(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
