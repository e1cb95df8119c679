"""The compiled contracts, as they ship with the package.

``contracts/build.py`` writes them from the Vyper sources; a test compiles the sources again and compares every byte,
so what stands here is what the sources say.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from meridian.errors import NotFound

NAMES: Final = ("Registry", "Commitments", "Evaluations", "Rewards")
"""The contracts of every network, in the order of their deployment."""
JUDGES: Final = ("Disputes", "CommitmentProofs", "ReportProofs", "Referees")
"""Those that judge, in the order of their deployment behind the others."""
ALONE: Final = (
    "ImpactEvaluator",
    "SparkImpactEvaluator",
    "Naive",
    "Subnet",
    "SubnetGateway",
    "KzgSummaries",
    "Summaries",
    "Locations",
)
"""Those that need no other: the earlier Meridian contract's interface, and those of the other measurement models."""
SHIPPED: Final = NAMES + JUDGES + ALONE
"""All contracts."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """One compiled contract."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    """The code of the creating transaction, without constructor arguments."""
    runtime: bytes
    """The code on chain, without the values of immutables, which follow it."""


@functools.cache
def load(name: str) -> Artefact:
    """Return a contract's artefact by its name.

    Raises:
        NotFound: If there is no such contract.
    """
    if name not in SHIPPED:
        raise NotFound(f"no contract {name!r}; there are {', '.join(SHIPPED)}")
    text = (resources.files(__package__) / "artefacts" / f"{name}.json").read_text("utf-8")
    document = json.loads(text)
    return Artefact(
        name=document["name"],
        abi=document["abi"],
        bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
        runtime=bytes.fromhex(document["runtime"].removeprefix("0x")),
    )
