"""A wallet for pages: an EIP-1193 provider whose key is here, and whose chain is a real one.

Typed data is hashed and signed by eth-account, from the very document that the page shows the wallet: so what the page
asks for is checked against another implementation than ours.
"""

import json
import sys
from typing import Any

from playwright.sync_api import BrowserContext

from meridian.node.chain.rpc import Rpc, RpcError
from meridian.node.chain.signing import Call, Fees, sign_transaction
from meridian.primitives.ids import address_text, parse_address
from meridian.primitives.keys import PrivateKey

SCRIPT = """
window.ethereum = {
  async request({ method, params }) {
    const told = await askTestWallet(JSON.stringify({ method, params: params ?? [] }));
    if (told.error) throw Object.assign(new Error(told.error.message), told.error);
    return told.result;
  },
  on() {},
  removeListener() {},
};
"""
TIP = 10**9


class Wallet:
    """One account on one chain.

    Args:
        key: The account's.
        rpc: Of the chain; used by the browser's thread.
    """

    def __init__(self, key: PrivateKey, rpc: Rpc) -> None:
        self.key, self._rpc = key, rpc
        self.asked: list[str] = []
        """Methods, in order."""
        self.declines = False
        """Whether its user says no to everything that must be confirmed."""

    @property
    def address(self) -> str:
        return address_text(self.key.address)

    def inject(self, context: BrowserContext) -> None:
        """Put it into every page of a context."""
        context.expose_function("askTestWallet", self._answer)
        context.add_init_script(SCRIPT)

    def _answer(self, text: str) -> dict[str, Any]:
        asked = json.loads(text)
        self.asked.append(asked["method"])
        try:
            return {"result": self._do(asked["method"], asked["params"])}
        except RpcError as error:
            fault = {"code": error.code, "message": error.message, "data": error.data}
            return {"error": fault}

    def _do(self, method: str, params: list[Any]) -> Any:
        if method in {"eth_requestAccounts", "eth_accounts"}:
            return [self.address]
        if method in {"eth_sendTransaction", "eth_signTypedData_v4"} and self.declines:
            raise RpcError(4001, "User rejected the request.")
        if method == "eth_sendTransaction":
            return self.send(params[0])
        if method == "eth_signTypedData_v4":
            return self._sign(*params)
        return self._rpc.call(method, *params)

    def send(self, wanted: dict[str, str]) -> str:
        """Sign and send a transaction; returns its hash."""
        call = Call(
            parse_address(wanted["to"]),
            bytes.fromhex(wanted.get("data", "0x")[2:]),
            int(wanted.get("value", "0x0"), 16),
        )
        asked = {
            "from": self.address,
            "to": wanted["to"],
            "data": wanted.get("data", "0x"),
            "value": hex(call.value_atto),
        }
        block = self._rpc.call("eth_getBlockByNumber", "latest", False)
        fees = Fees(2 * int(block["baseFeePerGas"], 16) + TIP, TIP)
        _, raw = sign_transaction(
            self.key,
            call,
            chain_id=int(self._rpc.call("eth_chainId"), 16),
            nonce=int(self._rpc.call("eth_getTransactionCount", self.address, "pending"), 16),
            gas=int(self._rpc.call("eth_estimateGas", asked), 16) * 5 // 4,
            fees=fees,
        )
        return str(self._rpc.call("eth_sendRawTransaction", "0x" + raw.hex()))

    def _sign(self, account: str, document: str) -> str:
        assert account.lower() == self.address
        limit = sys.getrecursionlimit()
        from eth_account import Account  # its import raises the recursion limit

        sys.setrecursionlimit(limit)
        signed = Account.sign_typed_data(self.key.secret, full_message=json.loads(document))
        return "0x" + bytes(signed.signature).hex()
