"""This server among the network's servers: joins them, and makes what its part needs (coordinator or further server)."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from meridian.measure.schema import NetworkSchema
from meridian.node.control.control import ControlStore, EpochState
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.addresses import Addresses
from meridian.node.measure.claiming import Claiming
from meridian.node.measure.following import Following
from meridian.node.measure.forwarding import Forwarding
from meridian.node.measure.granting import OURSELVES, Granting
from meridian.node.measure.hand_over import HandOver
from meridian.node.measure.intake import Intake
from meridian.node.measure.journal import Journal
from meridian.node.measure.server_routes import ServerRoutes
from meridian.node.measure.servers_config import ServersConfig, identity_of
from meridian.primitives.ids import network_id


@dataclass(slots=True)
class Membership:
    """The joined server."""

    config: ServersConfig
    control: ControlStore
    addresses: Addresses
    token: str
    generation: int
    following: Following | None = field(default=None)
    """Of a further server, once its intake is there."""

    @property
    def coordinates(self) -> bool:
        """Whether this server seals."""
        return self.config.coordinates

    def claiming(self, journal: Journal, schema: NetworkSchema) -> Claiming:
        """Return what a further server's intake asks."""
        return Claiming(
            journal, schema, self.generation, lambda: self.addresses.url(OURSELVES), self.token
        )

    def hand_over(self, journal: Journal, data_dir: Path, bytes_max: int) -> HandOver:
        """Return what the coordinator's settling asks."""
        directory = data_dir / "handed"
        return HandOver(
            journal,
            self.control,
            self.addresses,
            self.token,
            directory=directory,
            bytes_max=bytes_max,
            gone=frozenset(self.config.gone),
        )

    def follow(
        self, journal: Journal, intake: Intake, claiming: Claiming, first_epoch: int
    ) -> Following:
        """Return what a further server has in the place of settling."""
        self.following = Following(journal, intake, claiming, self.control, first_epoch)
        return self.following

    def note_settled(self, settled_before: int, first_epoch: int) -> None:
        """Say at the coordinator's start how far epochs are committed: the end before may have come in between."""
        if settled_before > first_epoch:
            self.control.advance(settled_before - 1, EpochState.COMMITTED)

    def add_to(self, app: web.Application, intake: Intake, journal: Journal) -> None:
        """Register the routes between servers, and what is passed on."""
        part = self.following or Granting(journal)
        ServerRoutes(intake, journal, self.token, part).add_to(app)
        Forwarding(journal, self.addresses, coordinates=self.coordinates).add_to(app)


def join(
    config: ServersConfig, network: str, data_dir: Path, stack: contextlib.ExitStack
) -> Membership:
    """Join the servers of a network; `stack` closes the control state.

    Raises:
        Taken: If our number belongs to another data directory.
        RemoteFault: If the control state cannot be reached.
        StorageFailure: If our disk refuses.
    """
    control = config.open_control(network_id(network).hex())
    stack.callback(control.close)
    generation = control.join(
        config.number, identity_of(data_dir), config.url, at_least=int(time.time())
    )
    token = load_or_create_secret(config.token_file).hex()
    return Membership(config, control, Addresses(control), token, generation)
