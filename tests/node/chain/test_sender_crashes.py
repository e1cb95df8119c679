"""Senders and chains that end with SIGKILL at any step: no transaction is lost or doubled."""

import subprocess
import sys
import threading

import paying_process
from paying_process import SINK, STEPS

from meridian.node.chain.embedded import EmbeddedChain
from meridian.primitives.ids import address_text

PAYMENTS = 3


def pay(node, key, journal, count, *death):
    command = [sys.executable, paying_process.__file__, node.url, key.secret.hex(), str(journal)]
    return subprocess.Popen(
        [*command, str(count), *map(str, death)], stdout=subprocess.PIPE, text=True
    )


def test_a_sender_killed_at_any_step_pays_once(node, keys, tmp_path):
    """Each process kills itself in its second payment, at its step; the same command again does what is left."""
    node.start("--block-ms", "1")
    places = [(keys[at], tmp_path / f"{step}.sqlite", step) for at, step in enumerate(STEPS)]
    first = [pay(node, key, journal, PAYMENTS, step, 2) for key, journal, step in places]
    for process in first:
        process.communicate(timeout=60)
    assert [process.returncode for process in first] == [-9] * len(STEPS)
    again = [pay(node, key, journal, PAYMENTS) for key, journal, _ in places]
    for process in again:
        process.communicate(timeout=60)
    assert [process.returncode for process in again] == [0] * len(STEPS)
    rpc = node.rpc()
    assert int(rpc.call("eth_getBalance", address_text(SINK)), 16) == PAYMENTS * len(STEPS)
    for key, _, step in places:
        count = rpc.call("eth_getTransactionCount", address_text(key.address))
        assert int(count, 16) == PAYMENTS, step
    rpc.close()


def test_five_processes_and_a_chain_killed_three_times(node, keys, tmp_path):
    """Five processes pay 20 purposes each under three SIGKILLs of the chain, one of them being killed too."""
    node.start("--block-ms", "10")
    port, count = node.port, 20
    progress = threading.Semaphore(0)
    processes = [pay(node, keys[at], tmp_path / f"{at}.sqlite", count) for at in range(5)]

    def listen(process):
        for _ in process.stdout:
            progress.release()

    readers = [threading.Thread(target=listen, args=(process,)) for process in processes]
    for reader in readers:
        reader.start()
    for kill in range(3):
        for _ in range(20):  # in the middle of the work, wherever that is
            assert progress.acquire(timeout=60)
        node.kill()
        if kill == 1:
            processes[0].kill()
            processes[0].wait()
        node.start("--block-ms", "10", port=port)
    codes = [process.wait(60) for process in processes]
    assert codes == [-9, 0, 0, 0, 0]
    for reader in readers:
        reader.join(10)
    again = pay(node, keys[0], tmp_path / "0.sqlite", count)
    again.communicate(timeout=60)
    assert again.returncode == 0
    for process in processes:
        process.stdout.close()
    node.kill()
    chain = EmbeddedChain(node.db, 31337)
    assert int(chain.call("eth_getBalance", address_text(SINK)), 16) == 5 * count
    for key in keys[:5]:
        assert int(chain.call("eth_getTransactionCount", address_text(key.address)), 16) == count
    hashes = [
        one
        for number in range(int(chain.call("eth_blockNumber"), 16) + 1)
        for one in chain.call("eth_getBlockByNumber", hex(number))["transactions"]
    ]
    assert len(hashes) == len(set(hashes)) == 5 * count
    chain.close()
