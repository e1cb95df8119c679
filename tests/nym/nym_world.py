"""A small simulated system for tests: keys, network, rows, submissions."""

from meridian.node.link_identity import link_identity
from meridian.nym.acceptance import Mode
from meridian.nym.network import ApiEntry, NymNetwork, contract_address
from meridian.nym.rewards import NO_BLOCK, Report, sign_submission
from meridian.primitives.ids import address_text
from meridian.primitives.keys import PrivateKey

KEYS = sorted((PrivateKey(bytes([n]) * 32) for n in range(1, 5)), key=lambda key: key.address)
STRANGER = PrivateKey(b"\x09" * 32)
MIXNODES = 3
BLOCK = b"\xbb" * 32


def network(mode: Mode, *, apis: int = 4, aggregate: str = "mean", seed: int = 1) -> NymNetwork:
    entries = tuple(
        ApiEntry(
            address=address_text(key.address),
            link_key=link_identity(bytes([n + 1]) * 32).link_key.hex(),
            port=20_001 + n,
        )
        for n, key in enumerate(KEYS[:apis])
    )
    return NymNetwork(
        network="nym-test",
        mode=mode,
        aggregate=aggregate,
        seed=seed,
        mixnodes=MIXNODES,
        epoch_seconds=10,
        contract=address_text(contract_address("nym-test")),
        contract_port=20_000,
        apis=entries,
    )


def report(mode: Mode, epoch: int = 0, rewards=(90_000_000, None, 0), aggregate: str = "mean"):
    return Report(epoch, NO_BLOCK if mode is Mode.STANDALONE else BLOCK, aggregate, tuple(rewards))


def submission(system: NymNetwork, key: PrivateKey = KEYS[0], signers: int = 0, **values):
    made = report(system.mode, **values)
    digest = made.digest(system.realm)
    signed = [(member.address, member.sign(digest)) for member in KEYS[:signers]]
    return sign_submission(system.realm, made, key, signed)
