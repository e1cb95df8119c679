"""The subnet model's network: a parent chain with Registry and gateway, a child chain with its contract, validators."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from meridian.contracts.artefact import load
from meridian.contracts.calldata import EvaluatorRegistration, ascending_words, path_words
from meridian.contracts.deployment import created_address
from meridian.contracts.statements import RegisterEvaluator
from meridian.errors import InvalidInput, RemoteFault
from meridian.journey.chain_setup import EVALUATOR_STAKE_ATTO, EXIT_DELAY_S, NODE_STAKE_ATTO
from meridian.journey.models import sums_network
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.node_jobs import NodeJob
from meridian.journey.models.subnet_chains import CHILD, GATEWAY, REGISTRY, ChildView, ParentView
from meridian.journey.models.subnet_validator import Validator, following, replay
from meridian.journey.models.sums_chain import expected_terms
from meridian.models.subnet import Checkpoint, account_key
from meridian.node.chain.sender import Sender
from meridian.node.durable_file import read_whole, write_durably
from meridian.primitives.amounts import ATTO
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum
from meridian.reward.claims import ClaimsState

PERIOD_BLOCKS: Final = 2
"""Least number of child blocks from one checkpoint to the next."""
GAS_GIFT_ATTO: Final = 10 * ATTO
"""Coins of the child, worth nothing, for a node's gas there."""
CLAIMS_PER_CALL: Final = 32
DEPOSITS_PER_CALL: Final = 32
MINTS_PER_CALL: Final = 128
_NEVER: Final = (1 << 64) - 1
_FILE_BYTES_MAX: Final = 4096


def deploy_parent(sponsor: Sender, file: ModelFile) -> dict[str, Address]:
    """Deploy Registry and gateway with the first transactions of a fresh account; return their addresses.

    Raises:
        InvalidInput: If the account was used before.
    """
    places = [created_address(sponsor.address, nonce) for nonce in (0, 1)]
    registry = sponsor.deploy(
        load(REGISTRY),
        network_id(file.network),
        file.genesis_s,
        file.epoch_seconds,
        file.first_epoch,
        0,
        EVALUATOR_STAKE_ATTO,
        EXIT_DELAY_S,
        places[1],
        places[1],
        purpose="deploy/Registry",
    )
    gateway = sponsor.deploy(load(GATEWAY), registry, PERIOD_BLOCKS, purpose="deploy/SubnetGateway")
    if [registry, gateway] != places:
        raise InvalidInput("sponsor", "the account was used before; give it a fresh key")
    return {REGISTRY: registry, GATEWAY: gateway}


def register(
    sponsor: Sender,
    parent: ParentView,
    file: ModelFile,
    validators: Sequence[PrivateKey],
    link_keys: Sequence[bytes],
) -> None:
    """Register validators with their stake, where they are not yet, and open the run's epochs."""
    registry = parent.registry
    domain = Domain(file.chain_id, registry.address)
    for key, link_key in zip(validators, link_keys, strict=True):
        if registry.read("evaluator", key.address)[0]:
            continue
        statement = RegisterEvaluator(
            network_id(file.network),
            key.address,
            link_key,
            "",
            registry.read("nonces", key.address),
            _NEVER,
        )
        entry = EvaluatorRegistration(statement, key.sign(statement.digest(domain)))
        sponsor.transact(
            registry.address,
            registry.encode("register_evaluator", *entry.arguments),
            EVALUATOR_STAKE_ATTO,
            purpose=f"register/{key.address.hex()}",
        )
    last = file.epochs[-1]
    while (opened := registry.read("next_epoch")) <= last:
        through = min(last, opened + 255)
        data = registry.encode("open_epochs", through)
        sponsor.transact(registry.address, data, purpose=f"open/{through}")


def deploy_child(
    operator: Sender, file: ModelFile, validators: Sequence[Address], nodes: int
) -> Address:
    """Deploy the child's contract, with gas gifts for so many nodes; return its address."""
    terms = expected_terms(file)
    return operator.deploy(
        load(CHILD),
        terms.genesis_s,
        terms.epoch_seconds,
        terms.first_epoch,
        terms.grace_seconds,
        terms.value_max,
        NODE_STAKE_ATTO,
        GAS_GIFT_ATTO,
        list(validators),
        purpose=f"deploy/{CHILD}",
        value=GAS_GIFT_ATTO * nodes,
    )


class SubnetNetwork:
    """Both chains, and those who send and sign.

    Args:
        file: The run's file.
        parent: The parent's contracts.
        child: The child's.
        sponsor: Funds, deposits and relays on the parent.
        operator: Sends on the child what anyone may send; with `keeper`, who has epochs added up.
        keeper: Sends nothing else.
        validators: Who signs.
        root: Where a proposal is kept until the parent has it.
    """

    def __init__(
        self,
        file: ModelFile,
        parent: ParentView,
        child: ChildView,
        *,
        sponsor: Sender,
        operator: Sender,
        keeper: PrivateKey,
        validators: Sequence[Validator],
        root: Path,
    ) -> None:
        self._file = file
        self.parent, self.child = parent, child
        self._sponsor, self._operator, self._keeper = sponsor, operator, keeper
        self.validators = list(validators)
        self._root = root

    # -- parent to child ---------------------------------------------------------------------------

    def fund(self, epoch: int, atto: int) -> None:
        """Fund an epoch, once."""
        if atto:
            self._on_parent(self.parent.gateway.encode("fund", epoch), f"fund/{epoch}", atto)

    def deposit(self, nodes: Sequence[Address]) -> None:
        """Deposit a node's stake for each account, once; the order of the accounts must stay."""
        for at in range(0, len(nodes), DEPOSITS_PER_CALL):
            group = list(nodes[at : at + DEPOSITS_PER_CALL])
            data = self.parent.gateway.encode("deposit", group)
            self._on_parent(data, f"deposit/{at}", NODE_STAKE_ATTO * len(group))

    def mint(self) -> None:
        """Bring to the child all stake that was deposited, with the signatures of a quorum."""
        deposits = self.parent.deposits()
        while (first := self.child.contract.read("minted")) < len(deposits):
            group = deposits[first : first + MINTS_PER_CALL]
            signatures = self._collect(lambda one: one.sign_mint(first, group))  # noqa: B023 - called at once
            data = self.child.contract.encode(
                "mint", [(one.account, one.amount) for one in group], signatures
            )
            self._on_child(data, f"mint/{first}")

    # -- on the child ------------------------------------------------------------------------------

    def submit(
        self,
        epoch: int,
        jobs: Mapping[str, Sequence[NodeJob]],
        keys: Mapping[str, PrivateKey],
        nonces: Mapping[str, int],
        progress: Callable[[int], None],
    ) -> None:
        """Send an epoch's jobs, each node's from its own key; see `sums_network.submit`."""
        sums_network.submit(
            self.child.sums,
            self.child.domain.chain_id,
            epoch,
            jobs,
            keys,
            nonces,
            sums_network.JOBS_PER_CALL,
            progress,
        )

    def close_and_evaluate(self, epoch: int, progress: Callable[[int], None]) -> None:
        """Close an epoch on the child, and have its jobs added up."""
        if self.child.sums.open_epoch() == epoch:
            self._on_child(self.child.contract.encode("close_epoch"), f"close/{epoch}")
        chain_id = self.child.domain.chain_id
        sums_network.evaluate(self.child.sums, chain_id, self._keeper, epoch, progress)

    # -- child to parent ---------------------------------------------------------------------------

    def propose(self, *, settling: bool) -> Checkpoint:
        """Return the next checkpoint at the child's head; one that was proposed before and is not on the parent, again.

        Args:
            settling: It settles the next epoch.

        Raises:
            InvalidInput: If a checkpoint on the parent does not follow, or the epoch is not added up.
        """
        first = self._file.first_epoch
        before, previous, books = replay(self.parent.committed(), self.child, first)
        number, settled = (before.number, before.settled) if before else (0, 0)
        path = self._root / "proposals" / f"{number + 1}.json"
        if path.exists():
            kept = msgspec.json.decode(read_whole(path, _FILE_BYTES_MAX), type=Checkpoint)
            if kept.previous == previous:
                return kept
        height = self.child.head()
        budget = self.parent.budget(first + settled) if settling else 0
        blank = Checkpoint(
            number + 1, settled + settling, height, bytes(32), 0, 0, budget,
            bytes(32), 0, 0, bytes(32), 0, previous,
        )  # fmt: skip
        checkpoint, _ = following(blank, before, previous, books, self.child, first)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, msgspec.json.encode(checkpoint))
        return checkpoint

    def commit(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint signed by a quorum, and bring it to the parent.

        Raises:
            RemoteFault: If too few validators sign; their reasons are in the message.
            Reverted: If the gateway refuses.
        """
        signatures = self._collect(lambda one: one.sign_checkpoint(checkpoint))
        data = self.parent.gateway.encode("commit", checkpoint.arguments, signatures)
        self._on_parent(data, f"commit/{checkpoint.number}")

    def settle(self, epoch: int) -> None:
        """Bring the checkpoint that settles an epoch to the parent, if none has."""
        last, _ = self.parent.last()
        if (last.settled if last else 0) <= epoch - self._file.first_epoch:
            self.commit(self.propose(settling=True))

    def pay(self, limit: int | None) -> None:
        """Claim what accounts have earned and not been paid, for `limit` of them at most (None: all)."""
        _, _, books = replay(self.parent.committed(), self.child, self._file.first_epoch)
        rewards = books.rewards
        accounts = [claim.payee for claim in rewards.claims.values()][:limit]
        drawn = {account: cumulative for account, _, cumulative in self.parent.paid("Claimed")}
        due = [
            one
            for one in accounts
            if rewards.claims[account_key(one)].cumulative > drawn.get(one, 0)
        ]
        for at in range(0, len(due), CLAIMS_PER_CALL):
            group = due[at : at + CLAIMS_PER_CALL]
            data = self.parent.gateway.encode(
                "claim", [claim_arguments(rewards, one) for one in group]
            )
            self._on_parent(data, f"claim/{rewards.total}/{group[0].hex()}")

    def withdraw(self, account: Address) -> None:
        """Collect on the parent the stake that an account gave back, by the last checkpoint."""
        _, _, books = replay(self.parent.committed(), self.child, self._file.first_epoch)
        data = self.parent.gateway.encode("withdraw", claim_arguments(books.releases, account))
        self._on_parent(data, f"withdraw/{account.hex()}/{books.releases.total}")

    # -- inside ------------------------------------------------------------------------------------

    def _collect(self, sign: Callable[[Validator], bytes]) -> list[tuple[int, int]]:
        """Return a quorum's signatures, ascending by signer."""
        wanted = quorum(len(self.validators))
        found: dict[Address, bytes] = {}
        refusals = []
        for one in self.validators:
            if len(found) == wanted:
                break
            try:
                found[one.address] = sign(one)
            except InvalidInput as error:
                refusals.append(str(error))
        if len(found) < wanted:
            raise RemoteFault(
                f"{len(found)} of {len(self.validators)} validators sign, {wanted} are needed: {refusals[0]}"
            )
        return ascending_words(found)

    def _on_parent(self, data: bytes, purpose: str, value: int = 0) -> None:
        self._sponsor.transact(self.parent.gateway.address, data, value, purpose=purpose)

    def _on_child(self, data: bytes, purpose: str) -> None:
        self._operator.transact(self.child.contract.address, data, purpose=purpose)


def claim_arguments(
    claims: ClaimsState, account: Address
) -> tuple[Address, int, int, int, list[tuple[bytes, int]]]:
    """Return an account's proven amount as the gateway takes it.

    Raises:
        NotFound: If it has none.
    """
    proof = claims.proof(account_key(account))
    return account, proof.cumulative, proof.index, proof.size, path_words(proof.path)
