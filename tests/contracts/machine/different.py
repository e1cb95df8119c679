"""Every example a new one."""

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from hypothesis.internal.conjecture.engine import ConjectureRunner


def different_examples() -> AbstractContextManager[Any]:
    """Keep Hypothesis from running five variations of each example, with parts of it repeated.

    They find two equal values in small tests. Here they are five of six examples, and do again what was done.
    Hypothesis has no setting for it.
    """
    return mock.patch.object(ConjectureRunner, "generate_mutations_from", return_value=None)
