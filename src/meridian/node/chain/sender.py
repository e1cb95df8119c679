"""Sends transactions so that each purpose happens once, whatever crashes in between.

The law: sign, store durably, only then send. The same purpose again gives the same transaction, sent again if the
endpoint has lost it; what an endpoint says about a repeated transaction ("already known", "nonce too low") is settled by
looking its hash up. A purpose gets a second transaction only when the first is dead (see `journal`). So a caller that
crashed may simply repeat itself, and a caller without an answer must repeat the same purpose, not invent another.

Gas limits come from the endpoint's estimate with a margin, never from constants.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, NotFound, Overloaded, RemoteFault, Reverted
from meridian.node.chain.contract import Compiled, creation_code
from meridian.node.chain.journal import DEAD, Attempt, SenderJournal, State
from meridian.node.chain.reverts import NO_REASON, as_reverted, revert_reason
from meridian.node.chain.rpc import BATCH_CALLS_MAX, ChainClient, RpcError, RpcUnavailable
from meridian.node.chain.signing import Call, Fees, sign_transaction
from meridian.primitives.ids import Address, address_text, parse_address
from meridian.primitives.keys import PrivateKey

GAS_MARGIN_PERCENT: Final = 20
"""Added to the estimate: the state may change before the transaction is mined."""

BASE_FEE_HEADROOM: Final = 2
"""Fee limit = this many times the next base fee, and the tip: six full blocks in a row double it."""

_POLL_FIRST_S: Final = 0.03
_POLL_LAST_S: Final = 0.5
_RESEND_AFTER_S: Final = 3.0
_POOL_RETRY_S: Final = 1.0

_KNOWN: Final = (
    "already known",
    "already imported",
    "known transaction",
    "already exists",
    "already in mpool",
)
_FULL: Final = ("txpool is full", "mempool is full", "pool is full")


class NotMined(RemoteFault):
    """A transaction was in no block when the time was up; it may still come."""


@dataclass(frozen=True, slots=True)
class TxReceipt:
    """What became of a transaction.

    `status` is 1 or 0 (reverted, for `reason`), `gas_used` in gas, `logs` as JSON (see `Contract.decode`).
    """

    tx_hash: bytes
    status: int
    gas_used: int
    block: int
    contract_address: Address | None
    logs: tuple[Mapping[str, Any], ...]
    reason: str = ""


class Sender:
    """One key's way to one chain; threads may share it.

    Args:
        rpc: The chain.
        key: Signs.
        journal: The SQLite file of what was signed; made when absent.
    """

    def __init__(self, rpc: ChainClient, key: PrivateKey, journal: Path) -> None:
        self._rpc = rpc
        self._key = key
        self._journal_path = journal
        self._journal: SenderJournal | None = None
        self._chain_id = 0
        self._nonce_floor = 0
        self._lock = threading.RLock()

    @property
    def address(self) -> Address:
        """The account that sends."""
        return self._key.address

    def close(self) -> None:
        """Close the journal."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    # -- sending -----------------------------------------------------------------------------------------------------

    def submit(self, to: Address | None, data: bytes, value: int = 0, *, purpose: str) -> bytes:
        """Send a call once for `purpose`, and return its transaction hash without waiting for a block.

        Args:
            to: The contract; None creates one.
            data: Call data.
            value: What goes with it, in the smallest unit.
            purpose: What it is for, unique to it in this journal. A purpose that is under way or done keeps its
                transaction whatever the other arguments say; one whose transaction reverted is tried anew.

        Raises:
            Reverted: If the contract would refuse; nothing was signed.
            RpcUnavailable: If no answer came; the same purpose again goes on where this stopped.
            RpcError: If the endpoint refuses (too few coins, say).
            Overloaded: If its pool is full.
            StorageFailure: If the journal cannot be written; nothing was sent.
        """
        [result] = self.submit_many([(purpose, Call(to, data, value))])
        if isinstance(result, Reverted):
            raise result
        return result

    def submit_many(self, calls: Sequence[tuple[str, Call]]) -> list[bytes | Reverted]:
        """Send many (purpose, call) at once, as `submit` does each; the calls must not depend on one another.

        Returns:
            Per call its transaction hash, or the contract's refusal (then nothing was signed for it).
        """
        with self._lock:
            journal = self._open()
            wanted = dict(calls)
            if len(wanted) != len(calls):
                raise InvalidInput("purpose", "one purpose occurs twice among the calls")
            done = self._under_way(journal, list(wanted))
            missing = [(purpose, call) for purpose, call in calls if purpose not in done]
            for start in range(0, len(missing), BATCH_CALLS_MAX):
                done |= self._sign_and_send(journal, missing[start : start + BATCH_CALLS_MAX])
        return [done[purpose] for purpose, _ in calls]

    def transact(
        self,
        to: Address | None,
        data: bytes,
        value: int = 0,
        *,
        purpose: str,
        timeout_s: float = 60.0,
    ) -> TxReceipt:
        """Submit and wait.

        Raises:
            Reverted: If the contract refused, before or in the block; the purpose may be tried again.
            NotMined: If it was in no block in time; the same purpose again goes on waiting.
        """
        receipt = self.wait(self.submit(to, data, value, purpose=purpose), timeout_s)
        if not receipt.status:
            raise Reverted(receipt.reason)
        return receipt

    def deploy(
        self, artefact: Compiled, *args: Any, purpose: str, value: int = 0, timeout_s: float = 60.0
    ) -> Address:
        """Create a contract once for `purpose`, wait, and return its address; raises as `transact`."""
        code = creation_code(artefact, args)
        receipt = self.transact(None, code, value, purpose=purpose, timeout_s=timeout_s)
        if receipt.contract_address is None:
            raise RemoteFault("the endpoint reports no address for a created contract")
        return receipt.contract_address

    # -- waiting -----------------------------------------------------------------------------------------------------

    def wait(self, tx_hash: bytes, timeout_s: float = 60.0) -> TxReceipt:
        """Return the receipt of a transaction; raises as `wait_all`."""
        return self.wait_all([tx_hash], timeout_s)[0]

    def wait_all(self, tx_hashes: Sequence[bytes], timeout_s: float = 60.0) -> list[TxReceipt]:
        """Return the receipts of many transactions, in the order given; lost ones are sent again meanwhile.

        Raises:
            NotMined: If one is in no block when the time is up, or can never be.
            RpcUnavailable: If the endpoint is gone when the time is up.
        """
        found: dict[bytes, TxReceipt] = {}
        deadline = now = time.monotonic()
        deadline += timeout_s
        resend_at, pause_s = now + _RESEND_AFTER_S, _POLL_FIRST_S
        while True:
            left = [one for one in dict.fromkeys(tx_hashes) if one not in found]
            fault: RpcUnavailable | None = None
            try:
                fresh = self._receipts(left)
                if time.monotonic() >= resend_at and not fresh:
                    self._resend(left)
                    resend_at = time.monotonic() + _RESEND_AFTER_S
            except RpcUnavailable as error:
                fault, fresh = error, {}
            found |= fresh
            if len(found) == len(set(tx_hashes)):
                return [found[one] for one in tx_hashes]
            if time.monotonic() >= deadline:
                waiting = len(set(tx_hashes)) - len(found)
                raise fault or NotMined(f"{waiting} transactions in no block after {timeout_s:g} s")
            pause_s = _POLL_FIRST_S if fresh else min(pause_s * 1.5, _POLL_LAST_S)
            time.sleep(min(pause_s, max(deadline - time.monotonic(), 0.0)))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _open(self) -> SenderJournal:
        """Open the journal, and bring to the chain what an earlier process left unsettled."""
        if self._journal is not None:
            return self._journal
        self._chain_id = int(self._rpc.call("eth_chainId"), 16)
        journal = SenderJournal(self._journal_path, self.address, self._chain_id)
        try:
            self._nonce_floor = self._count("pending")
            # Lower nonces first: a transaction behind a lost one would never be mined.
            self._bring(journal, journal.unsettled())
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        return journal

    def _count(self, block: str) -> int:
        return int(self._rpc.call("eth_getTransactionCount", address_text(self.address), block), 16)

    def _under_way(
        self, journal: SenderJournal, purposes: Sequence[str]
    ) -> dict[str, bytes | Reverted]:
        """Return the transactions of the purposes that need no new one."""
        last = [one for one in map(journal.latest, purposes) if one is not None]
        self._bring(journal, [one for one in last if one.state is State.SIGNED])
        # An endpoint that refused or forgot it may have passed it on all the same: look once more before signing anew.
        doubted = [one.tx_hash for one in last if one.state in {State.REFUSED, State.SUPERSEDED}]
        self._receipts(doubted, journal)
        again = [one for one in map(journal.latest, purposes) if one is not None]
        return {one.purpose: one.tx_hash for one in again if one.state not in DEAD}

    def _sign_and_send(
        self, journal: SenderJournal, calls: Sequence[tuple[str, Call]]
    ) -> dict[str, bytes | Reverted]:
        done: dict[str, bytes | Reverted] = {}
        questions: list[tuple[str, Sequence[Any]]] = [
            ("eth_feeHistory", ["0x1", "latest", []]),
            ("eth_maxPriorityFeePerGas", []),
            *(("eth_estimateGas", [self._question(call)]) for _, call in calls),
        ]
        history, tip, *estimates = self._rpc.batch(questions)
        for refused in (one for one in (history, tip) if isinstance(one, RpcError)):
            raise refused
        tip_wei = int(tip, 16)
        base_wei = int(history["baseFeePerGas"][-1], 16)
        fees = Fees(BASE_FEE_HEADROOM * base_wei + tip_wei, tip_wei)
        ready: list[tuple[str, Call, int]] = []
        for (purpose, call), estimate in zip(calls, estimates, strict=True):
            if isinstance(estimate, RpcError):
                refusal = as_reverted(estimate)
                if refusal is None:
                    raise estimate
                done[purpose] = refusal
            else:
                gas = int(estimate, 16)
                ready.append((purpose, call, gas + gas * GAS_MARGIN_PERCENT // 100))

        def sign(index: int, nonce: int) -> tuple[bytes, bytes]:
            _, call, gas = ready[index]
            return sign_transaction(
                self._key, call, chain_id=self._chain_id, nonce=nonce, gas=gas, fees=fees
            )

        attempts = journal.sign([purpose for purpose, _, _ in ready], sign, self._nonce_floor)
        self._send(journal, attempts, fresh=True)
        for one in attempts:
            now = journal.by_hash(one.tx_hash)
            if now is not None and now.state is State.SUPERSEDED:
                # Somebody else uses this key: take the chain's count and sign anew, the old one is dead.
                self._nonce_floor = max(self._nonce_floor, self._count("pending"))
                retry = [(purpose, call) for purpose, call, _ in ready if purpose == one.purpose]
                done |= self._sign_and_send(journal, retry)
            else:
                done[one.purpose] = one.tx_hash
        return done

    def _question(self, call: Call) -> dict[str, str]:
        fields = {
            "from": address_text(self.address),
            "data": "0x" + call.data.hex(),
            "value": hex(call.value_atto),
        }
        return fields if call.to is None else fields | {"to": address_text(call.to)}

    def _bring(self, journal: SenderJournal, attempts: Sequence[Attempt]) -> None:
        """Settle attempts that are in a block; send the others (again)."""
        if not attempts:
            return
        found = self._receipts([one.tx_hash for one in attempts], journal)
        self._send(journal, [one for one in attempts if one.tx_hash not in found], fresh=False)

    def _resend(self, tx_hashes: Sequence[bytes]) -> None:
        """Send again whatever is unsettled up to the last of these; a nonce before them may be the lost one."""
        with self._lock:
            journal = self._open()
            own = [one for one in map(journal.by_hash, tx_hashes) if one is not None]
            if any(one.state is State.SUPERSEDED for one in own):
                raise NotMined("another transaction of this key used the nonce")
            last = max((one.nonce for one in own), default=-1)
            self._bring(journal, [one for one in journal.unsettled() if one.nonce <= last])

    def _send(self, journal: SenderJournal, attempts: Sequence[Attempt], *, fresh: bool) -> None:
        """Send raw transactions; what the endpoint does not simply accept is looked up.

        A refusal is raised only for fresh ones: an old one that is refused now may have been accepted before.
        """
        if not attempts:
            return
        calls = [("eth_sendRawTransaction", ["0x" + one.raw.hex()]) for one in attempts]
        answers = self._rpc.batch(calls)
        doubtful = [
            (one, answer)
            for one, answer in zip(attempts, answers, strict=True)
            if isinstance(answer, RpcError) and not _says(answer, _KNOWN)
        ]
        if not doubtful:
            return
        # The count first, then the look-up: a transaction that is unknown after its nonce was used is dead.
        count = self._count("latest")
        known = self._rpc.batch(
            [("eth_getTransactionByHash", ["0x" + one.tx_hash.hex()]) for one, _ in doubtful]
        )
        refused: RpcError | None = None
        for (one, answer), shown in reversed(list(zip(doubtful, known, strict=True))):
            if isinstance(shown, RpcError):
                raise shown
            if shown is not None:
                continue
            if count > one.nonce:
                journal.settle(one.tx_hash, State.SUPERSEDED)
            elif fresh:
                journal.refuse(one)
                refused = answer
        if refused is not None:
            # Perhaps somebody else with this key has the nonce in the pool: the next attempt starts behind that.
            self._nonce_floor = max(self._nonce_floor, self._count("pending"))
            if _says(refused, _FULL):
                raise Overloaded(_POOL_RETRY_S, refused.message)
            raise refused

    def _receipts(
        self, tx_hashes: Sequence[bytes], journal: SenderJournal | None = None
    ) -> dict[bytes, TxReceipt]:
        """Return the receipts there are, and settle the journal by them; stops at a piece without any."""
        found: dict[bytes, TxReceipt] = {}
        for start in range(0, len(tx_hashes), BATCH_CALLS_MAX):
            piece = tx_hashes[start : start + BATCH_CALLS_MAX]
            answers = self._rpc.batch(
                [("eth_getTransactionReceipt", ["0x" + one.hex()]) for one in piece]
            )
            before = len(found)
            for tx_hash, answer in zip(piece, answers, strict=True):
                if isinstance(answer, RpcError):
                    raise answer
                if answer is not None:
                    found[tx_hash] = self._receipt(tx_hash, answer)
            if len(found) == before and journal is None:
                break
        owner = journal or self._journal
        if owner is not None:
            for tx_hash, receipt in found.items():
                owner.settle(tx_hash, State.MINED if receipt.status else State.REVERTED)
        return found

    def _receipt(self, tx_hash: bytes, answer: Mapping[str, Any]) -> TxReceipt:
        status = int(answer["status"], 16)
        created = answer.get("contractAddress")
        return TxReceipt(
            tx_hash=tx_hash,
            status=status,
            gas_used=int(answer["gasUsed"], 16),
            block=int(answer["blockNumber"], 16),
            contract_address=parse_address(created) if created else None,
            logs=tuple(answer["logs"]),
            reason="" if status else self._reason(answer),
        )

    def _reason(self, answer: Mapping[str, Any]) -> str:
        """Return why a transaction reverted: the receipt's own word, else that of the same call again."""
        stated = answer.get("revertReason")
        if isinstance(stated, str):
            return revert_reason(bytes.fromhex(stated[2:])) or NO_REASON
        sent = self._rpc.call("eth_getTransactionByHash", answer["transactionHash"])
        if sent is None:
            raise NotFound("a transaction with a receipt is unknown to the endpoint")
        call = {"from": sent["from"], "data": sent["input"], "value": sent["value"]}
        call |= {"to": sent["to"]} if sent.get("to") else {}
        try:
            self._rpc.call("eth_call", call, answer["blockNumber"])
        except RpcError as error:
            refusal = as_reverted(error)
            return refusal.reason if refusal else error.message
        return NO_REASON


def _says(error: RpcError, phrases: Sequence[str]) -> bool:
    text = error.message.lower()
    return any(phrase in text for phrase in phrases)
