"""A witness as a process: every status of the specification, restarts, races; and the log that asks it."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from meridian.cli.main import main
from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.measure.epoch_log import Checkpoint, checkpoint_of
from meridian.measure.signed_note import (
    COSIGNATURE,
    Note,
    Verifier,
    cosign_text,
    parse_signatures,
    sign_text,
    verifier_of,
)
from meridian.measure.tiles import TiledTree
from meridian.measure.witnessing import REQUEST_BYTES_MAX, AddCheckpoint
from meridian.node.measure.published_log import PublishedLog, SignedState
from meridian.node.witness.client import Ahead, WitnessClient, Witnesses
from meridian.node.witness.memory import Memory
from meridian.primitives import rfc6962
from meridian.primitives.hashing import sha256

SEED = bytes(range(32))
ORIGIN = "example.org/epochs"
LEAVES = [rfc6962.leaf_hash(b"entry %d" % at) for at in range(64)]
FORK = [*LEAVES[:3], *(rfc6962.leaf_hash(b"ENTRY %d" % at) for at in range(3, 64))]

Answer = tuple[int, str, bytes]


def note(leaves: list[bytes], origin: str = ORIGIN, seed: bytes = SEED, name: str = "") -> bytes:
    text = Checkpoint(origin, len(leaves), rfc6962.root(leaves)).text
    return Note(text, (sign_text(text, name or origin, seed),)).encode()


def ask(old: int, leaves: list[bytes], **changes: Any) -> bytes:
    """The body of an honest request, or of one with another proof or note."""
    path = rfc6962.consistency_path(leaves, old) if 0 < old < len(leaves) else []
    proof = changes.pop("proof", path)
    return AddCheckpoint(old, tuple(proof), changes.pop("signed", None) or note(leaves)).encode()


class Process:
    """`meridian witness run`."""

    def __init__(self, directory: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "meridian.cli.main", "witness", "run", "--dir", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        ready = json.loads(line) if line else {"url": "", "vkey": ""}
        self.url, self.vkey = ready["url"], ready["vkey"]
        self.place = self.url.removeprefix("http://")

    def post(self, body: bytes, method: str = "POST", path: str = "/add-checkpoint") -> Answer:
        with closing(http.client.HTTPConnection(self.place, timeout=20)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type", ""), answer.read()

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        code = self.popen.wait(20)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        return code


def init(directory: Path, vkey: str) -> int:
    """`meridian witness init`, in this process: it only writes files."""
    place = ["witness", "init", "--dir", str(directory), "--port", "0"]
    done = CliRunner().invoke(main, [*place, "--name", "witness.example/w1", "--log", vkey])
    return done.exit_code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Starts the witness of this test's directory, again too."""
    assert init(tmp_path / "w", verifier_of(ORIGIN, SEED).text) == 0
    processes: list[Process] = []

    def run() -> Process:
        processes.append(Process(tmp_path / "w"))
        return processes[-1]

    yield run
    for process in processes:
        process.end(signal.SIGKILL)


def cosigned(process: Process, answer: Answer, leaves: list[bytes]) -> None:
    status, _, body = answer
    assert status == 200, body
    text = note(leaves).decode().split("\n\n")[0] + "\n"
    signed = Note(text, parse_signatures(body.decode())).signed_by(
        Verifier.parse(process.vkey, COSIGNATURE)
    )
    assert len(signed) == 1
    assert abs(signed[0].time - time.time()) < 60


CASES: dict[str, tuple[int, bytes]] = {
    "an unknown log": (404, ask(0, LEAVES[:3], signed=note(LEAVES[:3], "other.example"))),
    "a key that is not trusted": (403, ask(5, LEAVES[:9], signed=note(LEAVES[:9], seed=bytes(32)))),
    "another key's name": (403, ask(5, LEAVES[:9], signed=note(LEAVES[:9], name="other"))),
    "a signature that does not hold": (
        403,
        ask(5, LEAVES[:9], signed=note(LEAVES[:9]) + note(LEAVES[:8]).split(b"\n\n")[1]),
    ),
    "an old size beyond the new": (400, ask(10, LEAVES[:9])),
    "an old size that is not the latest": (409, ask(4, LEAVES[:9])),
    "an old size of zero": (409, ask(0, LEAVES[:9])),
    "a smaller tree": (409, ask(3, LEAVES[:3])),
    "the same size with another root": (409, ask(5, FORK[:5])),
    "a fork": (422, ask(5, FORK[:9])),
    "no proof": (422, ask(5, LEAVES[:9], proof=[])),
    "a proof too many": (422, ask(5, LEAVES[:5], proof=[bytes(32)])),
    "a changed proof": (422, ask(5, LEAVES[:9], proof=[bytes(32)] * 3)),
    "64 hashes": (400, ask(5, LEAVES[:9], proof=[bytes(32)] * 64)),
    "a short hash": (400, ask(5, LEAVES[:9]).replace(b"\n", b"\nAAAA\n", 1)),
    "a leading zero": (400, ask(5, LEAVES[:9]).replace(b"old 5", b"old 05")),
    "another first line": (400, ask(5, LEAVES[:9]).replace(b"old 5", b"new 5")),
    "no note": (400, b"old 5\n\n"),
    "no signature": (400, ask(5, LEAVES[:9]).rpartition(b"\n\n")[0] + b"\n"),
    "no checkpoint": (400, ask(5, LEAVES[:9], signed=b"text\n\n" + note(LEAVES).split(b"\n\n")[1])),
    "nothing": (400, b""),
    "bytes": (400, b"\xff\n\n\xff"),
    "too much": (413, bytes(REQUEST_BYTES_MAX + 1)),
}


def test_every_status_of_the_specification(start: Callable[[], Process], tmp_path: Path) -> None:
    witness = start()
    assert (tmp_path / "w/witness.key").stat().st_mode & 0o077 == 0
    five = ask(0, LEAVES[:5])
    cosigned(witness, witness.post(five), LEAVES[:5])
    for case, (status, body) in CASES.items():
        answer = witness.post(body)
        assert answer[0] == status, (case, answer)
        if case in {"an old size that is not the latest", "an old size of zero", "a smaller tree"}:
            assert answer[1:] == ("text/x.tlog.size", b"5\n")
        elif status == 409:
            assert answer[1] != "text/x.tlog.size"
    assert witness.post(b"", "GET")[0] == 405
    # None of these has changed what it remembers, and the same tree may be cosigned again.
    cosigned(witness, witness.post(ask(5, LEAVES[:5])), LEAVES[:5])
    unknown = cosign_text("text\n", "other.example", bytes(32), 1).line.encode()
    more = ask(5, LEAVES[:9], signed=note(LEAVES[:9]) + unknown)
    cosigned(witness, witness.post(more), LEAVES[:9])
    # What it has cosigned can be read, with the log's signature and its own.
    status, kind, body = witness.post(b"", "GET", f"/{sha256(ORIGIN.encode()).hex()}/checkpoint")
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    assert [one.name for one in Note.parse(body).signatures] == [ORIGIN, "witness.example/w1"]
    assert witness.post(b"", "GET", f"/{bytes(32).hex()}/checkpoint")[0] == 404
    assert witness.end() == 0


def test_a_killed_witness_does_not_cosign_a_fork(start: Callable[[], Process]) -> None:
    witness = start()
    cosigned(witness, witness.post(ask(0, LEAVES[:5])), LEAVES[:5])
    for size in (9, 17):
        cosigned(witness, witness.post(ask(size // 2 + 1, LEAVES[:size])), LEAVES[:size])
        witness.end(signal.SIGKILL)
        witness = start()
        assert witness.post(ask(0, FORK[: size + 1]))[::2] == (409, b"%d\n" % size)
        assert witness.post(ask(size, FORK[: size + 1]))[0] == 422
        assert witness.post(ask(size, FORK[:size]))[0] == 409


def test_without_its_memory_or_beside_another_a_witness_does_not_start(
    start: Callable[[], Process], tmp_path: Path
) -> None:
    first, second = start(), start()
    assert second.end() == StorageFailure.exit_code
    first.end()
    memory = tmp_path / "w/cosigned.json"
    memory.unlink()
    assert start().end() == NotFound.exit_code
    assert init(tmp_path / "w", verifier_of(ORIGIN, SEED).text) == InvalidInput.exit_code
    memory.write_text('{"example.org/epochs": "no checkpoint"}')
    with pytest.raises(StorageFailure, match="damaged"):
        Memory(memory)


def test_of_many_requests_at_once_one_history_is_cosigned(start: Callable[[], Process]) -> None:
    witness = start()
    cosigned(witness, witness.post(ask(0, LEAVES[:5])), LEAVES[:5])
    bodies = [ask(5, tree[:size]) for size in range(6, 18) for tree in (LEAVES, FORK)]
    bodies += [ask(5, LEAVES[:9])] * 8
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda body=body: answers.append(witness.post(body)))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = Counter(status for status, _, _ in answers)
    assert statuses[200] == 1  # of those that began at 5
    assert set(statuses) <= {200, 409, 422}
    sizes = {body for status, kind, body in answers if kind == "text/x.tlog.size"}
    assert len(sizes) == 1


# --- the log that asks -----------------------------------------------------------------------------


def log_in(root: Path, witnesses: Witnesses | None) -> PublishedLog:
    state = SignedState(root / "key.signed")
    return PublishedLog(root / "log", state, ORIGIN, SEED, witnesses)


def asked(*processes: Process | tuple[str, str], **changes: Any) -> Witnesses:
    places = [one if isinstance(one, tuple) else (one.url, one.vkey) for one in processes]
    clients = [WitnessClient(url, Verifier.parse(vkey, COSIGNATURE), 5) for url, vkey in places]
    values = {"quorum": len(clients), "required": False, "wait_s": 10.0} | changes
    return Witnesses(clients, **values)


def signers(root: Path) -> list[str]:
    return [one.name for one in Note.parse((root / "log/checkpoint").read_bytes()).signatures]


AWAY = ("http://127.0.0.1:9", verifier_of("witness.example/away", bytes(32), COSIGNATURE).text)


def test_each_checkpoint_is_published_with_what_its_witness_says(
    start: Callable[[], Process], tmp_path: Path
) -> None:
    witness = start()
    log = log_in(tmp_path, asked(witness))
    log.open()
    for place in range(5):
        log.append(place, b"entry %d" % place)
        assert signers(tmp_path) == [ORIGIN, "witness.example/w1"]
    assert log.witnesses is not None
    assert log.witnesses.document() | {"required": None} == {
        "asked": 1, "quorum": 1, "required": None, "cosigned": 1, "problems": {},
    }  # fmt: skip
    # A restarted log does not know what the witness has seen, and asks.
    again = log_in(tmp_path, asked(witness))
    again.append(5, b"entry 5")
    assert signers(tmp_path) == [ORIGIN, "witness.example/w1"]
    checkpoint = Note.parse((tmp_path / "log/checkpoint").read_bytes())
    assert checkpoint.signed_by(Verifier.parse(witness.vkey, COSIGNATURE))
    assert checkpoint.text == checkpoint_of(ORIGIN, [b"entry %d" % at for at in range(6)]).text


def test_a_published_log_is_checked_with_the_witnesses_that_one_trusts(
    start: Callable[[], Process], tmp_path: Path
) -> None:
    witness = start()
    log = log_in(tmp_path, asked(witness))
    for place in range(3):
        log.append(place, b"entry %d" % place)
    base = ["witness", "check", str(tmp_path / "log"), "--log", verifier_of(ORIGIN, SEED).text]
    ours = ["--witness", witness.vkey]

    def check(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, [*base, *more])
        return done.exit_code, done.output

    code, text = check(*ours, "--json")
    assert code == 0
    document = json.loads(text)
    assert (document["size"], document["tiles"], document["good"]) == (3, "hold", True)
    assert list(document["cosigned"]) == ["witness.example/w1"]
    code, text = check(*ours, "--witness", AWAY[1])
    assert (code, text.splitlines()[-1]) == (1, "1 of 2 needed cosignatures")
    assert check(*ours, "--witness", AWAY[1], "--quorum", "1")[0] == 0
    assert check("--witness", verifier_of(ORIGIN, SEED).text)[0] == InvalidInput.exit_code
    tile = tmp_path / "log/tile/0/000.p/3"
    tile.write_bytes(tile.read_bytes()[:-1] + b"x")
    assert check(*ours)[0] == 1
    tile.unlink()
    assert check(*ours)[0] == NotFound.exit_code


def test_a_witness_that_is_away_delays_or_holds_back_as_configured(
    start: Callable[[], Process], tmp_path: Path
) -> None:
    witness = start()
    log = log_in(tmp_path, asked(witness, AWAY))
    log.append(0, b"entry 0")
    assert signers(tmp_path) == [ORIGIN, "witness.example/w1"]
    assert log.witnesses is not None
    assert not log.witnesses.satisfied
    assert list(log.witnesses.problems) == ["witness.example/away"]
    before = (tmp_path / "log/checkpoint").read_bytes()
    log.cosign_again()
    assert signers(tmp_path) == [ORIGIN, "witness.example/w1"]
    strict = log_in(tmp_path, asked(witness, AWAY, required=True))
    strict.open()
    with pytest.raises(RemoteFault, match="1 of 2 witnesses"):
        strict.append(1, b"entry 1")
    assert Note.parse((tmp_path / "log/checkpoint").read_bytes()).text == Note.parse(before).text
    enough = log_in(tmp_path, asked(witness, AWAY, required=True, quorum=1))
    enough.append(1, b"entry 1")
    assert signers(tmp_path) == [ORIGIN, "witness.example/w1"]


def test_a_witness_that_comes_back_is_asked_again(
    start: Callable[[], Process], tmp_path: Path
) -> None:
    witness = start()
    url, vkey = witness.url, witness.vkey
    witness.end()
    log = log_in(tmp_path, asked((url, vkey)))
    log.append(0, b"entry 0")
    assert signers(tmp_path) == [ORIGIN]
    config = tmp_path / "w/witness.toml"
    port = int(url.rpartition(":")[2])
    config.write_text(config.read_text().replace("listen_port = 0", f"listen_port = {port}"))
    start()
    log.cosign_again()
    assert signers(tmp_path) == [ORIGIN, "witness.example/w1"]


def test_a_restored_log_is_refused_by_what_its_witness_has_seen(
    start: Callable[[], Process], tmp_path: Path
) -> None:
    """All was restored, also what was signed last; only the witness remembers more."""
    witness = start()
    for root, places in ((tmp_path, range(3)), (tmp_path / "restored", range(2))):
        root.mkdir(exist_ok=True)
        log = log_in(root, asked(witness) if root == tmp_path else None)
        for place in places:
            log.append(place, b"entry %d" % place)
    with pytest.raises(Ahead, match="at size 3, but here it has 2 entries"):
        log_in(tmp_path / "restored", asked(witness)).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageFailure, match="older copy"):
        log_in(tmp_path / "empty", asked(witness)).open()
    with pytest.raises(StorageFailure, match="older copy"):
        log_in(tmp_path / "empty", asked(witness)).append(0, b"a second history")


def test_answers_outside_the_protocol_are_the_witnesss_fault(tmp_path: Path) -> None:
    """A server that answers anything, over a socket."""
    import socketserver

    other = cosign_text(note(LEAVES[:1]).decode().split("\n\n")[0] + "\n", "other", bytes(32), 9)
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff",
        b"HTTP/1.1 200 OK\r\n\r\n" + other.line.encode(),
        b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\nx\n",
        b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n0\n",
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n0\n",
        b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
        b"nonsense",
    ]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(answers[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        tree = TiledTree(LEAVES[:1])
        asks = asked((url, AWAY[1]))
        while answers:
            signed = asks.cosign(Note.parse(note(LEAVES[:1])), tree.reader())
            assert signed == Note.parse(note(LEAVES[:1]))
            assert asks.problems, answers[0]
            answers.pop(0)
            if not answers:
                break
        server.shutdown()
