"""The chain as a process: start, limits, signals, kill -9, and the HTTP client."""

import http.client
import itertools
import json
import resource
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from chain_world import CHAIN_ID

from meridian.errors import InvalidInput
from meridian.node.chain import server
from meridian.node.chain.contract import Contract
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.rpc import Rpc, RpcError, RpcUnavailable
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import Address, address_text

SINK = Address(b"\x77" * 20)


def post(node, body, content_type="application/json", headers=None):
    with closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)) as connection:
        connection.request("POST", "/", body, {"Content-Type": content_type, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()


def test_a_process_serves_mines_and_ends_cleanly(node, keys, probe, tmp_path):
    node.start()
    rpc = node.rpc()
    assert rpc.call("eth_chainId") == hex(CHAIN_ID)
    sender = Sender(rpc, keys[0], tmp_path / "journal.sqlite")
    contract = Contract(rpc, sender.deploy(probe, SINK, purpose="deploy"), probe)
    with pytest.raises(RpcError, match="unlucky"):
        rpc.call(
            "eth_call",
            {"to": address_text(contract.address), "data": "0x" + contract.encode("add", 13).hex()},
        )
    # The deepest calls that a block's gas allows run on the server's threads without breaking their stacks.
    deep = {"to": address_text(contract.address), "data": "0x" + contract.encode("deep", 400).hex()}
    assert rpc.call("eth_call", deep) == "0x"
    head = int(rpc.call("eth_blockNumber"), 16)
    time_before = contract.read("now")[0]
    assert abs(time_before - time.time()) < 3
    assert rpc.batch([("eth_blockNumber", []), ("eth_none", [])])[0] == hex(head)
    assert isinstance(rpc.batch([("eth_none", [])])[0], RpcError)
    _check_limits(node)
    second = node.__class__(node.db, node.accounts)
    with pytest.raises(AssertionError, match="ended before it was ready"):
        second.start()
    assert second.process is not None
    assert second.process.wait(10) == 5
    second._close()
    assert node.terminate() == 0
    with pytest.raises(RpcUnavailable):
        rpc.call("eth_chainId")
    reopened = EmbeddedChain(node.db, CHAIN_ID)
    assert int(reopened.call("eth_blockNumber"), 16) == head
    reopened.close()


def _check_limits(node):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})
    assert post(node, body)[0] == 200
    assert post(node, body, "text/plain")[0] == 415
    assert post(node, b"{")[0] == 200
    assert post(node, json.dumps({"jsonrpc": "2.0", "method": "eth_chainId"}))[0] == 204
    with closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(server.BODY_BYTES_MAX + 1))
        connection.endheaders()
        try:
            connection.send(bytes(server.BODY_BYTES_MAX + 1))
            assert connection.getresponse().status == 413
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may hang up before everything was sent
    assert post(node, body)[0] == 200


def test_kill_9_loses_and_doubles_nothing(node, keys, tmp_path):
    """Four clients pay 25 purposes each while the node is killed three times: every payment stands exactly once."""
    node.start("--block-ms", "20")
    port, paid = node.port, 25
    failures: list[BaseException] = []
    progress = threading.Semaphore(0)

    def client(index: int) -> None:
        try:
            rpc = Rpc(f"http://127.0.0.1:{port}", timeout_s=10)
            sender = Sender(rpc, keys[index], tmp_path / f"journal-{index}.sqlite")
            deadline = time.monotonic() + 30
            hashes = []
            for turn in range(paid):
                while True:
                    try:
                        hashes.append(sender.submit(SINK, b"", 1, purpose=f"pay {turn}"))
                        break
                    except RpcUnavailable:
                        assert time.monotonic() < deadline
                        time.sleep(0.05)
                progress.release()
            assert all(one.status == 1 for one in sender.wait_all(hashes, 30))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)
            progress.release(1000)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        for _ in range(paid):  # kill in the middle of the work, wherever that is
            progress.acquire()
        node.kill()
        node.start("--block-ms", "20", port=port)
    for thread in threads:
        thread.join(60)
    assert failures == []
    node.kill()
    _check_chain(node.db, keys[:4], paid)


def _check_chain(db: Path, keys, paid):
    chain = EmbeddedChain(db, CHAIN_ID)
    assert int(chain.call("eth_getBalance", address_text(SINK)), 16) == 4 * paid
    for key in keys:
        assert int(chain.call("eth_getTransactionCount", address_text(key.address)), 16) == paid
    blocks = [
        chain.call("eth_getBlockByNumber", hex(number))
        for number in range(int(chain.call("eth_blockNumber"), 16) + 1)
    ]
    hashes = [one for block in blocks for one in block["transactions"]]
    assert len(hashes) == len(set(hashes)) == 4 * paid
    for before, after in itertools.pairwise(blocks):
        assert after["parentHash"] == before["hash"]
        assert int(after["timestamp"], 16) > int(before["timestamp"], 16)
    assert abs(int(blocks[-1]["timestamp"], 16) - time.time()) < 60
    chain.close()


def test_what_was_acknowledged_survives_without_a_block(node, keys, tmp_path):
    """Killed right after the acknowledgement, before any block: the restarted node mines it without being told."""
    node.start("--block-ms", "60000")
    sender = Sender(node.rpc(), keys[0], tmp_path / "journal.sqlite")
    tx_hash = sender.submit(SINK, b"", 7, purpose="pay")
    assert node.rpc().call("eth_getTransactionReceipt", "0x" + tx_hash.hex()) is None
    node.kill()
    node.start()
    assert Sender(node.rpc(), keys[0], tmp_path / "other.sqlite").wait(tx_hash, 5).status == 1
    assert node.terminate() == 0


def test_wrong_options_end_with_their_exit_code(tmp_path, capsys):
    from meridian.node.chain.embedded import main

    db = str(tmp_path / "chain.sqlite")
    assert main(["--db", db, "--chain-id", "0"]) == 2
    assert "chain_id" in capsys.readouterr().err
    assert main(["--db", db, "--chain-id", "1", "--alloc", "0x1"]) == 2
    assert main(["--db", db, "--chain-id", "1", "--fork", "paris"]) == 2
    assert not Path(db).exists()


# -- the client against endpoints that misbehave ---------------------------------------------------------------------


class Scripted:
    """A one-connection-at-a-time server that answers each request with the next of its raw answers."""

    def __init__(self, answers):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/key"
        self._answers = list(answers)
        self.requests = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while self._answers:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rwb") as stream:
                while self._answers:
                    length = 0
                    line = stream.readline()
                    if not line:
                        break
                    while line not in (b"\r\n", b""):
                        if line.lower().startswith(b"content-length"):
                            length = int(line.split(b":")[1])
                        line = stream.readline()
                    stream.read(length)
                    self.requests += 1
                    body = self._answers.pop(0)
                    if body is None:
                        break
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                    stream.write(head.encode() + body)
                    stream.flush()

    def close(self):
        self._socket.close()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"5",
        b'{"jsonrpc":"2.0","id":99,"result":1}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"error":"no"}',
        None,
    ],
)
def test_nonsense_is_an_unavailable_endpoint(body):
    with closing(Scripted([body])) as endpoint, pytest.raises(RpcUnavailable) as caught:
        Rpc(endpoint.url, timeout_s=2).call("eth_chainId")
    assert "key" not in str(caught.value)  # the path may be a provider's secret


def test_a_connection_closed_while_idle_is_reopened():
    good = b'{"jsonrpc":"2.0","id":%d,"result":"0x1"}'
    with closing(Scripted([good % 1, None, good % 2])) as endpoint:
        rpc = Rpc(endpoint.url, timeout_s=2)
        assert rpc.call("a") == "0x1"
        assert rpc.call("b") == "0x1"
        assert endpoint.requests == 3


def test_batches_are_matched_by_id_and_must_be_complete():
    shuffled = b'[{"jsonrpc":"2.0","id":2,"result":"b"},{"jsonrpc":"2.0","id":1,"result":"a"}]'
    short = b'[{"jsonrpc":"2.0","id":3,"result":"b"}]'
    whole = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"too long"}}'
    with closing(Scripted([shuffled, short, whole])) as endpoint:
        rpc = Rpc(endpoint.url, timeout_s=2)
        assert rpc.batch([("x", []), ("y", [])]) == ["a", "b"]
        with pytest.raises(RpcUnavailable, match="no answer"):
            rpc.batch([("x", []), ("y", [])])
        with pytest.raises(RpcError, match="too long"):
            rpc.batch([("x", [])])


def test_only_http_urls():
    for url in ("ftp://x", "127.0.0.1:8545", "http://"):
        with pytest.raises(InvalidInput):
            Rpc(url)


def test_a_full_disk_ends_the_process_before_it_acknowledges(node, keys, tmp_path):
    """A disk that refuses stops the node with exit code 5; what it had acknowledged is there after a restart."""
    node.start("--block-ms", "60000")
    assert node.process is not None
    sender = Sender(node.rpc(), keys[0], tmp_path / "journal.sqlite")
    kept = sender.submit(SINK, b"", 1, purpose="kept")
    written = max(path.stat().st_size for path in tmp_path.glob("chain.sqlite*"))
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (written, written))
    with pytest.raises(RpcUnavailable):
        for turn in range(50):
            sender.submit(SINK, b"", 1, purpose=f"refused {turn}")
    assert node.process.wait(10) == 5
    node._close()
    node.start()
    again = Sender(node.rpc(), keys[0], tmp_path / "journal.sqlite")
    lost = again.submit(SINK, b"", 1, purpose=f"refused {turn}")
    assert [one.status for one in again.wait_all([kept, lost], 10)] == [1, 1]
    balance = int(node.rpc().call("eth_getBalance", address_text(SINK)), 16)
    assert balance == turn + 2
    assert node.terminate() == 0
