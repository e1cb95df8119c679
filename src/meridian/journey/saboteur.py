"""An evaluator that lies, for demonstrations and tests: real keys and links, garbage on them.

It proves who it is like every member, then sends what a broken or hostile member could: random bytes, frames with
a plausible start, its own captured frames changed by a bit, and a flood of repetitions. The others must decide without it.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.links import Links, Peer
from meridian.node.network_file import NetworkFile
from meridian.node.process import ready_line, serve_until_stopped, start_logging
from meridian.primitives.ids import Address

PAUSE_S: Final = 0.02
KEPT_FRAMES_MAX: Final = 200


async def _sabotage(config: EvaluatorConfig, seed: int) -> None:
    network = NetworkFile.load(config.network_dir)
    key = load_or_create_key(config.key_file)
    chance = random.Random(seed)  # noqa: S311 - reproducible garbage, not a secret
    heard: list[bytes] = []

    def listen(sender: Address, frame: bytes) -> None:
        del sender
        if len(heard) < KEPT_FRAMES_MAX:
            heard.append(frame)

    links = Links(
        link_identity(load_or_create_secret(config.link_key_file)),
        [Peer(e.address, e.link_key, e.host, e.port) for e in network.evaluators],
        listen,
        address=key.address,
        network=network.network_id,
        listen=(config.listen_host, config.listen_port),
    )
    await links.start()
    ready_line(saboteur="0x" + key.address.hex())
    others = [entry.address for entry in network.evaluators if entry.address != key.address]
    try:
        while True:
            for other in others:
                links.send(other, garbage(chance, heard))
            await asyncio.sleep(PAUSE_S)
    finally:
        await links.stop()


def garbage(chance: random.Random, heard: Sequence[bytes]) -> bytes:
    """Return one hostile frame: noise, a frame of somebody else as it is, or one with a bit flipped."""
    kind = chance.randrange(3)
    if kind == 0 or not heard:
        return chance.randbytes(chance.randrange(1, 2000))
    frame = bytearray(chance.choice(heard))
    if kind == 1 and frame:
        frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
    return bytes(frame)


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--seed", default=1, show_default=True)
def command(path: Path, seed: int) -> None:
    """Run a saboteur in the place of an evaluator."""
    config = EvaluatorConfig.load(path)
    start_logging(f"saboteur-{config.listen_port}")
    raise SystemExit(serve_until_stopped(lambda: _sabotage(config, seed)))


if __name__ == "__main__":
    command()
