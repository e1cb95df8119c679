"""What the pages make of a wallet that refuses, is on another chain, loses its connection, or hurries a transaction."""

from typing import Any

import pytest

from web.shipped_scripts import Ask, shipped_script

NETWORK = {"network": "saturn", "chainId": 31337, "coin": "FIL", "rpcUrl": "http://127.0.0.1:1"}
HASH = "0x" + "ab" * 32
MINED = {"blockNumber": "0x10", "gasUsed": "0x17d44", "status": "0x1"}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    place = tmp_path_factory.mktemp("provider")
    return shipped_script(place, "provider.js", "provider_driver.mjs")


def result(value: Any) -> dict[str, Any]:
    return {"result": value}


def error(code: int, message: str = "no", data: Any = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "data": data}}


def test_what_a_wallet_refuses_is_told_in_words(ask: Ask) -> None:
    told = ask(
        [
            {"does": "connect", "given": [], "wallet": {"eth_requestAccounts": [answer]}}
            for answer in (error(4001), error(-32002), error(-1, "locked"), result([]))
        ]
    )
    assert [one["told"]["refused"] for one in told] == [
        "You declined it in the wallet. Nothing was sent.",
        "The wallet has an open question already: look at its window.",
        "The wallet refused it: locked",
        "The wallet shows the page no account.",
    ]


def test_a_wallet_is_brought_to_the_networks_chain(ask: Ask) -> None:
    right, wrong, done = result("0x7a69"), result("0x1"), result(None)
    wallets: list[dict[str, Any]] = [
        {"eth_chainId": [right]},
        {"eth_chainId": [wrong, right], "wallet_switchEthereumChain": [done]},
        {"eth_chainId": [wrong, right], "wallet_switchEthereumChain": [error(4902)],
         "wallet_addEthereumChain": [done]},
        {"eth_chainId": [wrong], "wallet_switchEthereumChain": [error(4001)]},
        {"eth_chainId": [wrong], "wallet_switchEthereumChain": [done]},
        {"eth_chainId": [wrong], "wallet_switchEthereumChain": [error(-32601, "unknown")]},
    ]  # fmt: skip
    told = ask([{"does": "useChain", "given": [NETWORK], "wallet": wallet} for wallet in wallets])
    assert [one.get("told", {}).get("refused") for one in told] == [
        None,
        None,
        None,
        "The wallet must be on chain 31337; you declined to switch it.",
        "The wallet is not on chain 31337.",
        "Set the wallet to chain 31337 yourself, then try again (unknown).",
    ]
    assert [step[0] for step in told[0]["asked"]] == ["eth_chainId"]
    added = next(step[1] for step in told[2]["asked"] if step[0] == "wallet_addEthereumChain")
    assert added["rpcUrls"] == [NETWORK["rpcUrl"]]
    assert added["chainId"] == "0x7a69"
    nowhere = NETWORK | {"rpcUrl": None}
    (one,) = ask([{"does": "useChain", "given": [nowhere], "wallet": wallets[2]}])
    assert one["told"]["refused"].startswith("Set the wallet to chain 31337 yourself")


def test_reasons_of_reverts_are_found_wherever_a_wallet_puts_them(ask: Ask) -> None:
    inner = {"originalError": {"data": "0x08c379a0"}}
    answers = (error(3, "reverted", "0x08c379a0"), error(-32603, "x", inner), error(-32000, "y"))
    told = ask(
        [
            {"does": "simulate", "given": [{}], "wallet": {"eth_call": [answer]}}
            for answer in (*answers, result("0x00"))
        ]
    )
    assert [one["told"] for one in told] == [
        {"refused": "reverted", "data": "0x08c379a0"},
        {"refused": "x", "data": "0x08c379a0"},
        {"refused": "y", "data": ""},
        {"answer": "0x00"},
    ]


def test_a_transaction_is_followed_through_failures_to_its_block(ask: Ask) -> None:
    lost, none, mined = error(-32603, "lost"), result(None), result(MINED)
    scripts = (
        [none, lost, lost, none, mined],
        [none, result(MINED | {"status": "0x0"})],
        [lost],
        [none],
    )
    told = ask(
        [
            {"does": "follow", "given": [HASH], "reached": reached,
             "wallet": {"eth_getTransactionReceipt": script}}
            for script, reached in [*((list(one), False) for one in scripts), ([none], True)]
        ]
    )  # fmt: skip
    good = {"hash": HASH, "block": 16, "gas": 97_604, "succeeded": True}
    assert [one["told"] for one in told] == [
        good,
        good | {"succeeded": False},
        {"refused": "The wallet refused it: lost"},
        None,  # not within the time that the page waits
        "reached",  # the wallet sent it again under another hash, and that one was mined
    ]
