"""Proofs and money: checking a proof file, and drawing what a node has earned."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from meridian import verifier
from meridian.audit.proof_building import claim_proof
from meridian.contracts.calldata import Claim
from meridian.errors import InvalidInput, NotFound
from meridian.node.audit_sources import reachable_chain, source_on
from meridian.node.chain.finality import finality
from meridian.node.chain.journal import journal_name
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.encrypted_key import open_key
from meridian.node.network_file import NetworkFile


@dataclass(frozen=True, slots=True)
class CheckedProof:
    """A proof file that was checked, hash by hash."""

    valid: bool
    """Whether every step holds."""
    says: str
    """What it proves, if it holds."""
    root: bytes
    """Where it leads: to be compared with the root on a chain that you trust, unless one was given."""
    steps: tuple[verifier.Step, ...]
    """Each with `name`, `rule`, `value` and `ok`; the last one is where it breaks, if it does."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A claim that was paid."""

    node_id: str
    """The node."""
    payee: bytes
    """Who got it, 20 bytes."""
    atto: int
    """How much; 0: everything was drawn before, and nothing was sent."""
    tx_hash: bytes | None
    """The transaction."""


def verify_proof(proof: bytes | str | Path, root: bytes | str | None = None) -> CheckedProof:
    """Check a proof file with nothing but SHA-256; what `meridian proof verify` does.

    Args:
        proof: The file's bytes, or its path; JSON or binary.
        root: The root that it must lead to, 32 bytes or hex, from a source that you trust.

    Raises:
        InvalidInput: If the file is no proof, or the root is none.
        NotFound: If there is no such file.
    """
    try:
        data = proof if isinstance(proof, bytes) else Path(proof).read_bytes()
        trusted = bytes.fromhex(root.removeprefix("0x")) if isinstance(root, str) else root
        found = verifier.decode(data)
    except FileNotFoundError:
        raise NotFound(f"{proof!r}: no such file") from None
    except verifier.Malformed as error:
        raise InvalidInput(error.field or "proof", error.reason) from error
    except ValueError as error:
        raise InvalidInput("root", str(error)) from error
    steps = tuple(verifier.check(found, trusted))
    return CheckedProof(
        verifier.holds(steps), verifier.statement(found), verifier.root_of(found), steps
    )


def claim_rewards(
    data_dir: str | Path,
    node_id: str,
    *,
    key_file: str | Path,
    passphrase: str = "",
    epoch: int | None = None,
) -> Payment:
    """Draw what a node has earned so far; anybody may send it, the payee gets it. The same call again sends nothing.

    Args:
        data_dir: The network's directory: network.json and publications.
        node_id: The node.
        key_file: The account that sends and pays the gas.
        passphrase: Of its key, if it is encrypted.
        epoch: Claim under this epoch's report; with None under the newest that is unlocked.

    Raises:
        NotFound: If no report is unlocked, or the node never earned anything.
        Reverted: If the contract refuses, while the challenge window is open say.
        RemoteFault: If the chain does not answer.
    """
    root = Path(data_dir)
    network = NetworkFile.load(root)
    key = open_key(Path(key_file), lambda: passphrase)
    with contextlib.ExitStack() as stack:
        rpc = stack.enter_context(reachable_chain(root, network.rpc_url, network.chain_id))
        view = ChainView(rpc, network.contracts, network.deploy_block)
        if epoch is None:
            epoch = next(
                (one.epoch for one in reversed(view.reported()) if view.is_unlocked(one.epoch)),
                None,
            )
            if epoch is None:
                raise NotFound("no report is unlocked yet")
        file = claim_proof(source_on(root, network, rpc), epoch, node_id)
        proof = file.proof
        due = proof.cumulative - view.rewards.read("claimed", proof.node_key)
        if due <= 0:
            return Payment(file.node_id, proof.payee, 0, None)
        done = finality(network.chain_id, network.confirmations, network.transaction_wait_s)
        journal = root / "senders" / journal_name(rpc, network.chain_id, key.address)
        sender = Sender(rpc, key, journal, confirmations=done.confirmations, wait_s=done.wait_s)
        stack.enter_context(contextlib.closing(sender))
        call = Claim(
            epoch=epoch,
            node_key=proof.node_key,
            payee=proof.payee,
            cumulative_atto=proof.cumulative,
            index=proof.index,
            size=proof.size,
            path=proof.path,
        )
        rewards = view.rewards
        wish = f"claim/{rewards.address.hex()}/{epoch}/{proof.node_key.hex()}/{proof.cumulative}"
        data = rewards.encode("claim", *call.arguments)
        receipt = sender.transact(rewards.address, data, purpose=wish)
        return Payment(file.node_id, proof.payee, due, receipt.tx_hash)
