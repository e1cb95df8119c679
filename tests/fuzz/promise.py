"""What a fuzz target raises when the code under it breaks a promise."""


class Broken(AssertionError):
    """A promise was broken."""


def promise(holds: bool, what: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(what)
