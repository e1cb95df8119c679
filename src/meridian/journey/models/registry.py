"""The models by name. A model's module is imported when it is asked for, and holds it as ``MODEL``."""

import importlib
import importlib.util
from typing import Final, cast

from meridian.errors import NotFound
from meridian.journey.models.model import Model

DEFAULT: Final = "orchestrator"

MODELS: Final = {
    "naive": "meridian.journey.models.naive",
    "subnet": "meridian.journey.models.subnet",
    "offchain-store": "meridian.journey.models.offchain_store",
    "summary": "meridian.journey.models.summary",
    "orchestrator": "meridian.scenario.orchestrator",
}
"""Name -> module, which may stand in a layer above this one; in the order in which they are told."""


def model_named(name: str) -> Model:
    """Return a model by its name.

    Raises:
        NotFound: If there is none of that name, or it is not built yet.
    """
    if name not in MODELS:
        raise NotFound(f"no model {name!r}; there are {', '.join(MODELS)}")
    if not is_built(name):
        raise NotFound(f"the model {name!r} is not built yet; there are {', '.join(built())}")
    return cast("Model", importlib.import_module(MODELS[name]).MODEL)


def is_built(name: str) -> bool:
    """Whether this version has the model."""
    return importlib.util.find_spec(MODELS[name]) is not None


def built() -> list[str]:
    """Return the names of the models that this version has."""
    return [name for name in MODELS if is_built(name)]
