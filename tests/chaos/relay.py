"""A relay of IP packets between network namespaces over TUN devices: delay, jitter, loss, duplicates, disorder.

It stands in for ``tc netem`` where the kernel has none. ``python -m tests.chaos.relay MTU NAMESPACE=ADDRESS...`` makes
a device ``wan0`` in every namespace, prints ``ready``, and takes the weather as JSON lines on standard input, such as
``{"delay_ms": 25, "jitter_ms": 10, "loss": 0.02, "duplicates": 0.01}``. Jitter disorders packets, as on real networks.
It ends with its standard input, and the devices end with it.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from itertools import count
from typing import Final

import msgspec

_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x0001 | 0x1000
PACKET_BYTES_MAX: Final = 65535
QUEUE_MAX: Final = 20_000
"""Packets on their way; more are lost, as in a full router."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Weather(msgspec.Struct, forbid_unknown_fields=True):
    """What happens to packets; times in milliseconds, shares from 0 to 1."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def open_tun(namespace: str, mtu: int) -> int:
    """Make ``wan0`` in a namespace and return its descriptor; raises OSError or CalledProcessError."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    _enter(there)
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"wan0", _IFF_TUN_NO_PI))
    finally:
        _enter(home)
        os.close(home)
        os.close(there)
    subprocess.run(
        ["ip", "-n", namespace, "link", "set", "wan0", "mtu", str(mtu), "up"], check=True
    )
    return device


class Relay:
    """Packets on their way between the devices, by destination address."""

    def __init__(self, devices: dict[bytes, int]) -> None:
        self._devices = devices
        self._weather = Weather()
        self._chance = random.Random(1)
        self._underway: list[tuple[float, int, bytes]] = []
        self._numbers = count()

    def set_weather(self, line: bytes) -> None:
        """Take the weather of a JSON line."""
        self._weather = msgspec.json.decode(line, type=Weather)

    def take(self, packet: bytes, now_s: float) -> None:
        """Send one packet on its way, or lose it."""
        weather, chance = self._weather, self._chance
        if packet[0] >> 4 != 4 or len(self._underway) >= QUEUE_MAX:
            return
        if chance.random() < weather.loss:
            return
        for _ in range(2 if chance.random() < weather.duplicates else 1):
            at_s = now_s + (weather.delay_ms + chance.random() * weather.jitter_ms) / 1000
            heapq.heappush(self._underway, (at_s, next(self._numbers), packet))

    def deliver(self, now_s: float) -> float | None:
        """Hand over what is due; return how long nothing will be due, or None if nothing is under way."""
        while self._underway and self._underway[0][0] <= now_s:
            packet = heapq.heappop(self._underway)[2]
            device = self._devices.get(packet[16:20])
            if device is not None:
                with contextlib.suppress(OSError):  # its queue is full: lost, as on real networks
                    os.write(device, packet)
        return self._underway[0][0] - now_s if self._underway else None


def main() -> None:
    """Relay until standard input ends."""
    mtu, nodes = int(sys.argv[1]), [node.split("=") for node in sys.argv[2:]]
    devices = {bytes(map(int, address.split("."))): open_tun(name, mtu) for name, address in nodes}
    relay = Relay(devices)
    selector = selectors.DefaultSelector()
    for device in (*devices.values(), sys.stdin.fileno()):
        selector.register(device, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        wait_s = relay.deliver(time.monotonic())
        for key, _ in selector.select(wait_s):
            if key.fd == sys.stdin.fileno():
                lines = os.read(key.fd, PACKET_BYTES_MAX).splitlines()
                if not lines:
                    return
                relay.set_weather(lines[-1])
                continue
            while True:
                try:
                    packet = os.read(key.fd, PACKET_BYTES_MAX)
                except BlockingIOError:
                    break
                relay.take(packet, time.monotonic())


if __name__ == "__main__":
    main()
