"""The network of a chaos run: every node in a network namespace of its own, joined by a bridge in another.

::

    node i   lo 10.77.0.(i+1)/32, the address of the node
             eth0 ── bridge      the default way to the others
             wan0 ── TUN relay   the way with delay, jitter, loss and duplicates (`relay`)

The address is on ``lo``, so that the way can change under living connections. Names carry the programme's process id:
what a killed programme left behind is recognised and removed at the next start.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Final, Self

import msgspec

PREFIX: Final = "mchaos-"
SUBNET: Final = "10.77.0"
PORT: Final = 7000
WAN_MTU: Final = 1500


def run(*command: str) -> str:
    """Run a command of the system; raises `subprocess.CalledProcessError`."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lacking() -> str | None:
    """Say why there can be no namespaces here; None if there can."""
    if sys.platform != "linux":
        return "network namespaces are of Linux"
    if os.geteuid() != 0:
        return "not root"
    if which("ip") is None or which("nsenter") is None:
        return "ip or nsenter is not installed"
    probe = f"{PREFIX}{os.getpid()}-p"
    try:
        run("ip", "netns", "add", probe)
        run("ip", "-n", probe, "link", "add", "probe", "type", "bridge")
    except subprocess.CalledProcessError as error:
        return error.stderr.strip() or "ip netns add fails"
    finally:
        subprocess.run(["ip", "netns", "del", probe], check=False, capture_output=True)
    return None


def owner_is_gone(name: str) -> bool:
    """Whether a thing named after a programme's process id belongs to none that runs."""
    owner = name.removeprefix(PREFIX).split("-")[0]
    return name.startswith(PREFIX) and owner.isdigit() and not Path(f"/proc/{owner}").exists()


def remove_leftovers() -> None:
    """Delete namespaces of programmes that were killed."""
    names = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()]
    for name in names:
        if owner_is_gone(name):
            subprocess.run(["ip", "netns", "del", name], check=False)


class Network:
    """The namespaces of one run."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._base = f"{PREFIX}{os.getpid()}"
        self._rules: set[tuple[str, ...]] = set()
        self.has_iptables = which("iptables") is not None
        self._relay: subprocess.Popen[str] | None = None
        self.has_relay = Path("/dev/net/tun").exists()

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Where each node listens."""
        return tuple((self._address(i), PORT) for i in range(self._n))

    def _address(self, number: int) -> str:
        return f"{SUBNET}.{number + 1}"

    def _namespace(self, number: int) -> str:
        return f"{self._base}-{number}"

    def inside(self, number: int) -> list[str]:
        """The command prefix that runs something in the namespace of a node, under the same process id."""
        return ["nsenter", f"--net=/run/netns/{self._namespace(number)}"]

    def __enter__(self) -> Self:
        remove_leftovers()
        try:
            self._make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def _make(self) -> None:
        hub = f"{self._base}-hub"
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "add", "hub", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "hub", "up")
        for i in range(self._n):
            name = self._namespace(i)
            run("ip", "netns", "add", name)
            ip = ("ip", "-n", name)
            run(*ip, "link", "add", "eth0", "type", "veth", "peer", "name", f"n{i}", "netns", hub)
            run("ip", "-n", hub, "link", "set", f"n{i}", "master", "hub", "up")
            run(*ip, "addr", "add", f"{self._address(i)}/32", "dev", "lo")
            run(*ip, "link", "set", "lo", "up")
            run(*ip, "link", "set", "eth0", "up")
            for device in ("all", "default", "eth0"):  # answers may come another way than questions
                path = f"/proc/sys/net/ipv4/conf/{device}/rp_filter"
                run(*self.inside(i), "sh", "-c", f"echo 0 > {path}")
        self.use_bridge()
        if self.has_relay:
            self._start_relay()

    def _start_relay(self) -> None:
        nodes = [f"{self._namespace(i)}={self._address(i)}" for i in range(self._n)]
        self._relay = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.relay", str(WAN_MTU), *nodes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._relay.stdout is not None
        if self._relay.stdout.readline().strip() != "ready":
            self._relay.wait()
            self.has_relay = False

    def _route(self, number: int, device: str) -> None:
        run(
            "ip", "-n", self._namespace(number), "route", "replace", f"{SUBNET}.0/24",
            "dev", device, "src", self._address(number), "scope", "link",
        )  # fmt: skip

    def use_bridge(self) -> None:
        """Let everybody use the bridge: no delay, no loss."""
        for i in range(self._n):
            self._route(i, "eth0")

    def use_relay(self, **weather: float) -> None:
        """Let everybody use the relay, with the weather that `relay.Weather` names."""
        assert self._relay is not None
        assert self._relay.stdin is not None
        self._relay.stdin.write(msgspec.json.encode(weather).decode() + "\n")
        self._relay.stdin.flush()
        for i in range(self._n):
            self._route(i, "wan0")

    def _rule(self, number: int, *rule: str) -> None:
        run(*self.inside(number), "iptables", "-w", "-A", *rule)
        self._rules.add((str(number), *rule))

    def block(self, number: int, others: Sequence[int], *, inward: bool, outward: bool) -> None:
        """Drop what comes from, or goes to, some others at the door of one node."""
        for other in others:
            if inward:
                self._rule(number, "INPUT", "-s", self._address(other), "-j", "DROP")
            if outward:
                self._rule(number, "OUTPUT", "-d", self._address(other), "-j", "DROP")

    def lose(self, probability: float) -> None:
        """Let every node lose a share of what arrives, at random."""
        for i in range(self._n):
            self._rule(
                i, "INPUT", "!", "-i", "lo", "-m", "statistic", "--mode", "random",
                "--probability", f"{probability:.4f}", "-j", "DROP",
            )  # fmt: skip

    def clear(self, number: int, *, loss: bool) -> None:
        """Take back the random loss, or the blocks, of one node."""
        for rule in [r for r in self._rules if r[0] == str(number)]:
            if ("statistic" in rule) == loss:
                self._rules.discard(rule)
                run(*self.inside(number), "iptables", "-w", "-D", *rule[1:])

    def remove(self) -> None:
        """Delete everything; what does not exist is passed over."""
        if self._relay is not None:
            self._relay.kill()
            self._relay.wait()
        for name in [*(self._namespace(i) for i in range(self._n)), f"{self._base}-hub"]:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
