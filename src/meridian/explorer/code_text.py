"""The code of an evaluation function for people: the texts of its bundle, one behind the other. Pure."""

from typing import Any

from meridian.errors import InvalidInput
from meridian.primitives import dagcbor


def code_text(bundle: bytes) -> bytes:
    """Return what a bundle says, as UTF-8 text; the bundle is DAG-CBOR.

    Raises:
        InvalidInput: If it is no map.
    """
    value = dagcbor.decode(bundle)
    if not isinstance(value, dict):
        raise InvalidInput("bundle", "is no map")
    head, body = [], []
    for name, item in sorted(value.items()):
        if name == "sources" and isinstance(item, dict):
            body += [_section(path, text) for path, text in sorted(item.items())]
        elif isinstance(item, str | bytes) and len(item) > 80:
            body.append(_section(name, item))
        else:
            head.append(f"{name}: {_shown(item)}")
    return "\n".join([*head, "", *body]).encode()


def _section(name: str, item: Any) -> str:
    text = item.decode(errors="replace") if isinstance(item, bytes) else str(item)
    return f"==== {name}\n\n{text}"


def _shown(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
