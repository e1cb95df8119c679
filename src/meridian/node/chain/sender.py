"""Sends transactions so that each purpose happens once, whatever crashes in between.

The law: sign, store durably, only then send. The same purpose again gives the same transaction, sent again if the
endpoint has lost it; what an endpoint says about a repeated transaction ("already known", "nonce too low") is settled by
looking its hash up. A purpose gets a second transaction only when the first is dead (see `journal`). So a caller that
crashed may simply repeat itself, and a caller without an answer must repeat the same purpose, not invent another.

Gas limits come from the endpoint's estimate with a margin, never from constants.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, Overloaded, RemoteFault, Reverted
from meridian.node.chain.contract import Compiled, creation_code
from meridian.node.chain.fees import Quote, present_fees, quote
from meridian.node.chain.journal import DEAD, Attempt, SenderJournal, State
from meridian.node.chain.receipts import TxReceipt, read_receipt
from meridian.node.chain.refusals import says_full, says_known
from meridian.node.chain.replacement import REPLACE_AFTER_S, ChainState, Patience, better_offer
from meridian.node.chain.rpc import BATCH_CALLS_MAX, ChainClient, RpcError, RpcUnavailable
from meridian.node.chain.signing import Call, Signed, sign_transaction
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

WAIT_S: Final = 60.0

_POLL_FIRST_S: Final = 0.03
_POLL_LAST_S: Final = 0.5
_RESEND_AFTER_S: Final = 3.0
_POOL_RETRY_S: Final = 1.0


class NotMined(RemoteFault):
    """A transaction was in no block when the time was up; it may still come."""


class Sender:
    """One key's way to one chain; threads may share it.

    Args:
        rpc: The chain.
        key: Signs.
        journal: The SQLite file of what was signed; made when absent.
        confirmations: Blocks that must stand on a transaction's block before it counts as done. 0 is right for chains
            that never drop a block (the embedded one); elsewhere a shallow block may be replaced, and a transaction
            that was believed done would then be missing for good.
        replace_after_s: When a stuck transaction is replaced while somebody waits for it.
        wait_s: How long the waiting methods wait where no other time is given.
    """

    def __init__(
        self,
        rpc: ChainClient,
        key: PrivateKey,
        journal: Path,
        *,
        confirmations: int = 0,
        replace_after_s: float = REPLACE_AFTER_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._wait_s = wait_s
        self._confirmations = confirmations
        self._replace_after_s = replace_after_s
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
        timeout_s: float | None = None,
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
        self,
        artefact: Compiled,
        *args: Any,
        purpose: str,
        value: int = 0,
        timeout_s: float | None = None,
    ) -> Address:
        """Create a contract once for `purpose`, wait, and return its address; raises as `transact`."""
        code = creation_code(artefact, args)
        receipt = self.transact(None, code, value, purpose=purpose, timeout_s=timeout_s)
        if receipt.contract_address is None:
            raise RemoteFault("the endpoint reports no address for a created contract")
        return receipt.contract_address

    def under_way(self, purpose: str) -> Attempt | None:
        """Return the transaction of a purpose that is sent or done, brought to the chain again if need be.

        None means that `submit` would sign a new one. Raises as `submit`.
        """
        with self._lock:
            journal = self._open()
            self._under_way(journal, [purpose])
            last = journal.latest(purpose)
        return None if last is None or last.state in DEAD else last

    def unsettled(self) -> list[str]:
        """Return the purposes that are in no block yet, after bringing them to the chain again; raises as `submit`."""
        with self._lock:
            journal = self._open()
            self._bring(journal, journal.unsettled())
            return [one.purpose for one in journal.unsettled()]

    def next_nonce(self) -> int:
        """Return the nonce that the account's next transaction would get if nobody else used the key."""
        with self._lock:
            return self._open().next_nonce(self._count("pending"))

    # -- waiting -----------------------------------------------------------------------------------------------------

    def wait(self, tx_hash: bytes, timeout_s: float | None = None) -> TxReceipt:
        """Return the receipt of a transaction; raises as `wait_all`."""
        return self.wait_all([tx_hash], timeout_s)[0]

    def wait_all(
        self, tx_hashes: Sequence[bytes], timeout_s: float | None = None
    ) -> list[TxReceipt]:
        """Return the receipts of many transactions, in the order given; lost ones are sent again meanwhile.

        Raises:
            NotMined: If one is in no block when the time is up, or can never be.
            RpcUnavailable: If the endpoint is gone when the time is up.
        """
        found: dict[bytes, TxReceipt] = {}
        deadline = now = time.monotonic()
        patience_s = self._wait_s if timeout_s is None else timeout_s
        deadline += patience_s
        resend_at, pause_s = now + _RESEND_AFTER_S, _POLL_FIRST_S
        stuck = Patience(now + self._replace_after_s)
        while True:
            left = [one for one in dict.fromkeys(tx_hashes) if one not in found]
            fault: RpcUnavailable | None = None
            try:
                fresh = self._receipts(left)
                if time.monotonic() >= resend_at and not fresh:
                    self._resend(left)
                    resend_at = time.monotonic() + _RESEND_AFTER_S
                if fresh:
                    stuck = Patience(time.monotonic() + self._replace_after_s)
                elif stuck.is_over(self._rpc):
                    self._replace(left)
                    stuck = Patience(time.monotonic() + self._replace_after_s)
            except RpcUnavailable as error:
                fault, fresh = error, {}
            found |= fresh
            if len(found) == len(set(tx_hashes)):
                return [found[one] for one in tx_hashes]
            if time.monotonic() >= deadline:
                waiting = len(set(tx_hashes)) - len(found)
                raise fault or NotMined(
                    f"{waiting} transactions in no block after {patience_s:g} s"
                )
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
        quotes = quote(self._rpc, self.address, [call for _, call in calls])
        ready: list[tuple[str, Call, Quote]] = []
        for (purpose, call), answer in zip(calls, quotes, strict=True):
            if isinstance(answer, Reverted):
                done[purpose] = answer
            else:
                ready.append((purpose, call, answer))

        def sign(index: int, nonce: int) -> tuple[bytes, bytes]:
            _, call, offer = ready[index]
            return sign_transaction(
                self._key,
                call,
                chain_id=self._chain_id,
                nonce=nonce,
                gas=offer.gas_limit,
                fees=offer.fees,
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

    def _replace(self, tx_hashes: Sequence[bytes]) -> None:
        """Raise the fees of what holds these up: the next nonce's, and whatever offers less than the base fee."""
        with self._lock:
            journal = self._open()
            last = max(
                (one.nonce for one in map(journal.by_hash, tx_hashes) if one is not None),
                default=-1,
            )
            waiting = [one for one in journal.unsettled() if one.nonce <= last]
            self._bring(journal, waiting)
            asked, base_wei = present_fees(self._rpc)
            state = ChainState(self._chain_id, self._count("latest"), base_wei, asked)
            replaced = []
            for one in waiting:
                offer = better_offer(journal, one, state)
                if offer is None:
                    continue

                def sign(nonce: int, offer: Signed = offer) -> tuple[bytes, bytes]:
                    return sign_transaction(
                        self._key,
                        offer.call,
                        chain_id=self._chain_id,
                        nonce=nonce,
                        gas=offer.gas,
                        fees=offer.fees,
                    )

                fresh = journal.replace(one, sign)
                if fresh is not None:
                    replaced.append(fresh)
            self._send(journal, replaced, fresh=False)

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
            if isinstance(answer, RpcError) and not says_known(answer)
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
                if not self._sibling_known(journal, one):
                    journal.settle(one.tx_hash, State.SUPERSEDED)
            elif fresh:
                journal.refuse(one)
                refused = answer
        if refused is not None:
            # Perhaps somebody else with this key has the nonce in the pool: the next attempt starts behind that.
            self._nonce_floor = max(self._nonce_floor, self._count("pending"))
            if says_full(refused):
                raise Overloaded(_POOL_RETRY_S, refused.message)
            raise refused

    def _sibling_known(self, journal: SenderJournal, attempt: Attempt) -> bool:
        """Tell whether the nonce may have been used by what the attempt replaced: then its purpose is not free."""
        others = journal.siblings([attempt.tx_hash]).get(attempt.tx_hash, [])
        shown = self._rpc.batch(
            [("eth_getTransactionByHash", ["0x" + one.hex()]) for one in others]
        )
        for one in shown:
            if isinstance(one, RpcError):
                raise one
        return any(one is not None for one in shown)

    def _receipts(
        self, tx_hashes: Sequence[bytes], journal: SenderJournal | None = None
    ) -> dict[bytes, TxReceipt]:
        """Return the receipts there are, deep enough, and settle the journal by them.

        A transaction's receipt may be that of its replacement. Stops at a piece without any.
        """
        owner = journal or self._journal
        found: dict[bytes, TxReceipt] = {}
        for start in range(0, len(tx_hashes), BATCH_CALLS_MAX):
            piece = tx_hashes[start : start + BATCH_CALLS_MAX]
            siblings = {} if owner is None else owner.siblings(piece)
            asked = list(
                dict.fromkeys([*piece, *(one for some in siblings.values() for one in some)])
            )
            deep = self._deep_receipts(asked)
            if owner is not None:
                for tx_hash, receipt in deep.items():
                    owner.settle(tx_hash, State.MINED if receipt.status else State.REVERTED)
            before = len(found)
            for tx_hash in piece:
                for one in (tx_hash, *siblings.get(tx_hash, ())):
                    if one in deep:
                        found[tx_hash] = deep[one]
            if len(found) == before and journal is None:
                break
        return found

    def _deep_receipts(self, tx_hashes: Sequence[bytes]) -> dict[bytes, TxReceipt]:
        questions: list[tuple[str, Sequence[Any]]] = [
            ("eth_getTransactionReceipt", ["0x" + one.hex()]) for one in tx_hashes
        ]
        if self._confirmations:
            questions.append(("eth_blockNumber", []))
        answers = self._rpc.batch(questions)
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        head = int(answers.pop(), 16) if self._confirmations else None
        return {
            tx_hash: read_receipt(self._rpc, tx_hash, answer)
            for tx_hash, answer in zip(tx_hashes, answers, strict=True)
            if answer is not None
            and (head is None or head - int(answer["blockNumber"], 16) >= self._confirmations)
        }
