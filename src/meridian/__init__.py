"""Meridian: pay the nodes of an off-chain network for work that anyone can check.

For programmes and notebooks: `submit_jobs`, `open_network` (epochs as Arrow, pandas or polars tables), `evaluate_jobs`,
`verify_epoch`, `verify_proof` and `claim_rewards`; docs/library.md shows them. They are imported when they are used.

Three steps, three packages, in reading order: ``measure`` (jobs become a commitment), ``evaluate`` (a commitment
becomes weights) and ``reward`` (weights become claims). ``ephemera`` lets independent evaluators agree, ``audit`` lets
anyone check, ``node`` does the input and output. ``docs/ARCHITECTURE.md`` follows one record through all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meridian.errors import (
        InvalidInput,
        MeridianError,
        NotFound,
        Overloaded,
        RemoteFault,
        Reverted,
        StorageFailure,
    )
    from meridian.library.claiming import CheckedProof, Payment, claim_rewards, verify_proof
    from meridian.library.evaluating import EvaluatedEpoch, evaluate_jobs
    from meridian.library.network import Epoch, Network, Verification, open_network, verify_epoch
    from meridian.library.submitting import SubmitResult, submit_jobs

__version__ = "0.1.0"

__all__ = [
    "CheckedProof",
    "Epoch",
    "EvaluatedEpoch",
    "InvalidInput",
    "MeridianError",
    "Network",
    "NotFound",
    "Overloaded",
    "Payment",
    "RemoteFault",
    "Reverted",
    "StorageFailure",
    "SubmitResult",
    "Verification",
    "__version__",
    "claim_rewards",
    "evaluate_jobs",
    "open_network",
    "submit_jobs",
    "verify_epoch",
    "verify_proof",
]

_PLACES = {
    "library.claiming": ("CheckedProof", "Payment", "claim_rewards", "verify_proof"),
    "library.evaluating": ("EvaluatedEpoch", "evaluate_jobs"),
    "library.network": ("Epoch", "Network", "Verification", "open_network", "verify_epoch"),
    "library.submitting": ("SubmitResult", "submit_jobs"),
    "errors": ("InvalidInput", "MeridianError", "NotFound", "Overloaded", "RemoteFault", "Reverted", "StorageFailure"),
}  # fmt: skip
"""Where each name is; its module is imported when the name is first used."""


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            found = getattr(import_module(f"{__name__}.{place}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
