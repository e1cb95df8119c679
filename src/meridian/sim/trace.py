"""The words for a frame in a readable trace."""

from __future__ import annotations

from collections.abc import Mapping

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import Propose
from meridian.errors import InvalidInput

DIGEST_BYTES_SHOWN = 4


def text_of(contexts: Mapping[int, Context], frame: bytes) -> str:
    """Kind, epoch (from 0), view and the beginning of the digest of a frame.

    Args:
        contexts: By number of the epoch, as in frames.
        frame: Any bytes.
    """
    context = contexts.get(int.from_bytes(frame[2:10], "big"))
    try:
        message = None if context is None else frames.decode(frame, context)
    except InvalidInput:
        message = None
    if message is None or context is None:
        return f"{len(frame)} bytes that are no frame"
    text = f"{Kind(frame[1]).name} epoch {context.epoch - min(contexts)}"
    view = getattr(message, "view", None)
    digest = getattr(message, "block_hash", None) or getattr(message, "digest", None)
    if isinstance(message, Propose):
        digest = message.block.hash
    text += "" if view is None else f" view {view}"
    return text + ("" if digest is None else f" {digest[:DIGEST_BYTES_SHOWN].hex()}")
