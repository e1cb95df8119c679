"""`meridian chain` and `meridian reward` on a real chain process: what they send, show, refuse, and do only once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_process import COIN, KEYS, ChainProcess, answer, meridian, write_keys

from meridian.contracts.deployment import DisputeTerms, Parameters
from meridian.disputes.promises import double_receipt
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.node.accusation_file import file_of
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import Rpc
from meridian.node.deployment_file import Deployment
from meridian.node.deployment_parameters import parameters_document, read_parameters
from meridian.primitives.eip712 import Domain
from meridian.primitives.fil_address import fil_text
from meridian.primitives.ids import Address, address_text, network_id

FIRST_EPOCH = 7
GENESIS_S = 4_000_000_000
"""Far ahead: the first epoch is the running one, whatever the clock says."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    """A chain with the contracts of a network, deployed by `meridian chain deploy`."""
    root = tmp_path_factory.mktemp("network")
    chain = ChainProcess.start(root)
    write_keys(root / "keys")
    write_parameters(root / "network-parameters.json")
    try:
        yield chain
    finally:
        chain.kill()


def write_parameters(path: Path) -> Parameters:
    parameters = Parameters(
        network=network_id("bazaar"),
        genesis_s=GENESIS_S,
        epoch_seconds=3600,
        first_epoch=FIRST_EPOCH,
        node_stake_min_atto=COIN // 10,
        evaluator_stake_min_atto=10 * COIN,
        exit_delay_s=2,
        aggregators=(KEYS["operator"].address,),
        challenge_seconds=1,
        function_digest=b"\x02" * 32,
        parameters_digest=b"\x03" * 32,
        aggregator_stake_min_atto=COIN,
        disputes=DisputeTerms(
            bond_atto=COIN // 4,
            response_seconds=1,
            burn_ppm=100_000,
            burn_address=Address(b"\xdd" * 20),
            referees=(KEYS["poor"].address,),
            referee_stake_min_atto=0,
            voting_seconds=60,
        ),
    )
    path.write_text(json.dumps(parameters_document("bazaar", parameters)))
    assert read_parameters(path) == ("bazaar", parameters)
    return parameters


def as_(place: ChainProcess, who: str) -> list[object]:
    return ["--data-dir", place.root, "--key", place.root / "keys" / f"{who}.key", "--yes"]


def deploy(place: ChainProcess, *more: object) -> list[object]:
    file = place.root / "network-parameters.json"
    return [
        "chain",
        "deploy",
        "--file",
        file,
        "--rpc-url",
        place.url,
        *as_(place, "sponsor"),
        *more,
    ]


def contract(place: ChainProcess, name: str) -> Contract:
    from meridian.contracts.artefact import load

    found = Deployment.load(place.root).contracts
    return Contract(Rpc(place.url), getattr(found, name.lower()), load(name))


def test_deploy_tries_shows_sends_once_and_goes_on(place):
    before = place.balance(KEYS["sponsor"])
    tried = meridian(*deploy(place, "--dry-run"))
    assert tried.exit_code == 0, tried.output
    assert "Deploy Registry" in tried.output
    assert "nothing was signed or sent" in tried.output
    assert place.balance(KEYS["sponsor"]) == before
    done = meridian(*deploy(place))
    assert done.exit_code == 0, done.output
    sent = place.count(KEYS["sponsor"])
    assert sent == 8
    again = meridian(*deploy(place))
    assert again.exit_code == 0, again.output
    assert again.output.count("Sent before, not again") == sent
    assert place.count(KEYS["sponsor"]) == sent
    assert contract(place, "Registry").read("network") == network_id("bazaar")
    assert contract(place, "Evaluations").read("rewards") == contract(place, "Rewards").address


def test_status_shows_what_stands_there(place):
    shown = answer("chain", "status", "--data-dir", place.root)
    assert shown["network"] == "bazaar"
    assert shown["calendar"]["first_epoch"] == FIRST_EPOCH
    assert {row["name"] for row in shown["contracts"]} >= {"registry", "rewards"}
    assert all(row["code_bytes"] > 0 for row in shown["contracts"])
    text = meridian("chain", "status", "--data-dir", place.root).output
    assert "Contracts" in text
    assert "Epochs" in text


def test_a_node_joins_leaves_and_gets_its_stake_back(place):
    registry = contract(place, "Registry")
    done = answer("chain", "stake", "node", "--node", "n1", *as_(place, "operator"))
    assert done["sent"] is True
    assert (
        answer("chain", "stake", "node", "--node", "n1", *as_(place, "operator"))["sent"] is False
    )
    foreign = meridian("chain", "stake", "node", "--node", "n1", *as_(place, "sponsor"))
    assert foreign.exit_code == 2
    early = meridian("chain", "withdraw", "node", "--node", "n1", *as_(place, "sponsor"))
    assert early.exit_code == 7
    assert "registry: locked" in early.output
    assert answer("chain", "leave", "node", "--node", "n1", *as_(place, "operator"))["sent"] is True
    assert (
        answer("chain", "leave", "node", "--node", "n1", *as_(place, "operator"))["sent"] is False
    )
    time.sleep(3.1)
    before = place.balance(KEYS["operator"])
    assert answer("chain", "withdraw", "node", "--node", "n1", *as_(place, "sponsor"))["sent"]
    assert place.balance(KEYS["operator"]) == before + COIN // 10
    assert not answer("chain", "withdraw", "node", "--node", "n1", *as_(place, "sponsor"))["sent"]
    # Joining anew is another wish than the first.
    assert answer("chain", "stake", "node", "--node", "n1", *as_(place, "operator"))["sent"] is True
    assert registry.read("nonces", KEYS["operator"].address) == 2


def test_a_node_without_coins_joins_through_a_relayer(place):
    member = place.root / "keys" / "poor.key"
    payee = fil_text(KEYS["evaluator"].address)  # in Filecoin's form
    arguments = ["--node", "n2", "--member-key", member, "--payee", payee]
    assert answer("chain", "stake", "node", *arguments, *as_(place, "sponsor"))["sent"] is True
    from meridian.primitives.ids import node_key

    operator, paid, _, _ = contract(place, "Registry").read("node", node_key("n2"))
    assert (operator, paid) == (KEYS["poor"].address, KEYS["evaluator"].address)
    assert place.count(KEYS["poor"]) == 0


def test_an_evaluator_joins_and_leaves(place):
    arguments = ["--link-key", "ab" * 32, "--endpoint", "127.0.0.1:9000"]
    done = answer("chain", "stake", "evaluator", *arguments, *as_(place, "evaluator"))
    assert done["sent"] is True
    [row] = answer("chain", "status", "--data-dir", place.root)["evaluators"]
    assert (row["state"], row["stake_atto"]) == ("active", str(10 * COIN))
    assert answer("chain", "leave", "evaluator", *as_(place, "evaluator"))["sent"] is True
    [row] = answer("chain", "status", "--data-dir", place.root)["evaluators"]
    assert row["state"] == "leaving"


def test_an_aggregator_joins_leaves_and_gets_its_stake_back(place):
    me = as_(place, "operator")
    assert meridian("chain", "stake", "aggregator", *as_(place, "sponsor")).exit_code == 7
    assert answer("chain", "stake", "aggregator", *me)["sent"] is True
    assert answer("chain", "stake", "aggregator", *me)["sent"] is False
    [row] = answer("chain", "status", "--data-dir", place.root)["aggregators"]
    assert (row["state"], row["stake_atto"]) == ("active", str(COIN))
    assert answer("chain", "leave", "aggregator", *me)["sent"] is True
    assert answer("chain", "leave", "aggregator", *me)["sent"] is False
    time.sleep(3.1)
    assert answer("chain", "withdraw", "aggregator", *me)["sent"] is True
    assert answer("chain", "withdraw", "aggregator", *me)["sent"] is False
    assert answer("chain", "stake", "aggregator", *me)["sent"] is True  # another wish than before


def test_funds_are_paid_once_for_each_wish(place):
    wish = ["--first", FIRST_EPOCH, "--epochs", "3", "--each", "1.5", *as_(place, "sponsor")]
    before = contract(place, "Rewards").read("total_funded")
    asked = meridian("chain", "fund", *wish[:-1], typed="n\n")
    assert asked.exit_code != 0
    assert "4.5 coins" in asked.stderr
    assert "limit" in asked.stderr
    assert answer("chain", "fund", *wish)["sent"] is True
    assert answer("chain", "fund", *wish)["sent"] is False
    assert contract(place, "Rewards").read("total_funded") == before + 45 * COIN // 10
    assert answer("chain", "fund", "--again", "second", *wish)["sent"] is True
    assert contract(place, "Rewards").read("budget", FIRST_EPOCH) == 3 * COIN


def test_the_designs_call_pays_for_an_epoch_once(place, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    rewards, evaluations = contract(place, "Rewards"), contract(place, "Evaluations")
    call = tmp_path / "reward.json"
    call.write_text(
        json.dumps(
            {
                "evaluation_contract": fil_text(evaluations.address),
                "fil_for_epoch": "2.000000000000000001",
            }
        )
    )
    amount = 2 * COIN + 1
    following = rewards.read("funded_through") + 1
    command = ["reward", "--file", call, "--rpc-url", place.url]
    command += ["--key", place.root / "keys" / "operator.key", "--yes"]
    tried = answer(*command, "--dry-run")
    assert tried["value_atto"] == str(amount)
    first = answer(*command)
    assert (first["sent"], first["epoch"]) == (True, str(following))
    assert rewards.read("budget", following) == amount
    for again in (
        answer(*command),  # the journal knows it
        answer(*command, "--epoch", following),  # the same under its other name
        answer(*command, "--journal-dir", tmp_path / "lost"),  # the chain alone shows it
        answer(*command, "--journal-dir", tmp_path / "lost", "--epoch", following),
    ):
        assert (again["sent"], again["epoch"]) == (False, str(following))
    assert rewards.read("budget", following) == amount
    other = answer(*command, "--epoch", following + 1)
    assert other["sent"] is True
    assert rewards.read("budget", following + 1) == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"evaluation_contract": "0x12", "fil_for_epoch": "1"}', "evaluation_contract"),
        ('{"evaluation_contract": "f01", "fil_for_epoch": 2000}', "fil_for_epoch"),
        ('{"evaluation_contract": "f01", "fil_for_epoch": "0"}', "fil_for_epoch"),
        ('{"evaluation_contract": "f01", "fil_for_epoch": "1e3"}', "fil_for_epoch"),
        (
            '{"evaluation_contract": "f01", "fil_for_epoch": "0.0000000000000000001"}',
            "fil_for_epoch",
        ),
        ('{"evaluation_contract": "f01", "fil_for_epoch": "1", "epoch": 3}', "epoch"),
        ('{"fil_for_epoch": "1"}', "evaluation_contract"),
    ],
)
def test_a_wrong_call_is_refused_by_name(place, tmp_path, text, reason):
    path = tmp_path / "reward.json"
    path.write_text(text)
    key = place.root / "keys" / "operator.key"
    result = meridian("reward", "--file", path, "--rpc-url", place.url, "--key", key, "--yes")
    assert result.exit_code == 2
    assert reason in result.output


def test_what_cannot_be_paid_sends_nothing(place):
    wish = ["--first", FIRST_EPOCH, "--each", "999999", *as_(place, "sponsor")]
    assert meridian("chain", "fund", *wish).exit_code in {4, 7}
    before = place.count(KEYS["sponsor"])
    poor = ["--first", FIRST_EPOCH, "--each", "1", *as_(place, "poor")]
    assert meridian("chain", "fund", *poor).exit_code in {4, 7}
    assert place.count(KEYS["poor"]) == 0
    assert place.count(KEYS["sponsor"]) == before


def test_the_wrong_chain_is_refused(place, tmp_path):
    deployment = json.loads((place.root / "deployment.json").read_text())
    (tmp_path / "deployment.json").write_text(json.dumps({**deployment, "chain_id": 314}))
    result = meridian("chain", "status", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "chain 31337" in result.output
    nothing = meridian("chain", "status", "--data-dir", tmp_path / "none")
    assert nothing.exit_code == 3


def test_a_stopped_chain_is_served_from_its_file(place):
    sent = place.count(KEYS["sponsor"])
    port = place.port
    place.kill()
    wish = ["--first", FIRST_EPOCH, "--each", "0.25", *as_(place, "sponsor")]
    assert answer("chain", "fund", *wish)["sent"] is True
    restarted = ChainProcess.start(place.root, port)
    place.process, place.url = restarted.process, restarted.url
    assert place.count(KEYS["sponsor"]) == sent + 1
    assert answer("chain", "fund", *wish)["sent"] is False


def test_an_accusation_is_tried_sent_once_and_takes_the_stake(place, tmp_path):
    """The aggregator signed two receipts with one number; anybody who has both can take its stake."""
    deployment, key = Deployment.load(place.root), KEYS["operator"]
    domain = Domain(chain_id=deployment.chain_id, contract=deployment.contracts.commitments)
    answer("chain", "stake", "aggregator", *as_(place, "operator"))
    pair = [
        SignedReceipt.sign(
            Receipt(deployment.network_id, FIRST_EPOCH, key.address, 5, bytes([root]) * 32, 1),
            domain,
            key,
        )
        for root in (1, 2)
    ]
    fault = double_receipt(*pair)
    assert fault is not None
    path = tmp_path / "accusation.json"
    rpc = Rpc(place.url)
    path.write_bytes(file_of(rpc, "bazaar", fault).encode())
    command = ["chain", "dispute", "send", "--file", path, *as_(place, "sponsor")]
    assert answer(*command, "--dry-run")["proof"] == "CommitmentProofs.double_receipt"
    wrong = json.loads(path.read_text())
    for field, value, code in [
        ("function", "omission", 2),
        ("contract", "Registry", 2),
        ("network", "other", 2),
        ("calldata", wrong["calldata"][:-2] + "00", 7),  # one signature is another now
        ("calldata", "0x12345678", 2),
    ]:
        broken = tmp_path / "broken.json"
        broken.write_text(json.dumps({**wrong, field: value}))
        refused = meridian(*command[:4], broken, *command[5:])
        assert refused.exit_code == code, (field, refused.output)
    assert answer(*command)["sent"] is True
    assert answer(*command)["sent"] is False
    late = meridian(*command, "--journal-dir", tmp_path / "elsewhere")  # somebody else, too late
    assert late.exit_code == 7
    assert "disputes: convicted" in late.output
    status = answer("chain", "status", "--data-dir", place.root)
    assert [row["state"] for row in status["aggregators"]] == ["slashed"]
    [verdict] = status["disputes"]["verdicts"]
    assert verdict["guilty"] == address_text(key.address)
    assert verdict["stake_atto"] == str(COIN)
    text = meridian("chain", "status", "--data-dir", place.root).output
    assert "verdict" in text


def test_keys_are_made_imported_and_shown(tmp_path):
    word = tmp_path / "word"
    word.write_text("correct horse\n")
    made = answer("chain", "key", "new", tmp_path / "a.json", "--passphrase-file", word)
    shown = answer("chain", "key", "inspect", tmp_path / "a.json")
    assert shown["address"] == made["address"]
    assert (
        meridian("chain", "key", "new", tmp_path / "a.json", "--passphrase-file", word).exit_code
        == 2
    )
    plain = write_keys(tmp_path / "plain")["sponsor"]
    brought = answer(
        "chain", "key", "import", tmp_path / "b.json", "--from", plain, "--passphrase-file", word
    )
    assert brought["address"] == address_text(KEYS["sponsor"].address)
    assert meridian("chain", "key", "inspect", plain).exit_code == 2
    opened = answer(
        "chain", "key", "inspect", "--open", tmp_path / "b.json", "--passphrase-file", word
    )
    assert opened == brought
    forms = answer("chain", "address", brought["filecoin"])
    assert forms["address"] == brought["address"]
    assert forms["filecoin_test"].startswith("t410f")
    assert meridian("chain", "address", "f3abc").exit_code == 2
