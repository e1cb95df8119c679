"""The simulated contract over real HTTP: every status code, restarts, and what it gives to whom."""

import io
import json

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from nym_world import BLOCK, KEYS, MIXNODES, STRANGER, network, report, submission

from meridian.errors import InvalidInput, StorageFailure
from meridian.nym.acceptance import Mode
from meridian.nym.contract import ContractHttp
from meridian.nym.contract_store import ContractStore
from meridian.nym.rewards import Submission, sign_submission
from meridian.nym.wire import document
from meridian.primitives.ids import address_text, network_id

GENESIS_S = 1_700_000_003
"""A contract made at 1,700,000,000.25 begins at the third whole second after."""


class Clock:
    def __init__(self, after_genesis_s: float) -> None:
        self.now = int((GENESIS_S + after_genesis_s) * 1000)

    def __call__(self) -> int:
        return self.now


def opened(path, system):
    return ContractStore(path / "contract.sqlite", system, now_s=lambda: 1_700_000_000.25)


class Contract:
    """A served contract; `after` seconds after its genesis."""

    def __init__(self, path, mode: Mode = Mode.RACE, after: float = 25.0) -> None:
        self.system = network(mode)
        self.store = opened(path, self.system)
        self.clock = Clock(after)
        app = ContractHttp(self.system, self.store, self.clock).application()
        self.client = TestClient(TestServer(app))

    async def __aenter__(self):
        await self.client.start_server()
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        self.store.close()

    def body(self, sent: Submission) -> dict:
        return document(self.system.realm.network, sent)

    async def post(self, body) -> tuple[int, dict]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.post("/contract/submit_rewards", data=data)
        return answer.status, await answer.json()

    async def get(self, path: str):
        answer = await self.client.get(path)
        return answer.status, await answer.json()


async def test_the_first_good_submission_wins_and_is_served(tmp_path):
    async with Contract(tmp_path) as contract:
        assert (await contract.get("/contract/rewards/0"))[0] == 404
        sent = submission(contract.system)
        status, answer = await contract.post(contract.body(sent))
        assert (status, answer["winner"]) == (200, address_text(KEYS[0].address))
        status, stored = await contract.get("/contract/rewards/0")
        assert status == 200
        assert stored["winner"] == address_text(KEYS[0].address)
        assert stored["submission"] == contract.body(sent)
        assert stored["submission"]["block_hash"] == "0x" + BLOCK.hex()
        assert (await contract.get("/contract/rewards"))[1] == {"epochs": [0]}


@pytest.mark.parametrize("later", [KEYS[0], KEYS[1]])
async def test_later_submissions_are_409_and_change_nothing(tmp_path, later):
    async with Contract(tmp_path) as contract:
        await contract.post(contract.body(submission(contract.system)))
        other = submission(contract.system, later, rewards=(1, 2, 3))
        status, answer = await contract.post(contract.body(other))
        assert (status, answer["error"]["field"]) == (409, "epoch")
        assert contract.store.accepted(0).submission == submission(contract.system)


@pytest.mark.parametrize(
    ("epoch", "after", "status"),
    [
        (0, 9.999, 425),  # its last millisecond
        (0, 10.0, 200),  # half-open: the end belongs to the next
        (1, 10.0, 425),
        (1, 19.999, 425),
        (1, 20.0, 200),
        (0, -1.0, 425),  # before the first epoch
        (99, 25.0, 425),
    ],
)
async def test_only_an_epoch_that_has_ended_is_taken(tmp_path, epoch, after, status):
    async with Contract(tmp_path, after=after) as contract:
        sent = submission(contract.system, epoch=epoch)
        got, answer = await contract.post(contract.body(sent))
        assert got == status, answer
        if status == 425:
            assert "has not ended" in answer["error"]["reason"]


@pytest.mark.parametrize(
    ("after", "epoch", "start"), [(-1, 0, 0), (0, 0, 0), (9.999, 0, 0), (10, 1, 10), (25, 2, 20)]
)
async def test_epochs_are_aligned_to_genesis_and_half_open(tmp_path, after, epoch, start):
    async with Contract(tmp_path, after=after) as contract:
        _, info = await contract.get("/contract/epoch")
        assert info["epoch_id"] == epoch
        assert info["start_time"] == GENESIS_S + start
        assert (info["duration"], info["genesis"]) == (10, GENESIS_S)
        assert info["now_ms"] == contract.clock.now


async def test_strangers_and_bad_signatures_are_401(tmp_path):
    async with Contract(tmp_path) as contract:
        system = contract.system
        good = submission(system)
        stranger = submission(system, STRANGER)
        stolen = Submission(good.report, KEYS[1].address, good.signature)
        flipped = Submission(
            good.report, good.sender, good.signature[:-1] + bytes([good.signature[-1] ^ 1])
        )
        replayed = Submission(report(system.mode, epoch=1), good.sender, good.signature)
        changed = Submission(report(system.mode, rewards=(1, 1, 1)), good.sender, good.signature)
        for bad in (stranger, stolen, flipped, replayed, changed):
            status, answer = await contract.post(contract.body(bad))
            assert (status, answer["error"]["field"] in {"sender", "signature"}) == (401, True)
        elsewhere = network(Mode.RACE)
        other_contract = msgspec.structs.replace(elsewhere, contract="0x" + "11" * 20)
        status, _ = await contract.post(contract.body(submission(other_contract)))
        assert status == 401  # a signature for another contract
        assert contract.store.settled() == []


def changed(**values):
    return lambda body: body | values


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (changed(rewards=[]), "rewards"),
        (lambda b: b | {"rewards": b["rewards"][:2]}, "rewards.mix_id"),
        (lambda b: b | {"rewards": [*b["rewards"], b["rewards"][0]]}, "rewards.mix_id"),
        (
            lambda b: b | {"rewards": [*b["rewards"][:2], {"mix_id": 7, "performance": 1}]},
            "rewards.mix_id",
        ),
        (
            lambda b: (
                b | {"rewards": [*b["rewards"][:2], {"mix_id": 2, "performance": 100_000_001}]}
            ),
            "rewards.performance",
        ),
        (
            lambda b: b | {"rewards": [*b["rewards"][:2], {"mix_id": 2, "performance": -1}]},
            "rewards.performance",
        ),
        (lambda b: b | {"rewards": [{"mix_id": 0}]}, "rewards[0]"),
        (
            lambda b: b | {"rewards": [*b["rewards"][:2], {"mix_id": 2, "performance": 1.5}]},
            "rewards[2].performance",
        ),
        (
            lambda b: b | {"rewards": [*b["rewards"][:2], {"mix_id": 2, "performance": True}]},
            "rewards[2].performance",
        ),
        (changed(epoch=-1), "epoch"),
        (changed(epoch="0"), "epoch"),
        (changed(epoch=1 << 64), "epoch"),
        (changed(network="0x" + "00" * 32), "network"),
        (changed(sender="me"), "sender"),
        (changed(signature="0x00"), "signature"),
        (changed(block_hash="0x" + "00" * 32), "block_hash"),
        (changed(aggregate="max"), "aggregate"),
        (
            changed(attestations=[{"member": "0x" + "11" * 20, "signature": "0x" + "00" * 64}]),
            "attestations",
        ),
        (changed(more=1), "body"),
        (lambda _: [], "body"),
        (lambda _: b"{", "body"),
        (lambda _: b"", "body"),
        (lambda _: b"\xff\xfe", "body"),
        (lambda _: b"[" * 100_000, "body"),
        (lambda b: {k: v for k, v in b.items() if k != "epoch"}, "body"),
    ],
)
async def test_malformed_submissions_are_400_with_their_field(tmp_path, change, field):
    async with Contract(tmp_path) as contract:
        good = contract.body(submission(contract.system))
        status, answer = await contract.post(change(good))
        assert (status, answer["error"]["field"]) == (400, field), answer
        assert answer["error"]["reason"]
        assert contract.store.settled() == []
        assert (await contract.post(good))[0] == 200  # nothing was left behind


async def test_a_long_body_is_413(tmp_path):
    async with Contract(tmp_path) as contract:
        data = io.BytesIO(b" " * (2 << 20))
        answer = await contract.client.post("/contract/submit_rewards", data=data)
        assert answer.status == 413


async def test_standalone_takes_no_block_and_race_needs_one(tmp_path):
    async with Contract(tmp_path, Mode.STANDALONE) as contract:
        assert (await contract.post(contract.body(submission(contract.system))))[0] == 200
        sent = sign_submission(contract.system.realm, report(Mode.RACE, epoch=1), KEYS[0])
        status, answer = await contract.post(contract.body(sent))
        assert (status, answer["error"]["field"]) == (400, "block_hash")


async def test_quorum_takes_q_signatures_of_members_over_one_report(tmp_path):
    async with Contract(tmp_path, Mode.QUORUM) as contract:
        system = contract.system
        for signers in (0, 2):
            status, answer = await contract.post(contract.body(submission(system, signers=signers)))
            assert (status, answer["error"]["reason"]) == (401, f"{signers} of 3 needed")
        made = report(system.mode)
        digest = made.digest(system.realm)
        pairs = [(key.address, key.sign(digest)) for key in KEYS[:3]]
        wrong = [*pairs[:2], (KEYS[2].address, KEYS[3].sign(digest))]
        with_stranger = [*pairs[:2], (STRANGER.address, STRANGER.sign(digest))]
        other = report(system.mode, rewards=(1, 2, 3)).digest(system.realm)
        of_another = [*pairs[:2], (KEYS[2].address, KEYS[2].sign(other))]
        for bad in (wrong, with_stranger, of_another):
            sent = sign_submission(system.realm, made, KEYS[0], bad)
            status, answer = await contract.post(contract.body(sent))
            assert (status, answer["error"]["field"]) == (401, "attestations")
        twice = contract.body(sign_submission(system.realm, made, KEYS[0], pairs))
        twice["attestations"] = [twice["attestations"][0]] * 3
        assert (await contract.post(twice))[0] == 400
        # Whoever transmits is the winner, whether or not it is among the signers.
        sent = sign_submission(system.realm, made, KEYS[3], pairs)
        status, answer = await contract.post(contract.body(sent))
        assert (status, answer["winner"]) == (200, address_text(KEYS[3].address))
        assert contract.store.accepted(0).submission.attestations == tuple(sorted(pairs))


async def test_unknown_paths_methods_and_epochs_are_json_errors(tmp_path):
    async with Contract(tmp_path) as contract:
        for path, status in [
            ("/contract/rewards/x", 400),
            ("/contract/rewards/" + "9" * 30, 400),
            ("/contract/rewards/7", 404),
            ("/contract/rewards?from=-1", 400),
            ("/contract/nothing", 404),
            ("/contract/submit_rewards", 405),
        ]:
            got, answer = await contract.get(path)
            assert (got, set(answer["error"])) == (status, {"field", "reason"})
        assert await contract.get("/contract/health") == (200, {"status": "ok"})


async def test_a_contract_whose_disk_fails_is_503_and_says_so(tmp_path):
    async with Contract(tmp_path) as contract:
        contract.store._database._connection.close()
        assert (await contract.get("/contract/health"))[0] == 503
        assert (await contract.post(contract.body(submission(contract.system))))[0] == 503


async def test_peer_info_lists_the_known_members(tmp_path):
    async with Contract(tmp_path) as contract:
        _, peers = await contract.get("/contract/peer_info")
        assert [peer["public_key"] for peer in peers] == [address_text(key.address) for key in KEYS]
        assert {peer["name"] for peer in peers} == {f"nym-api-{n}" for n in range(1, 5)}


def test_a_restart_keeps_genesis_and_results(tmp_path):
    system = network(Mode.RACE)
    store = opened(tmp_path, system)
    store.settle(submission(system), (GENESIS_S + 10) * 1000)
    store.close()
    again = ContractStore(tmp_path / "contract.sqlite", system, now_s=lambda: 1_800_000_000.0)
    assert again.calendar.genesis_s == GENESIS_S
    assert again.accepted(0).submission == submission(system)
    again.close()
    with pytest.raises(InvalidInput, match="made as"):
        ContractStore(tmp_path / "contract.sqlite", network(Mode.QUORUM))
    slower = msgspec.structs.replace(system, epoch_seconds=11)
    with pytest.raises(InvalidInput, match="made as"):
        ContractStore(tmp_path / "contract.sqlite", slower)


def test_a_settlement_is_stored_whole_or_not_at_all(tmp_path):
    system = network(Mode.RACE)
    store = opened(tmp_path, system)
    good = submission(system)
    # A value that the table refuses in the middle of the batch.
    broken = Submission(report(system.mode, rewards=(1, "x", 2)), good.sender, good.signature)
    with pytest.raises(StorageFailure):
        store.settle(broken, (GENESIS_S + 10) * 1000)
    assert store.settled() == []
    store.settle(good, (GENESIS_S + 10) * 1000)
    assert store.accepted(0).submission == good
    store.close()


def test_signatures_bind_network_epoch_contract_and_sender():
    system = network(Mode.RACE)
    signatures = {submission(system).signature}
    signatures.add(submission(system, epoch=1).signature)
    signatures.add(submission(system, aggregate="wmedian").signature)
    signatures.add(submission(msgspec.structs.replace(system, network="other")).signature)
    signatures.add(submission(msgspec.structs.replace(system, contract="0x" + "22" * 20)).signature)
    signatures.add(submission(system, KEYS[1]).signature)
    signatures.add(submission(system, rewards=(90_000_000, 0, 0)).signature)  # 0 is not missing
    assert len(signatures) == 7
    assert system.realm.network == network_id("nym-test")
    assert len(report(system.mode).rewards) == MIXNODES
