"""A sampling profile by subject: which part of the system the processor time of this process goes to.

Every millisecond of processor time the signal handler looks at the stack of the main thread and books the sample
to the innermost frame that a subject claims. It sees C code as the line that called it, and costs little, so that
the shares are those of the undisturbed program. Threads (the safety log) are measured apart.
"""

import signal
from collections import Counter
from types import FrameType

_EVERY_S = 0.001

_SUBJECTS = (
    ("crypto", ("coincurve/", "primitives/keys", "primitives/eip712", "primitives/hashing")),
    (
        "codec",
        (
            "primitives/codec",
            "meridian/ephemera/frame",
            "meridian/ephemera/block.py",
            "meridian/ephemera/message",
        ),
    ),
    ("protocol", ("meridian/ephemera/",)),
    ("tls", ("asyncio/sslproto", "/ssl.py")),
    ("network", ("asyncio/streams", "asyncio/selector_events", "node/link")),
    ("driver", ("node/replica_driver",)),
    ("disk", ("node/safety_log",)),
    ("loop", ("asyncio/", "selectors.py", "concurrent/", "threading.py")),
)
_BY_FUNCTION = {"write_entries": "codec", "read_entries": "codec", "statement": "crypto"}


class Sampler:
    """Samples between `start` and `stop`."""

    def __init__(self) -> None:
        self._subjects: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()

    def start(self) -> None:
        """Begin."""
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def stop(self) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def shares(self) -> dict[str, dict[str, int]]:
        """Samples by subject, and by the innermost function."""
        return {"subjects": dict(self._subjects), "functions": dict(self._lines.most_common(60))}

    def _take(self, _signal: int, frame: FrameType | None) -> None:
        if frame is not None:
            code = frame.f_code
            where = "/".join(code.co_filename.split("/")[-2:])
            self._lines[f"{where}:{code.co_qualname}"] += 1
        self._subjects[_subject(frame)] += 1


def _subject(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        named = _BY_FUNCTION.get(code.co_name)
        if named is not None:
            return named
        for subject, places in _SUBJECTS:
            if any(place in code.co_filename for place in places):
                return subject
        frame = frame.f_back
    return "rest"
