"""Links: the full mesh of authenticated TCP connections between the members of a committee.

One connection per pair: the member with the lower address dials, the other listens. Reading order:
`link_identity` and `link_peers` (who is who), `link_frames` (the wire), `link_queue` (bounds), `link_stream` (TLS and
frames of one connection), `link_connection` (one peer), and here the mesh.

Law: `on_frame` hears only pinned members, under the address that they proved; `send` never waits
and never fails because of a peer; nothing that one peer does (silence, floods, garbage, slowness)
reaches the others or passes a bound of `LinkLimits`. Messages of one class to one peer arrive in
order, or not at all. The peers may change while the links run (`update_peers`): trust follows at
once, and links of peers that stay as they are do not notice.
"""

import asyncio
import logging
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from meridian.errors import InvalidInput
from meridian.node.link_connection import Connection, LinkLimits, PeerLink, tune_socket
from meridian.node.link_frames import Hello, Kind, PeerFault, decode_hello, encode_frame
from meridian.node.link_identity import (
    LinkIdentity,
    client_context,
    presented_link_key,
    server_context,
)
from meridian.node.link_peers import Peer, other_peers
from meridian.node.link_stream import READ_BYTES, LinkStream
from meridian.primitives.ids import Address, address_text

__all__ = ["Links", "Peer"]

_log = logging.getLogger(__name__)

_BACKLOG = 128
_ACCEPT_PAUSE_MS = 100


class Links:
    """The links of one member to all others."""

    def __init__(
        self,
        identity: LinkIdentity,
        peers: Sequence[Peer],
        on_frame: Callable[[Address, bytes], None],
        *,
        address: Address,
        network: bytes,
        listen: tuple[str, int] | None = None,
        limits: LinkLimits | None = None,
    ) -> None:
        """Prepare the links of the member `address`; nothing is opened before `start`.

        Args:
            identity: Our link key pair.
            peers: The committee. Our own entry may be in it; it then says where we listen.
            on_frame: Called with (sender, message) in the event loop; must not block.
            address: Our own address.
            network: The 32 bytes of the network; peers of another network are refused.
            listen: Host and port to listen on, when it is not what our own entry says (0 = any
                port).
            limits: Bounds and times.

        Raises:
            InvalidInput: If the peers contradict each other or our own entry is not ours.
        """
        if len(network) != 32:
            raise InvalidInput("network", f"{len(network)} bytes where 32 are needed")
        if len(address) != 20:
            raise InvalidInput("address", "is not 20 bytes")
        own = next((peer for peer in peers if peer.address == address), None)
        self._identity = identity
        self._address = address
        self._network = network
        self._on_frame = on_frame
        self._limits = limits or LinkLimits()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._totals: Counter[str] = Counter()
        self._peers = self._others(peers)
        if own is None and listen is None:
            raise InvalidInput("listen", "our own entry is missing, so say where to listen")
        self._listen = listen if own is None or listen is not None else (own.host, own.port)
        self._server_tls = self._trust()
        self._links: dict[Address, PeerLink] = {}
        self._dialling: dict[Address, asyncio.Task[None]] = {}
        self._pending: dict[asyncio.Task[None], None] = {}
        self._listener: socket.socket | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._main: asyncio.Task[None] | None = None

    def _others(self, peers: Sequence[Peer]) -> dict[Address, Peer]:
        """Return who can be a peer, by address; raises InvalidInput for entries that contradict each other or us."""
        others = other_peers(peers, self._address, self._identity.link_key)
        named = sum(peer.address != self._address for peer in peers)
        self._totals["unusable_keys"] = named - len(others)
        return others

    def _trust(self) -> ssl.SSLContext:
        return server_context(self._identity, [peer.link_key for peer in self._peers.values()])

    async def start(self) -> None:
        """Listen, and begin to dial.

        Raises:
            InvalidInput: If we cannot listen where we should.
        """
        assert self._main is None, "links start once"
        assert self._listen is not None
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._links = {address: PeerLink(address, self._limits, now_s) for address in self._peers}
        host, port = self._listen
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise InvalidInput("listen", f"{host}:{port}: {error.strerror}") from None
        self._listener.setblocking(False)
        self._main = loop.create_task(self._serve(self._listener), name="links")

    @property
    def port(self) -> int:
        """The port that we listen on."""
        assert self._listener is not None, "links are not started"
        return int(self._listener.getsockname()[1])

    def update_peers(self, peers: Sequence[Peer]) -> None:
        """Change the committee; nothing happens to the links of peers whose entry is as before.

        A peer that is no longer named is cut and forgotten with what waits for it, so name whoever an open epoch still
        needs. A changed key cuts the link, which comes back under the new key; a changed host or port
        counts from the next time that we dial. Our own entry changes nothing: we listen where we listen.

        Raises:
            InvalidInput: If the peers contradict each other or our own entry; then nothing is changed.
        """
        before, self._peers = self._peers, self._others(peers)
        keys_before = {peer.link_key for peer in before.values()}
        if keys_before != {peer.link_key for peer in self._peers.values()}:
            self._server_tls = self._trust()
        if self._main is None:
            return
        for address in before.keys() - self._peers.keys():
            self._forget(address)
        now_s = asyncio.get_running_loop().time()
        for address, peer in self._peers.items():
            known = before.get(address)
            if known is None:
                self._links[address] = PeerLink(address, self._limits, now_s)
            link = self._links[address]
            rekeyed = known is not None and known.link_key != peer.link_key
            if rekeyed and link.connection is not None:
                link.connection.close("rekeyed")
            if rekeyed or (known != peer and link.connection is None):
                self._dial_anew(address)

    def _forget(self, address: Address) -> None:
        link = self._links.pop(address)
        if link.connection is not None:
            link.connection.close("removed")
        task = self._dialling.pop(address, None)
        if task is not None:
            task.cancel()

    def _dial_anew(self, address: Address) -> None:
        """Begin to dial a peer that is ours to dial, in place of an earlier attempt."""
        if self._tasks is None or not self._address < address:
            return
        earlier = self._dialling.pop(address, None)
        if earlier is not None:
            earlier.cancel()
        self._dialling[address] = self._tasks.create_task(self._keep_dialled(address, earlier))

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        """Let `frame` leave for a member as soon as its link allows; best effort, never waits.

        A member that we have no link to is counted, not an error: a committee may hold unreachable
        members.

        Args:
            address: The receiver.
            frame: At most `frame_max_bytes`.
            bulk: True for bodies: they leave in pieces, behind everything small.
            slot: If given, replaces a frame that still waits in the same slot (newest state wins).

        Raises:
            InvalidInput: If the frame is longer than any peer would accept.
        """
        if len(frame) > self._limits.frame_max_bytes:
            raise InvalidInput(
                "frame", f"{len(frame)} bytes, at most {self._limits.frame_max_bytes}"
            )
        link = self._links.get(address)
        if link is None:
            self._totals["unroutable"] += 1
            return
        link.put(frame, bulk=bulk, slot=slot)

    def connected(self) -> frozenset[Address]:
        """Return the members whose link stands now."""
        return frozenset(a for a, link in self._links.items() if link.connection is not None)

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        """Return counters and gauges: under "links" of the whole mesh, under an address's text of that link."""
        totals = dict(self._totals) | {
            "peers": len(self._peers),
            "connected": len(self.connected()),
            "pending": len(self._pending),
        }
        peers = {address_text(a): link.statistics() for a, link in self._links.items()}
        return {"links": totals} | peers

    async def join(self) -> None:
        """Wait until the links end; raises what ended them if it was not `stop`."""
        if self._main is not None:
            await asyncio.wait([self._main])
            if not self._main.cancelled():
                self._main.result()

    async def stop(self) -> None:
        """Close every connection and the listener; what still waits in queues is forgotten."""
        if self._main is not None:
            self._main.cancel()
            await self.join()

    async def _serve(self, listener: socket.socket) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._accept(listener, tasks))
                for address in self._peers:
                    self._dial_anew(address)
        finally:
            self._tasks = None
            listener.close()

    # --- inbound ---

    async def _accept(self, listener: socket.socket, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(listener)
            except OSError:  # Out of descriptors, or the client left again: wait, do not spin.
                self._totals["accept_errors"] += 1
                await asyncio.sleep(_ACCEPT_PAUSE_MS / 1000)
                continue
            while len(self._pending) >= self._limits.pending_max:
                # The oldest goes: an honest newcomer needs milliseconds, a flood must not lock it out.
                oldest = next(iter(self._pending))
                del self._pending[oldest]
                oldest.cancel()
                self._totals["pending_evicted"] += 1
            task = tasks.create_task(self._admit(connected, self._server_tls))
            self._pending[task] = None
            task.add_done_callback(self._no_longer_pending)
            await asyncio.sleep(
                0
            )  # Let it start, so that it owns the socket before anything cancels it.

    def _no_longer_pending(self, task: asyncio.Task[None]) -> None:
        self._pending.pop(task, None)

    async def _admit(self, connected: socket.socket, tls: ssl.SSLContext) -> None:
        """Take an inbound connection through handshake and hello, and serve it."""
        try:
            async with asyncio.timeout(self._limits.handshake_ms / 1000):
                stream = await self._accept_stream(connected, tls)
                try:
                    sender = await self._hear_hello(stream)
                except BaseException:
                    stream.abort()
                    raise
        except (PeerFault, OSError, EOFError) as error:
            self._note_refusal("inbound", error)
            return
        task = asyncio.current_task()
        assert task is not None
        self._no_longer_pending(task)
        while (link := self._links.get(sender)) is not None and link.connection is not None:
            # The dialler has one connection at a time, so an earlier one is dead and we have not noticed.
            earlier = link.connection
            earlier.close("superseded")
            await earlier.ended.wait()
        try:
            self._check_key(sender, stream)  # Again: the peers may have changed while we waited.
        except PeerFault as fault:
            stream.abort()
            self._note_refusal("inbound", fault)
            return
        await self._run(self._links[sender], stream)

    async def _accept_stream(self, connected: socket.socket, tls: ssl.SSLContext) -> LinkStream:
        loop = asyncio.get_running_loop()
        try:
            tune_socket(connected, self._limits)
            stream = self._stream(tls, server_side=True)
            await loop.connect_accepted_socket(lambda: stream, connected)
        except BaseException:
            connected.close()
            raise
        return stream

    async def _hear_hello(self, stream: LinkStream) -> Address:
        """Check the dialler's hello against the key that it proved, and answer."""
        hello = self._read_hello(await stream.hello)
        if not hello.sender < self._address:
            raise PeerFault("direction", "the lower address dials")
        self._check_key(hello.sender, stream)
        stream.write(self._hello_to(hello.sender))
        return hello.sender

    # --- outbound ---

    async def _keep_dialled(self, address: Address, earlier: asyncio.Task[None] | None) -> None:
        """Keep one connection to a peer of higher address, reconnecting with full jitter; `earlier` did so before."""
        if earlier is not None:
            await asyncio.wait([earlier])
        clock = asyncio.get_running_loop().time
        tls = client_context(self._identity, self._peers[address].link_key)
        link = self._links[address]
        backoff_ms = self._limits.reconnect_first_ms
        while True:
            began_s = clock()
            try:
                async with asyncio.timeout(self._limits.handshake_ms / 1000):
                    stream = await self._dial(self._peers[address], tls)
            except (PeerFault, OSError, EOFError, ValueError, OverflowError) as error:
                # The last two: a registered host that is no host name, or a port that is no port.
                link.counters["dial_failures"] += 1
                self._note_refusal("outbound", error)
            else:
                await self._run(link, stream)
                if clock() - began_s >= self._limits.stable_ms / 1000:
                    backoff_ms = self._limits.reconnect_first_ms
            jitter_ms = random.uniform(0, backoff_ms)  # noqa: S311 - spreads load, keeps no secret.
            await asyncio.sleep(jitter_ms / 1000)
            backoff_ms = min(2 * backoff_ms, self._limits.reconnect_max_ms)

    async def _dial(self, peer: Peer, tls: ssl.SSLContext) -> LinkStream:
        """Connect, prove who we are, and hear the same; in TLS 1.3 only an answer shows that we were accepted."""
        stream = self._stream(tls, server_side=False)
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: stream, peer.host, peer.port
        )
        try:
            tune_socket(transport.get_extra_info("socket"), self._limits)
            await stream.established
            self._check_key(peer.address, stream)
            stream.write(self._hello_to(peer.address))
            hello = self._read_hello(await stream.hello)
            if hello.sender != peer.address:
                raise PeerFault("identity", "another member answers")
        except BaseException:
            stream.abort()
            raise
        return stream

    # --- both ---

    def _hello_to(self, receiver: Address) -> bytes:
        hello = Hello(self._network, self._address, receiver)
        return encode_frame(Kind.HELLO, hello.encode())

    def _stream(self, tls: ssl.SSLContext, *, server_side: bool) -> LinkStream:
        """The stream of a new connection, before its handshake."""
        return LinkStream(tls, server_side=server_side, buffer=self._buffer)

    def _read_hello(self, payload: bytes) -> Hello:
        hello = decode_hello(payload)
        if hello.network != self._network:
            raise PeerFault("network", "the peer serves another network")
        if hello.receiver != self._address:
            raise PeerFault("identity", "the peer means somebody else")
        return hello

    def _check_key(self, claimed: Address, stream: LinkStream) -> None:
        """Refuse a peer whose proved key is not the one pinned for the address that it claims."""
        peer = self._peers.get(claimed)
        proved = None if stream.tls is None else presented_link_key(stream.tls)
        if peer is None or proved is None or proved != peer.link_key:
            raise PeerFault("identity", "the proved key is not the member's")

    async def _run(self, link: PeerLink, stream: LinkStream) -> None:
        _log.info("link to %s stands", address_text(link.address))
        await Connection(link, stream, self._limits, self._on_frame).run()

    def _note_refusal(self, direction: str, error: Exception) -> None:
        reason = error.reason if isinstance(error, PeerFault) else type(error).__name__
        self._totals[f"{direction}_{reason}"] += 1
        # TLS failures of callers are strangers' noise; those of the servers that we call are not.
        telling = (PeerFault, ssl.SSLError) if direction == "outbound" else PeerFault
        level = logging.INFO if isinstance(error, telling) else logging.DEBUG
        _log.log(level, "%s connection refused: %s", direction, error)
