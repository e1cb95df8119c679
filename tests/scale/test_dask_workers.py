"""Real workers behind mutual TLS: the same results, also when one is killed; nobody comes in without a certificate."""

import socket
import ssl
from functools import partial
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from tests.scale import test_pools as tasks
from tests.scale.sharded_epochs import shards_of
from tests.scale.test_sharded_evaluation import CASES, big_epoch
from tests.scale.worker_processes import running_workers, write_certificates

from meridian.cli.main import main
from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.verdicts import evaluation_root
from meridian.scale.dask_pool import security_of
from meridian.scale.evaluating import Rule, evaluate_sharded
from meridian.scale.pool import open_pool

pytest.importorskip("distributed", reason="Dask is an extra: pip install meridian-ie[scale]")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with running_workers(tmp_path_factory.mktemp("workers"), 2) as running:
        yield running


def test_results_are_those_of_a_loop_also_when_a_worker_is_killed(workers, tmp_path):
    told = []
    with open_pool(workers.settings()) as pool:
        assert pool.workers == 2
        squares = [number * number for number in range(9)]
        assert pool.map(tasks.squared, range(9), told.append) == squares
        assert told == list(range(1, 10))
        with pytest.raises(InvalidInput, match="item 2"):
            pool.map(tasks.refused, range(12))
        flag = tmp_path / "killed"
        found = pool.map(partial(tasks.kill_once, flag), range(9))
        assert flag.exists()
        assert [square for _, square in found] == squares
        assert pool.workers == 1
        epoch = big_epoch()
        for name in ("saturn, quantiles behind layers", "sealed"):
            function, parameters, layers = CASES[name]
            expected = evaluate_layered(function, epoch, parameters, layers)
            rule = Rule(function.bundle, parameters, layers)
            made = evaluate_sharded(rule, function, shards_of(epoch, 150, 90), pool)
            assert made.evaluation == expected
            assert made.verdict_root == evaluation_root(epoch, expected)


def test_a_worker_that_comes_later_takes_its_part(workers):
    with open_pool(workers.settings()) as pool:
        before = pool.workers
        workers.start_worker("another")
        assert pool.map(tasks.squared, range(3)) == [0, 1, 4]
        assert pool.workers == before + 1


def test_who_has_no_certificate_of_this_authority_is_refused(workers, tmp_path):
    strangers = write_certificates(tmp_path / "strangers")
    with pytest.raises(RemoteFault, match="certificate"), open_pool(workers.settings(strangers)):
        pass
    address = urlsplit(workers.address)
    context = ssl.create_default_context(cafile=str(workers.certificates / "ca.pem"))
    context.check_hostname = False
    plain = socket.create_connection((address.hostname, address.port), 10)
    with pytest.raises(ssl.SSLError), context.wrap_socket(plain) as link:
        link.recv(1)
    again = CliRunner().invoke(main, ["scale", "keys", "--dir", str(workers.certificates)])
    assert (again.exit_code, "has ca.pem already" in again.output) == (2, True)
    assert (workers.certificates / "client-key.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(NotFound, match="scale keys"):
        security_of(tmp_path, "client")
