"""The errors that Meridian raises, as one tree, each with the exit code of the command that ends with it.

::

    MeridianError           1   anything below
    ├── InvalidInput        2   a value that somebody gave is not acceptable: `field` and `reason` say which and why
    ├── NotFound            3   a named thing (epoch, node, artefact) does not exist here
    ├── RemoteFault         4   another process cannot be reached or breaks its protocol
    ├── StorageFailure      5   our own disk or database refused: the process must stop before it promises anything
    ├── Overloaded          6   try again after `retry_after_s`
    └── Reverted            7   a contract refused a call, for `reason`

What a *peer* sends is data, never an exception: the protocol code turns it into a verdict or into evidence.
"""

from typing import Any


class MeridianError(Exception):
    """Base of all expected failures; the message is written for the person who reads it."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make the same error in another process: what it holds, not how it was made."""
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(kind: type[MeridianError], arguments: tuple[Any, ...]) -> MeridianError:
    return kind.__new__(kind, *arguments)


class InvalidInput(MeridianError):
    """A value is not acceptable.

    Args:
        field: The name of the value, as the giver knows it (a key, an option, a column).
        reason: Why it is refused, and what would be accepted.
    """

    exit_code = 2

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NotFound(MeridianError):
    """A named thing does not exist here."""

    exit_code = 3


class RemoteFault(MeridianError):
    """Another process cannot be reached, or answers outside its protocol."""

    exit_code = 4


class StorageFailure(MeridianError):
    """Our own storage failed; nothing may be promised or signed after this."""

    exit_code = 5


class Overloaded(MeridianError):
    """Too much work is waiting; the caller should come back after `retry_after_s` seconds."""

    exit_code = 6

    def __init__(self, retry_after_s: float, message: str = "too much work is waiting") -> None:
        super().__init__(f"{message}; try again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class Reverted(MeridianError):
    """A contract refused a call; `reason` is the contract's own text."""

    exit_code = 7

    def __init__(self, reason: str) -> None:
        super().__init__(f"the contract refused: {reason}")
        self.reason = reason
