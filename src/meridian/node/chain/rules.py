"""The EVM's rules of one fork, as py-evm gives them, and which raw transactions are well formed.

The law: whatever passes `read_transaction` can be put into a block whenever its nonce and its sender's balance allow.
py-evm does not check everything that the pool must know beforehand (the calldata floor of EIP-7623, replay protection,
low-s); that stands here.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import rlp
from eth.abc import AtomicDatabaseAPI
from eth.chains.base import MiningChain
from eth.consensus.context import ConsensusContext
from eth.constants import BLANK_ROOT_HASH, POST_MERGE_DIFFICULTY, POST_MERGE_NONCE
from eth.db.chain import ChainDB
from eth.precompiles import point_evaluation
from eth.vm.chain_context import ChainContext
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.prague import PragueVM
from eth_utils.exceptions import ValidationError

from meridian.errors import InvalidInput
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import ZERO_ADDRESS, Address

# py-evm reads the trusted setup anew for every point evaluation, which takes 1.5 s; it is one constant file.
point_evaluation.load_trusted_setup = functools.cache(  # type: ignore[attr-defined]
    point_evaluation.load_trusted_setup  # type: ignore[attr-defined]
)

BLOCK_GAS_LIMIT: Final = 60_000_000
GENESIS_BASE_FEE_WEI: Final = 1_000_000_000
BASE_FEE_FLOOR_WEI: Final = 7
"""The base fee falls by an eighth per idle block, in integers: below 8 it falls no further."""

SUGGESTED_TIP_WEI: Final = 100_000_000

RAW_BYTES_MAX: Final = 128 * 1024
"""Largest raw transaction, as go-ethereum's."""

_INITCODE_BYTES_MAX: Final = 49_152
_HALF_ORDER: Final = 0x7FFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_5D576E73_57A4501D_DFE92F46_681B20A0
_NONCE_MAX: Final = 2**64 - 2
_GAS_TX: Final = 21_000
_FLOOR_GAS_PER_TOKEN: Final = 10
_TYPES: Final = frozenset({0, 1, 2})

# py-evm's own annotations are wrong in places (fields of a header that are "optional", methods that its interfaces lack),
# so its objects are Any to us; these names say which they are.
Header: TypeAlias = Any
"""eth.abc.BlockHeaderAPI"""
EvmTransaction: TypeAlias = Any
"""eth.abc.SignedTransactionAPI"""
Machine: TypeAlias = Any
"""eth.abc.VirtualMachineAPI"""
Computation: TypeAlias = Any
"""eth.abc.ComputationAPI"""

_FORKS: Final[Mapping[str, Any]] = {"cancun": CancunVM, "prague": PragueVM}


class TransactionRefused(Exception):
    """A raw transaction is not acceptable; the text says why, in the words that Ethereum clients know."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A well-formed transaction: what the pool needs, and py-evm's object for execution."""

    hash: bytes
    sender: Address
    nonce: int
    gas: int
    max_fee_wei: int
    tip_wei: int
    value_atto: int
    raw: bytes
    inner: EvmTransaction

    @property
    def cost_atto(self) -> int:
        """The most that it can take from its sender."""
        return self.gas * self.max_fee_wei + self.value_atto


@dataclass(frozen=True, slots=True)
class Rules:
    """One chain's rules: its id and its fork (``cancun`` or ``prague``)."""

    chain_id: int
    fork: str

    def __post_init__(self) -> None:
        if self.fork not in _FORKS:
            raise InvalidInput("fork", f"{self.fork!r} is none of {', '.join(_FORKS)}")
        if not 0 < self.chain_id < 2**53:
            raise InvalidInput("chain_id", f"{self.chain_id} is not between 1 and 2^53")

    @property
    def machine_class(self) -> Any:
        """py-evm's class for the fork."""
        return _FORKS[self.fork]

    def make_genesis(
        self, database: AtomicDatabaseAPI, alloc: Mapping[Address, int], timestamp_s: int
    ) -> Header:
        """Write the first block, with balances in the smallest unit, and return its header."""
        accounts = {
            bytes(account): {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
            for account, balance in alloc.items()
        }
        parameters: dict[str, Any] = {
            "coinbase": bytes(ZERO_ADDRESS),
            "difficulty": POST_MERGE_DIFFICULTY,
            "extra_data": b"",
            "gas_limit": BLOCK_GAS_LIMIT,
            "mix_hash": bytes(32),
            "nonce": POST_MERGE_NONCE,
            "receipt_root": BLANK_ROOT_HASH,
            "transaction_root": BLANK_ROOT_HASH,
            "timestamp": timestamp_s,
            "base_fee_per_gas": GENESIS_BASE_FEE_WEI,
        }
        settings = {"chain_id": self.chain_id, "vm_configuration": ((0, self.machine_class),)}
        chain_class: Any = type("GenesisChain", (MiningChain,), settings)
        return chain_class.from_genesis(database, parameters, accounts).get_canonical_head()

    def next_header(self, head: Header, timestamp_s: int) -> Header:
        """Return the header of the block after `head`, before any transaction."""
        return self.machine_class.create_header_from_parent(
            head,
            timestamp=timestamp_s,
            gas_limit=BLOCK_GAS_LIMIT,
            coinbase=bytes(ZERO_ADDRESS),
            mix_hash=keccak(head.hash),
        )

    def machine(self, database: AtomicDatabaseAPI, header: Header) -> Machine:
        """Return a virtual machine that works inside the block of `header`, on the header's state root."""
        return self.machine_class(
            header=header,
            chaindb=ChainDB(database),
            chain_context=ChainContext(self.chain_id),
            consensus_context=ConsensusContext(database),
        )

    def decode(self, raw: bytes) -> EvmTransaction:
        """Decode a raw transaction that was accepted before."""
        return self.machine_class.get_transaction_builder().decode(raw)

    def floor_gas(self, data: bytes) -> int:
        """Return the least gas that a transaction with this calldata is charged (EIP-7623; none under cancun)."""
        if self.fork == "cancun":
            return 0
        zeros = data.count(0)
        return _GAS_TX + _FLOOR_GAS_PER_TOKEN * (zeros + 4 * (len(data) - zeros))

    def read_transaction(self, raw: bytes) -> SignedTransaction:
        """Check everything about a raw transaction that does not depend on the state.

        Raises:
            TransactionRefused: With the reason.
        """
        if len(raw) > RAW_BYTES_MAX:
            raise TransactionRefused(f"oversized data: {len(raw)} bytes, limit {RAW_BYTES_MAX}")
        try:
            inner = self.decode(raw)
            encoded = inner.encode()
        except (
            ValidationError,
            rlp.exceptions.RLPException,
            ValueError,
            TypeError,
            IndexError,
        ) as error:
            raise TransactionRefused(f"not a transaction: {error}") from error
        except Exception as error:  # an unknown type is a bare exception class of py-evm's own
            raise TransactionRefused(f"transaction type not supported: {error}") from error
        kind = getattr(inner, "type_id", None) or 0
        if kind not in _TYPES:
            raise TransactionRefused(f"transaction type not supported: {kind}")
        if encoded != raw:
            raise TransactionRefused("not a transaction: not the canonical encoding")
        if inner.chain_id is None:
            raise TransactionRefused(
                "only replay-protected (EIP-155) transactions allowed over RPC"
            )
        if inner.chain_id != self.chain_id:
            raise TransactionRefused(
                f"invalid chain id: have {inner.chain_id}, want {self.chain_id}"
            )
        if inner.s > _HALF_ORDER:
            raise TransactionRefused("invalid signature: s is in the upper half of the order")
        try:
            inner.validate()
            sender = Address(bytes(inner.sender))
        except Exception as error:
            # py-evm, eth-keys and coincurve each have their own errors for a signature that belongs to nobody.
            raise TransactionRefused(f"invalid transaction: {error}") from error
        self._check_gas(inner)
        if inner.nonce > _NONCE_MAX:
            raise TransactionRefused("nonce has max value")
        return SignedTransaction(
            hash=bytes(inner.hash),
            sender=sender,
            nonce=inner.nonce,
            gas=inner.gas,
            max_fee_wei=inner.max_fee_per_gas,
            tip_wei=inner.max_priority_fee_per_gas,
            value_atto=inner.value,
            raw=raw,
            inner=inner,
        )

    def _check_gas(self, inner: EvmTransaction) -> None:
        if not inner.to and len(inner.data) > _INITCODE_BYTES_MAX:
            raise TransactionRefused(f"max initcode size exceeded: {len(inner.data)} bytes")
        if inner.gas > BLOCK_GAS_LIMIT:
            raise TransactionRefused(f"exceeds block gas limit: {inner.gas} > {BLOCK_GAS_LIMIT}")
        least = max(inner.get_intrinsic_gas(), self.floor_gas(inner.data))
        if inner.gas < least:
            raise TransactionRefused(
                f"intrinsic gas too low: gas {inner.gas}, minimum needed {least}"
            )
        if inner.max_fee_per_gas < BASE_FEE_FLOOR_WEI:
            raise TransactionRefused("transaction underpriced: below any possible base fee")
