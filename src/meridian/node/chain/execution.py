"""eth_call and eth_estimateGas: runs a call without keeping anything of it.

The law: a call pays no fee (its base fee is zero, as in go-ethereum), so an account without coins can ask; what it
sends as value it must have. An estimate is the gas with which the call was *seen* to do the same as without limit, never
less; it takes two executions unless a called contract behaves differently when it has less gas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from eth.exceptions import OutOfGas, Revert
from eth.vm.spoof import SpoofTransaction
from eth_utils.exceptions import ValidationError

from meridian.node.chain.reverts import revert_reason
from meridian.node.chain.rpc import REVERTED_CODE, RpcError
from meridian.node.chain.rules import Computation, Machine
from meridian.primitives.ids import ZERO_ADDRESS, Address

SERVER_ERROR_CODE: Final = -32000

_SEARCH_STEPS_MAX: Final = 24


@dataclass(frozen=True, slots=True)
class CallRequest:
    """The call to run; `gas` None means as much as a block holds."""

    sender: Address = ZERO_ADDRESS
    to: Address | None = None
    data: bytes = b""
    value_atto: int = 0
    gas: int | None = None


def run_call(machine: Machine, request: CallRequest, gas: int) -> Computation:
    """Run a call with `gas` on a machine of its own, whose header has a base fee of zero.

    Raises:
        RpcError: If it cannot even start: too little gas or value.
    """
    unsigned = machine.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
        chain_id=machine.chain_context.chain_id,
        nonce=machine.state.get_nonce(request.sender),
        max_priority_fee_per_gas=0,
        max_fee_per_gas=0,
        gas=gas,
        to=b"" if request.to is None else bytes(request.to),
        value=request.value_atto,
        data=request.data,
        access_list=(),
    )
    least = unsigned.intrinsic_gas
    if gas < least:
        raise RpcError(
            SERVER_ERROR_CODE, f"intrinsic gas too low: gas {gas}, minimum needed {least}"
        )
    balance = machine.state.get_balance(request.sender)
    if balance < request.value_atto:
        raise RpcError(
            SERVER_ERROR_CODE,
            f"insufficient funds for transfer: have {balance}, want {request.value_atto}",
        )
    try:
        return machine.state.apply_transaction(SpoofTransaction(unsigned, from_=request.sender))
    except ValidationError as error:
        raise RpcError(SERVER_ERROR_CODE, str(error)) from error


def call_output(computation: Computation) -> bytes:
    """Return what a call returned.

    Raises:
        RpcError: If it failed; code 3 with the output when a contract reverted.
    """
    if not computation.is_error:
        return bytes(computation.output)
    error = computation.error
    if isinstance(error, Revert):
        output = bytes(computation.output)
        reason = revert_reason(output)
        message = f"execution reverted: {reason}" if reason else "execution reverted"
        raise RpcError(REVERTED_CODE, message, "0x" + output.hex())
    if isinstance(error, OutOfGas):
        raise RpcError(SERVER_ERROR_CODE, "out of gas")
    raise RpcError(SERVER_ERROR_CODE, f"{type(error).__name__}: {error}".removesuffix(": "))


def estimate_gas(
    make_machine: Callable[[], Machine], request: CallRequest, *, cap: int, floor: int
) -> int:
    """Return the gas limit with which the call does what it does with `cap` gas.

    Args:
        make_machine: Gives a fresh machine for each execution.
        request: The call.
        cap: The most gas it may use.
        floor: The least that it is charged whatever it does (EIP-7623).

    Raises:
        RpcError: If the call fails even with `cap`.
    """
    free = run_call(make_machine(), request, cap)
    call_output(free)
    wanted = free.get_log_entries()
    intrinsic = cap - int(free.msg.gas)

    def suffices(gas: int) -> bool:
        trial = run_call(make_machine(), request, gas)
        return not trial.is_error and trial.get_log_entries() == wanted

    burned = _burned(free)
    guess = min(max(intrinsic + _needed(free), floor), cap)
    if suffices(guess):
        if not burned:
            return guess
        low, high = max(intrinsic + int(free.get_gas_used()) - burned, intrinsic, floor), guess
    else:
        low, high = guess, cap
    for _ in range(_SEARCH_STEPS_MAX):
        if high - low <= max(high // 100, 1):
            break
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _needed(computation: Computation) -> int:
    """Return enough gas for a computation to give every inner call what that used.

    A caller keeps back a 64th of what it has (EIP-150): an inner call that needs g wants g * 64/63 before it.
    """
    used, extra = int(computation.get_gas_used()), 0
    for inner in computation.children:
        wanted = _needed(inner)
        extra = max(extra, wanted - int(inner.get_gas_used()) + -(-wanted // 63))
    return used + extra


def _burned(computation: Computation) -> int:
    """Return the gas that failing inner calls took whole: it grows with the limit, and says nothing of the need."""
    return sum(
        int(inner.get_gas_used()) if inner.should_burn_gas else _burned(inner)
        for inner in computation.children
    )
