"""What the pages ask a wallet to send and to sign, byte for byte as our own client and an outside one encode it."""

import random
from typing import Any, cast

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data

from meridian.contracts.artefact import load
from meridian.contracts.calldata import Claim
from meridian.contracts.statements import Complaint
from meridian.node.chain.contract import Contract
from meridian.node.web.complaint_request import compact_signature
from meridian.primitives.cid import cid_text
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey, network_id
from meridian.primitives.keys import recover
from meridian.primitives.sumtree import LaneKind
from web.shipped_scripts import Ask, shipped_script


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return shipped_script(tmp_path_factory.mktemp("calls"), "calls.js", "calls_driver.mjs")


def contract(name: str) -> Contract:
    """One that only encodes: there is no chain."""
    return Contract(cast(Any, None), Address(bytes(20)), load(name))


def claims(chance: random.Random) -> list[Claim]:
    """Claims of all depths, with the smallest and the greatest numbers."""
    found = []
    for depth in (0, 1, 2, 7, 40):
        for top in (0, 1, chance.getrandbits(120), (1 << 122) - 1):
            path = tuple(
                chance.randbytes(32) + (top >> 64).to_bytes(8, "big") + top.to_bytes(16, "big")
                for _ in range(depth)
            )
            key, payee = NodeKey(chance.randbytes(32)), Address(chance.randbytes(20))
            found.append(Claim(top >> 59, key, payee, top, top >> 70, 1 << depth, path))
    return found


def as_the_page_has_it(claim: Claim) -> dict[str, Any]:
    return {
        "epoch": claim.epoch if claim.epoch < 1 << 53 else f"#{claim.epoch}",
        "nodeKey": claim.node_key.hex(),
        "payee": "0x" + claim.payee.hex(),
        "cumulative": f"#{claim.cumulative_atto}",
        "index": claim.index,
        "size": claim.size,
        "path": [
            {
                "hash": node[:32].hex(),
                "count": f"#{int.from_bytes(node[32:40], 'big')}",
                "total": f"#{int.from_bytes(node[40:], 'big')}",
            }
            for node in claim.path
        ],
    }


def test_claims_are_encoded_as_by_our_client(ask: Ask) -> None:
    rewards, all_claims = contract("Rewards"), claims(random.Random(7))
    answers = ask(
        [{"call": "claimCall", "given": [as_the_page_has_it(claim)]} for claim in all_claims]
    )
    for claim, answer in zip(all_claims, answers, strict=True):
        assert answer == "0x" + rewards.encode("claim", *claim.arguments).hex()
    (answer,) = ask([{"call": "claimedCall", "given": ["ab" * 32]}])
    assert answer == "0x" + rewards.encode("claimed", b"\xab" * 32).hex()


@pytest.mark.parametrize("lanes", list(LaneKind))
def test_questions_to_the_chain_are_encoded_as_by_our_client(ask: Ask, lanes: LaneKind) -> None:
    sums = [7, (1 << 64) - 1] if lanes is LaneKind.PAIR_U64 else [(1 << 128) - 1]
    given = {
        "epoch": "#12",
        "aggregator": "0x" + "a9" * 20,
        "root": "cd" * 32,
        "nodes": 5,
        "annotation": [4_000_000_000, [f"#{one}" for one in sums], lanes.value],
        "manifest": "ef" * 32,
    }
    by_cid = given | {"manifest": cid_text(b"\xef" * 32)}
    told = ask(
        [
            {"call": "isCommitmentCall", "given": [given]},
            {"call": "isCommitmentCall", "given": [by_cid]},
            {"call": "reportCall", "given": [12]},
            {"call": "aggregatorCall", "given": ["0x" + "a9" * 20]},
        ]
    )
    annotation = (4_000_000_000).to_bytes(8, "big") + lanes.join(sums)
    words = (12, Address(b"\xa9" * 20), b"\xcd" * 32, 5, annotation, b"\xef" * 32)
    asked = "0x" + contract("Commitments").encode("is_commitment", *words).hex()
    assert told == [
        asked,
        asked,
        "0x" + contract("Evaluations").encode("report", 12).hex(),
        "0x" + contract("Commitments").encode("aggregator", Address(b"\xa9" * 20)).hex(),
    ]


def test_reasons_of_reverts_are_read(ask: Ask) -> None:
    data = "0x08c379a0" + encode(["string"], ["rewards: locked"]).hex()
    forms = [
        (data, "execution reverted"),
        ("", "execution reverted: rewards: nothing"),
        ("0x08c379a0ff", "no gas"),
    ]
    told = ask([{"call": "revertReason", "given": list(form)} for form in forms])
    assert told == ["rewards: locked", "rewards: nothing", "no gas"]


def test_a_complaint_that_a_wallet_signed_is_its_signers(ask: Ask) -> None:
    """An outside wallet signs what the page asks; the server's own words give the same digest, and so the same signer."""
    network, node, text = network_id("saturn"), NodeKey(b"\x66" * 32), 'Ünter "2"\nlines \U0001f600'
    site = {"networkId": network.hex(), "chainId": 31337, "contracts": {"commitments": "0x" + "c0" * 20}}  # fmt: skip
    words = {"nodeKey": node.hex(), "epoch": 9, "text": text, "atS": 1_790_000_000}
    (typed,) = ask([{"call": "complaintTypedData", "given": [site, words]}])
    account = Account.from_key(b"\x07" * 32)
    signed = account.sign_message(encode_typed_data(full_message=typed))
    digest = Complaint(network, node, 9, text, 1_790_000_000).digest(
        Domain(31337, Address(b"\xc0" * 20))
    )
    assert "0x" + recover(digest, compact_signature(signed.signature.hex())).hex() == account.address.lower()  # fmt: skip
