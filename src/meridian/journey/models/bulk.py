"""Many transactions of many keys to one contract, in rounds of half a block's gas, without waiting for each.

The law: a key sends nothing else, so its n-th transaction here has the n-th nonce, and what the chain counts for the key
is done: the chain is the journal, and a repeated run sends only what is missing. Half a block is what EIP-1559 aims at:
however many rounds there are, the base fee stays.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.errors import Reverted
from meridian.journey.models.metering import answers
from meridian.node.chain.fees import GAS_MARGIN_PERCENT, present_fees
from meridian.node.chain.receipts import read_receipt
from meridian.node.chain.refusals import says_known
from meridian.node.chain.reverts import as_reverted
from meridian.node.chain.rpc import ChainClient, RpcError
from meridian.node.chain.sender import NotMined
from meridian.node.chain.signing import Call, sign_transaction
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

WAIT_S: Final = 300.0
"""Longest time without any of a round's transactions in a block."""

_POLL_FIRST_S: Final = 0.02
_POLL_LAST_S: Final = 0.25
_BENIGN: Final = ("underpriced", "nonce too low")
"""An earlier process sent the same with other fees, or it is in a block already: the nonce tells."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class SizedCall:
    """One call, and how many items it carries: what its gas grows with."""

    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What one key sends, in order."""

    key: PrivateKey
    first_nonce: int
    """Of its first call here."""
    calls: Sequence[SizedCall]


@dataclass(frozen=True, slots=True)
class _Due:
    key: PrivateKey
    nonce: int
    call: SizedCall


@dataclass(frozen=True, slots=True)
class _Limits:
    """Gas limits, from the endpoint's estimates of the smallest and of the largest call."""

    sizes: tuple[int, int]
    gas: tuple[int, int]

    def of(self, size: int) -> int:
        (low, high), (least, most) = self.sizes, self.gas
        if high == low:
            return most
        return least + (most - least) * (size - low) // (high - low)


class Bulk:
    """Sends queues to one contract.

    Args:
        client: The chain.
        chain_id: EIP-155 chain id.
        to: The contract.
        keep_going: A call that reverts in its block is no error: whoever calls looks at what is left.
    """

    def __init__(
        self, client: ChainClient, chain_id: int, to: Address, *, keep_going: bool = False
    ) -> None:
        self._client = client
        self._chain_id = chain_id
        self._to = to
        self._keep_going = keep_going

    def send(self, queues: Sequence[Queue], progress: Progress) -> None:
        """Send what is missing, and wait until all of it stands in blocks.

        Args:
            queues: One for each key.
            progress: Called with the items that are done, including those of an earlier process.

        Raises:
            Reverted: If the contract refuses a call.
            NotMined: If a round does not get into a block.
            RpcError: If the endpoint refuses (too few coins, say).
        """
        due, done = self._missing(queues)
        progress(done)
        if not due:
            return
        limits = self._limits(due)
        block = self._client.call("eth_getBlockByNumber", "latest", False)
        round_gas = int(block["gasLimit"], 16) // 2
        while due:
            taken, gas = 0, 0
            while taken < len(due):
                gas += limits.of(due[taken].call.size) * 100 // (100 + GAS_MARGIN_PERCENT)
                if taken and gas > round_gas:
                    break
                taken += 1
            now, due = due[:taken], due[taken:]
            self._round(now, limits)
            done += sum(one.call.size for one in now)
            progress(done)

    def _missing(self, queues: Sequence[Queue]) -> tuple[list[_Due], int]:
        counts = self._counts([queue.key.address for queue in queues])
        due, done = [], 0
        for queue, count in zip(queues, counts, strict=True):
            skip = max(count - queue.first_nonce, 0)
            done += sum(call.size for call in queue.calls[:skip])
            due += [
                _Due(queue.key, queue.first_nonce + place, call)
                for place, call in enumerate(queue.calls)
                if place >= skip
            ]
        return due, done

    def _counts(self, accounts: Sequence[Address]) -> list[int]:
        questions = [("eth_getTransactionCount", [address_text(one), "latest"]) for one in accounts]
        return [int(answer, 16) for answer in answers(self._client, questions)]

    def _limits(self, due: Sequence[_Due]) -> _Limits:
        small = min(due, key=lambda one: one.call.size)
        large = max(due, key=lambda one: one.call.size)
        most = self._limit(large)
        least = most if small.call.size == large.call.size else self._limit(small)
        return _Limits((small.call.size, large.call.size), (least, most))

    def _limit(self, one: _Due) -> int:
        call = {
            "from": address_text(one.key.address),
            "to": address_text(self._to),
            "data": "0x" + one.call.data.hex(),
        }
        try:
            estimate = int(self._client.call("eth_estimateGas", call), 16)
        except RpcError as error:
            raise as_reverted(error) or error from error
        return estimate + estimate * GAS_MARGIN_PERCENT // 100

    def _round(self, now: Sequence[_Due], limits: _Limits) -> None:
        fees, _ = present_fees(self._client)
        signed = [
            sign_transaction(
                one.key,
                Call(self._to, one.call.data),
                chain_id=self._chain_id,
                nonce=one.nonce,
                gas=limits.of(one.call.size),
                fees=fees,
            )
            for one in now
        ]
        sent = self._client.batch(
            [("eth_sendRawTransaction", ["0x" + raw.hex()]) for _, raw in signed]
        )
        for answer in sent:
            if isinstance(answer, RpcError) and not _is_benign(answer):
                raise answer
        self._await(now)
        if not self._keep_going:
            self._refuse_reverts([tx_hash for tx_hash, _ in signed])

    def _await(self, now: Sequence[_Due]) -> None:
        wanted: dict[Address, int] = {}
        for one in now:
            wanted[one.key.address] = max(wanted.get(one.key.address, 0), one.nonce + 1)
        pause_s, deadline = _POLL_FIRST_S, time.monotonic() + WAIT_S
        while wanted:
            counts = self._counts(list(wanted))
            left = {
                account: nonce
                for (account, nonce), count in zip(wanted.items(), counts, strict=True)
                if count < nonce
            }
            if len(left) < len(wanted):
                deadline = time.monotonic() + WAIT_S
            elif time.monotonic() > deadline:
                raise NotMined(f"transactions of {len(left)} keys in no block after {WAIT_S:g} s")
            wanted = left
            if wanted:
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _POLL_LAST_S)

    def _refuse_reverts(self, tx_hashes: Sequence[bytes]) -> None:
        questions = [("eth_getTransactionReceipt", ["0x" + one.hex()]) for one in tx_hashes]
        for tx_hash, answer in zip(tx_hashes, answers(self._client, questions), strict=True):
            if answer is not None and answer["status"] == "0x0":
                raise Reverted(read_receipt(self._client, tx_hash, answer).reason)


def _is_benign(error: RpcError) -> bool:
    text = error.message.lower()
    return says_known(error) or any(words in text for words in _BENIGN)
