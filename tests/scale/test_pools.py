"""A pool gives what a loop gives: results in order, the first error, and no loss when a worker dies."""

import os
import pickle
import signal
import time
from functools import partial

import pytest

from meridian.errors import InvalidInput, Overloaded, RemoteFault
from meridian.measure.commitment import Problem
from meridian.measure.union_epoch import NothingCounts
from meridian.scale.pool import InlinePool, ProcessPool, open_pool
from meridian.scale.settings import EngineKind, EngineSettings


@pytest.fixture(scope="module")
def processes():
    with ProcessPool(2) as pool:
        yield pool


@pytest.fixture(params=["inline", "processes"])
def pool(request):
    return InlinePool() if request.param == "inline" else request.getfixturevalue("processes")


def squared(number):
    return number * number


def refused(number):
    if number % 3 == 2:
        raise InvalidInput(f"item {number}", "is two more than a multiple of three")
    time.sleep(0.02 * (number == 0))
    return number


def kill_once(flag, number):
    """Die with the first item, the first time."""
    if number == 0 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), number * number


def kill_always(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order_and_progress_is_told(pool):
    told = []
    assert pool.map(squared, range(20), told.append) == [number * number for number in range(20)]
    assert told == list(range(1, 21))
    assert pool.map(squared, []) == []


def test_the_error_of_the_first_failing_item_is_raised(pool):
    with pytest.raises(InvalidInput) as caught:
        pool.map(refused, range(12))
    assert (caught.value.field, caught.value.exit_code) == ("item 2", 2)


def test_a_killed_worker_costs_nothing_but_time(processes, tmp_path):
    flag = tmp_path / "killed"
    found = processes.map(partial(kill_once, flag), range(6))
    assert flag.exists()
    assert [square for _, square in found] == [0, 1, 4, 9, 16, 25]
    assert all(worker != os.getpid() for worker, _ in found)


def test_a_task_that_kills_every_worker_is_given_up():
    with ProcessPool(1) as pool, pytest.raises(RemoteFault, match="died 3 times"):
        pool.map(kill_always, range(5))


def test_the_configuration_says_which_pool():
    with open_pool(EngineSettings()) as pool:
        assert isinstance(pool, InlinePool)
    with open_pool(EngineSettings(kind=EngineKind.PROCESSES, workers=3)) as pool:
        assert (type(pool), pool.workers, pool.pids) == (ProcessPool, 3, ())
    with pytest.raises(InvalidInput, match="scheduler: is not tls://"):
        EngineSettings(kind=EngineKind.DASK, scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(InvalidInput, match="certificates_dir"):
        EngineSettings(kind=EngineKind.DASK, scheduler="tls://127.0.0.1:8786")


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("a", "b"),
        Overloaded(2.5),
        NothingCounts([Problem("root", "is wrong")]),
    ],
)
def test_errors_cross_processes_as_they_are(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
