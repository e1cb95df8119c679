"""The law of the machine: what is refused changes nothing, not even a little."""

from enum import Enum

from cluster import EPOCH, Cluster, Voice, filled
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Rejected
from meridian.primitives.keys import PrivateKey


def snapshot(value: object, seen: dict[int, int] | None = None) -> object:
    """Everything that an object reaches, as plain values; a shared object is shown once."""
    seen = {} if seen is None else seen
    if isinstance(value, dict):
        return [(repr(k), snapshot(v, seen)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return [snapshot(item, seen) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(item) for item in value)
    if isinstance(value, Enum | PrivateKey) or not hasattr(value, "__dict__"):
        return repr(value)
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    return [type(value).__name__, *((k, snapshot(v, seen)) for k, v in vars(value).items())]


def test_the_snapshot_sees_every_part():
    cluster = Cluster(4)
    cluster.open([0])
    before = snapshot(cluster.replicas[0]._machines)
    cluster.inject(1, 0, Voice(4).echo(1, 0, bytes(32)))
    assert snapshot(cluster.replicas[0]._machines) != before


def stories() -> list[Cluster]:
    """Member 0 at the start, in the middle of view 0, in view 1 with a lock, decided."""
    fresh = Cluster(4)
    fresh.open()
    middle = filled(4)
    middle.allow = lambda i, j, kind: kind not in {Kind.ECHO, Kind.VOTE}
    middle.run(1_000)
    locked = filled(4)
    locked.allow = lambda i, j, kind: kind is not Kind.VOTE
    locked.run(2_500)
    assert locked.replicas[0].status(EPOCH).view == 1
    done = filled(4)
    done.run(0)
    return [fresh, middle, locked, done]


STORIES = stories()
FRAMES = sorted({frame for story in STORIES for _, _, _, frame in story.sent})


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(STORIES) - 1),
    st.integers(0, len(FRAMES) - 1),
    st.integers(0, 10_000),
    st.integers(1, 255),
    st.integers(1, 3),
)
def test_a_refused_frame_leaves_no_trace_in_any_phase(story, frame, at, change, sender):
    """Real frames with one byte changed: either a verdict and the very same state, or a fair message."""
    cluster, data = STORIES[story], bytearray(FRAMES[frame])
    data[at % len(data)] ^= change
    machines = cluster.replicas[0]._machines
    before = snapshot(machines)
    effects = cluster.inject(sender, 0, bytes(data))
    if any(isinstance(effect, Rejected) for effect in effects):
        assert len(effects) == 1
        assert snapshot(machines) == before
