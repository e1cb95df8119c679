"""A Nym-Api: a process with a metrics collector and a reward distributor, on one database.

It may be started before the contract, and it may be killed at any time: what it measured, averaged and signed is durable
before anybody hears of it.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.process import ready_line
from meridian.nym.acceptance import Mode
from meridian.nym.api_process import api_command, close_quietly
from meridian.nym.api_store import ApiStore
from meridian.nym.collector import Collector
from meridian.nym.contract_client import ContractClient, ContractClock
from meridian.nym.distributor import Distributor
from meridian.nym.network import NymLayout, NymNetwork
from meridian.nym.quorum_way import QuorumWay
from meridian.nym.race_way import RaceWay
from meridian.nym.standalone import StandaloneWay
from meridian.nym.way import Way
from meridian.primitives.ids import address_text

RETRY_S: Final = 0.1


async def serve(root: Path, number: int) -> None:
    """Run one Nym-Api until cancelled."""
    network = NymNetwork.load(root)
    layout = NymLayout(root)
    store = ApiStore(layout.api_store(number))
    client = ContractClient(network.contract_url, network.realm.network, network.mixnodes)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        await stack.enter_async_context(client)
        clock = ContractClock(client)
        way = _way(network, layout, number, store, client, clock)
        stack.push_async_callback(close_quietly, way)
        await way.start()
        ready_line(number=number, address=address_text(network.address(number)))
        await clock.first_sync(RETRY_S)
        await way.resume(clock.epoch())
        collector = Collector(number, network.world, store, clock, liar=number <= network.liars)
        collector.begin()
        distributor = Distributor(network.mixnodes, store, client, clock, collector, way)
        async with asyncio.TaskGroup() as group:
            group.create_task(way.watch(), name="way")
            group.create_task(collector.run(), name="collector")
            group.create_task(distributor.run(group), name="distributor")


def _way(
    network: NymNetwork,
    layout: NymLayout,
    number: int,
    store: ApiStore,
    client: ContractClient,
    clock: ContractClock,
) -> Way:
    key = load_or_create_key(layout.key(f"api-{number}"))
    if key.address != network.address(number):
        raise InvalidInput("key", f"it is not that of Nym-Api {number}")
    if network.mode is Mode.STANDALONE:
        return StandaloneWay(network, number, key, client)
    identity = link_identity(load_or_create_secret(layout.key(f"link-{number}")))
    if network.mode is Mode.RACE:
        return RaceWay(network, (key, identity), layout.ephemera(number), store, client, clock)
    return QuorumWay(network, (key, identity), layout.api(number), store, client)


command = api_command(serve, "Run one Nym-Api of a data directory.")


if __name__ == "__main__":
    command()
