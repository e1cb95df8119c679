"""`meridian chain register | self-commit | referee | dispute`: what one signs and another sends, and what is judged."""

import json
from collections.abc import Iterator

import pytest
from chain_process import COIN, KEYS, answer, meridian
from court_world import (
    AGGREGATOR,
    BOND,
    EPOCH,
    EVALUATOR,
    REFEREES,
    RESPONSE_S,
    SEALING_S,
    SPONSOR,
    VOTING_S,
    Court,
    make_court,
)
from village_jobs import jobs_of

from meridian.measure.columns import write_segment
from meridian.measure.manifest import Manifest, Nodes
from meridian.node.measure.publication import Publication
from meridian.primitives.ids import address_text, node_key
from meridian.scenario.jobs import NODES

POOR = KEYS["poor"]


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    made = make_court(tmp_path_factory.mktemp("court"))
    try:
        yield made
    finally:
        made.chain.close()


def refused(*arguments: object) -> tuple[int, str]:
    result = meridian(*arguments)
    assert result.exit_code != 0, result.output
    return result.exit_code, result.output


def test_members_without_coins_are_registered_by_whoever_pays(court):
    root, registry = court.root, court.view.registry
    sign = ["chain", "register", "sign"]
    node = [*sign, "node", "--node", "anna", "--nonce", "0"]
    nowhere = ["--rpc-url", "http://127.0.0.1:1"]  # no chain is needed
    assert meridian(*node, *nowhere, *court.signs("poor", "node.json")).exit_code == 0
    send = ["chain", "register", "send", root / "node.json", *court.as_("sponsor")]
    tried = answer(*send, "--dry-run")
    assert (tried["dry_run"], tried["value_atto"]) == (True, str(COIN // 10))
    done = answer(*send)
    assert (done["sent"], done["node"]) == (True, "anna")
    operator, payee, stake, _ = registry.read("node", node_key("anna"))
    assert (operator, payee, stake) == (POOR.address, POOR.address, COIN // 10)
    again = answer(*send)
    assert (again["sent"], again["tx_hash"]) == (False, done["tx_hash"])
    other = [*sign, "node", "--node", "bert", "--payee", address_text(EVALUATOR.address)]
    answer(*other, "--nonce", "0", *court.signs("poor", "other.json"))
    send[3] = root / "other.json"
    assert refused(*send)[0] == 2
    assert "nonce: 0 was used by another statement" in refused(*send)[1]
    answer(*other, *court.signs("poor", "other.json"))  # reads the nonce
    assert answer(*send)["sent"] is True

    link = ["--link-key", "ab" * 32, "--endpoint", "127.0.0.1:9000"]
    answer(*sign, "evaluator", *link, "--nonce", 0, *court.signs("evaluator", "evaluator.json"))
    send[3] = root / "evaluator.json"
    before = court.balance(EVALUATOR.address)
    assert answer(*send)["sent"] is True
    assert answer(*send)["sent"] is False
    assert registry.read("evaluator", EVALUATOR.address)[0] == COIN
    assert court.balance(EVALUATOR.address) == before
    long = refused(*sign, "evaluator", *link[:3], "x" * 65, *court.signs("poor", "long.json"))
    assert long[0] == 2


def test_a_node_that_was_left_out_commits_itself(court):
    root, commitments = court.root, court.view.commitments
    segment = root / "anna.parquet"
    segment.write_bytes(write_segment(jobs_of(("anna",))))
    sign = ["chain", "self-commit", "sign", "--node", "anna", "--epoch", EPOCH]
    signed = answer(*sign, "--segment", segment, *court.signs("poor", "own.json"))
    assert signed["jobs"] == "3"
    # Exactly these jobs are in the publication, so the root is the one that the node's row carries.
    publication = Publication(root / "measure" / "public")
    [committed] = court.view.committed()
    nodes = Nodes.decode(
        publication.get(Manifest.decode(publication.get(committed.manifest)).nodes)
    )
    assert signed["root"] == nodes.rows[nodes.ids.index("anna")].tobytes()[60:].hex()

    mixed = root / "mixed.parquet"
    mixed.write_bytes(write_segment(jobs_of(NODES)))
    code, text = refused(*sign, "--segment", mixed, *court.signs("poor", "mixed.json"))
    assert (code, "holds jobs of" in text) == (2, True)
    assert refused(*sign, *court.signs("poor", "none.json"))[0] == 2
    other = [*sign[:-1], EPOCH + 1, "--segment", segment, *court.signs("poor", "none.json")]
    assert "3 jobs do not belong to epoch 2" in refused(*other)[1]
    plain = [*sign, "--root", signed["root"], "--segment-digest", signed["segment"]]
    assert refused(*plain[:-3], *court.signs("poor", "none.json"))[0] == 2
    assert answer(*plain, *court.signs("poor", "plain.json"))["root"] == signed["root"]
    answer(*plain[:-1], "ab" * 32, *court.signs("poor", "else.json"))
    answer(*plain, *court.signs("operator", "stranger.json"))
    answer(*plain, "--deadline", 9, *court.signs("poor", "over.json"))

    def send(name: str) -> list[object]:
        return ["chain", "self-commit", "send", root / name, *court.as_("sponsor")]

    assert refused(*send("stranger.json"))[0] == 2
    assert "deadline" in refused(*send("over.json"))[1]
    assert answer(*send("own.json"), "--dry-run")["dry_run"] is True
    done = answer(*send("own.json"))
    assert (done["sent"], done["epoch"]) == (True, str(EPOCH))
    assert commitments.read("self_committed", EPOCH, node_key("anna")) is True
    for name in ("own.json", "plain.json"):  # the same jobs, said twice
        again = answer(*send(name))
        assert (again["sent"], again["tx_hash"]) == (False, done["tx_hash"])
    code, text = refused(*send("else.json"))
    assert (code, "committed itself to other jobs" in text) == (2, True)


def test_a_delegate_is_set_and_cleared_as_often_as_it_is_wished(court):
    me, rewards = court.as_("sponsor"), court.view.rewards
    one, other = (address_text(key.address) for key in REFEREES[:2])

    def delegate(*words: object) -> bool:
        return bool(answer("chain", "delegate", *words, *me)["sent"])

    assert not delegate("clear")  # nobody is set
    for account in (one, other, one):
        assert delegate("set", account)
        assert not delegate("set", account)
    assert delegate("clear")
    assert not delegate("clear")
    assert delegate("set", one)
    assert len(rewards.events("DelegateSet")) == 5
    shown = ["chain", "delegate", "show", address_text(SPONSOR.address), "--data-dir", court.root]
    assert answer(*shown)["delegate"] == one
    # A name that was signed before the payee chose otherwise by itself still counts: the nonce is unused.
    sign = ["chain", "delegate", "sign", other, *court.signs("sponsor", "delegate.json")]
    assert answer(*sign)["nonce"] == "0"
    send = ["chain", "delegate", "send", court.root / "delegate.json", *court.as_("evaluator")]
    assert answer(*send)["sent"] is True
    assert delegate("set", one)
    again = answer(*send)  # is done, and is not done again although another is the delegate now
    assert again["sent"] is False
    assert "already done in 0x" in again["done"]
    assert answer(*shown)["delegate"] == one
    answer(*sign, "--nonce", 0, "--deadline", 2_000_000_000)  # the same wish, signed anew
    code, text = refused(*send)
    assert (code, "0 was used by another statement" in text) == (2, True)
    answer(*sign, "--nonce", 7)
    code, text = refused(*send)
    assert (code, "7 is not the next" in text) == (2, True)


def challenge(court: Court, *options: object) -> dict[str, str]:
    command = ["chain", "dispute", "challenge", "--epoch", EPOCH, *options]
    done = answer(*command, *court.as_("sponsor"))
    assert done["sent"] is True
    assert answer(*command, *court.as_("sponsor"))["sent"] is False
    assert refused(*command, *court.as_("evaluator")) == (
        7,
        "meridian: the contract refused: disputes: challenged\n",
    )
    return done


@pytest.mark.parametrize("options", [["--node-index", 4], ["--node-index", 2, "--job-index", 1]])
def test_an_aggregator_answers_a_challenge_from_what_it_published(court, options):
    opened = challenge(court, *options)
    [shown] = answer("chain", "status", "--data-dir", court.root)["disputes"]["challenges"]
    assert shown["challenge_id"] == "0x" + opened["challenge"]
    assert (
        shown["challenge_id"][:10] in meridian("chain", "status", "--data-dir", court.root).output
    )
    name = ["--challenge", shown["challenge_id"][:12]]
    early = refused("chain", "dispute", "resolve", *name, *court.as_("sponsor"))
    assert (early[0], "disputes: early" in early[1]) == (7, True)
    command = ["chain", "dispute", "answer", *name, *court.as_("operator")]
    assert answer(*command, "--dry-run")["dry_run"] is True
    before = court.balance(AGGREGATOR.address)
    done = answer(*command)
    assert court.balance(AGGREGATOR.address) == before + BOND - int(done["fee_atto"])
    assert answer(*command)["sent"] is False
    ended = answer("chain", "dispute", "resolve", *name, *court.as_("sponsor"))
    assert (ended["sent"], ended["how"], ended["tx_hash"]) == (False, "answered", done["tx_hash"])


def test_challenges_that_cannot_be_are_refused(court):
    def code(*options: object) -> int:
        return refused("chain", "dispute", *options, *court.as_("sponsor"))[0]

    assert code("challenge", "--epoch", EPOCH, "--node-index", 5) == 7
    assert code("challenge", "--epoch", EPOCH, "--node-index", 5, "--job-index", 0) == 3
    assert code("challenge", "--epoch", EPOCH + 1, "--node-index", 0) == 3
    stranger = address_text(EVALUATOR.address)
    assert code("challenge", "--epoch", EPOCH, "--aggregator", stranger, "--node-index", 0) == 3
    assert code("answer", "--challenge", "ab" * 32) == 3
    assert code("answer", "--challenge", "0x1234") == 2


def test_referees_put_a_deposit_down_and_take_it_back(court):
    me = court.as_("referee-3")
    deposit = ["chain", "referee", "deposit"]
    part = answer(*deposit, "--amount", 2, *me)
    assert part["sent"] is True
    assert answer(*deposit, "--amount", 2, *me)["sent"] is False
    assert answer(*deposit, *me)["sent"] is True  # what is lacking
    assert court.referees.read("deposits", REFEREES[3].address) == 7 * COIN
    assert answer(*deposit, *me)["sent"] is False
    assert answer(*deposit, "--amount", 2, "--again", "more", *me)["sent"] is True
    assert refused(*deposit, "--amount", 1, *court.as_("sponsor"))[0] == 7
    withdraw = ["chain", "referee", "withdraw", *me]
    assert answer(*withdraw)["sent"] is True
    assert answer(*withdraw)["sent"] is False
    assert answer(*deposit, "--amount", 2, *me)["sent"] is True  # after it was gone, another wish
    for at in range(3):
        assert answer(*deposit, *court.as_(f"referee-{at}"))["sent"] is True
    shown = answer("chain", "referee", "list", "--data-dir", court.root)
    counts = {one["referee"]: one["counts"] for one in shown["referees"]}
    assert counts == {address_text(one.address): one is not REFEREES[3] for one in REFEREES}
    assert (shown["quorum"], shown["stake_min_atto"]) == (3, str(7 * COIN))
    text = meridian("chain", "referee", "list", "--data-dir", court.root).output
    assert "too little to count" in text


def escalate(court: Court, accusation: str) -> int:
    if not court.view.registry.read("epoch_set", EPOCH):  # a process of the network opens epochs
        from meridian.node.chain.sender import Sender

        sender = Sender(court.chain.chain, EVALUATOR, court.root / "open.sqlite")
        data = court.view.registry.encode("open_epochs", EPOCH)
        sender.transact(court.view.registry.address, data, purpose="open")
        sender.close()
    where = ["--epoch", EPOCH, "--accusation", accusation * 32, "--uri", "https://example.org/a"]
    assert answer("chain", "dispute", "escalate", *where, *court.as_("sponsor"))["sent"] is True
    return int(court.disputes.read("case_count"))


def rule(court: Court, case: int, *says: object, by: int, out: str) -> None:
    command = ["chain", "referee", "rule", "--case", case, *says]
    answer(*command, *court.signs(f"referee-{by}", out))


def test_a_quorum_of_signed_rulings_decides_a_case(court):
    case = escalate(court, "11")
    status = meridian("chain", "status", "--data-dir", court.root).output
    assert f"open case {case}" in status
    guilty = ["--guilty", address_text(EVALUATOR.address)]
    for by in range(4):
        rule(court, case, *guilty, by=by, out=f"guilty-{by}.json")
    rule(court, case, "--nothing", by=1, out="nothing-1.json")
    sign = ["chain", "referee", "rule", "--case", case, *court.signs("referee-0", "no.json")]
    assert refused(*sign)[0] == 2  # says nothing
    assert refused(*sign, "--nothing", "--voids")[0] == 2
    assert refused(*sign, "--nothing", "--epoch", EPOCH + 1)[0] == 2
    stranger = address_text(EVALUATOR.address)
    assert refused(*sign, "--wrong", stranger)[0] == 3  # has no commitment
    sign[4] = case + 1
    assert refused(*sign, "--nothing")[0] == 3  # no such case
    offline = [*sign, "--nothing", "--epoch", EPOCH, "--accusation", "22" * 32]
    assert meridian(*offline, "--rpc-url", "http://127.0.0.1:1").exit_code == 0

    def decide(*names: str) -> list[object]:
        files = [court.root / name for name in names]
        return ["chain", "referee", "decide", *files, *court.as_("sponsor")]

    for names, reason in [
        (("guilty-0.json", "guilty-1.json"), "2 referees signed, 3 are needed"),
        (("guilty-0.json", "guilty-0.json", "guilty-1.json"), "2 referees signed"),
        (("guilty-0.json", "nothing-1.json"), "is another ruling"),
        (("guilty-0.json", "guilty-1.json", "guilty-3.json"), "has a deposit of 2;"),
    ]:
        code, text = refused(*decide(*names))
        assert (code, reason in text) == (2, True), text
    assert refused(*decide("no.json"))[0] == 3  # a case that never was
    whole = [f"guilty-{by}.json" for by in range(3)]
    assert answer(*decide(*whole), "--dry-run")["case"] == str(case)
    done = answer(*decide(*whole))
    assert done["sent"] is True
    again = answer(*decide(*whole))
    assert (again["sent"], again["tx_hash"], again["votes"]) == (False, done["tx_hash"], "3")
    assert court.view.registry.read("is_slashed", EVALUATOR.address) is True
    busy = refused("chain", "referee", "withdraw", *court.as_("referee-0"))
    assert (busy[0], "referees: busy" in busy[1]) == (7, True)

    # Referee 1 had signed the opposite too.
    def show(*names: str) -> list[object]:
        files = [court.root / name for name in names]
        return ["chain", "referee", "contradiction", *files, *court.as_("sponsor")]

    assert refused(*show("guilty-1.json", "guilty-1.json"))[0] == 2
    assert refused(*show("guilty-0.json", "nothing-1.json"))[0] == 2
    assert refused(*show("guilty-1.json"))[0] == 2
    before = court.balance(SPONSOR.address)
    lost = answer(*show("guilty-1.json", "nothing-1.json"))
    half = 7 * COIN // 2
    assert court.balance(SPONSOR.address) == before + half - int(lost["fee_atto"])
    assert answer(*show("nothing-1.json", "guilty-1.json"))["sent"] is False
    assert court.referees.read("deposits", REFEREES[1].address) == 0


def test_a_ruling_names_a_wrong_commitment(court):
    case = escalate(court, "33")
    answer("chain", "referee", "deposit", *court.as_("referee-1"))  # after it was lost
    wrong = ["--wrong", address_text(AGGREGATOR.address), "--voids"]
    for by in range(3):
        rule(court, case, *wrong, by=by, out=f"wrong-{by}.json")
    says = json.loads((court.root / "wrong-0.json").read_text())["statement"]
    [committed] = court.view.committed()
    assert says["wrong"][0]["root"] == "0x" + committed.root.hex()
    files = [court.root / f"wrong-{by}.json" for by in range(3)]
    # Nothing of it is lost by trying: the commitment is still needed below.
    tried = answer("chain", "referee", "decide", *files, *court.as_("sponsor"), "--dry-run")
    assert tried["wrong"] == f"the commitment of {address_text(AGGREGATOR.address)}"


def test_a_case_on_which_nobody_rules_is_dismissed(court):
    case = escalate(court, "44")
    command = ["chain", "referee", "dismiss", "--case", case, *court.as_("evaluator")]
    early = refused(*command)
    assert (early[0], "referees: early" in early[1]) == (7, True)
    court.chain.later(VOTING_S + 1)
    done = answer(*command)
    assert done["sent"] is True
    again = answer(*command)
    assert (again["sent"], again["votes"]) == (False, "0")
    assert refused("chain", "referee", "dismiss", "--case", 99, *court.as_("sponsor"))[0] == 3


def test_silence_convicts_an_aggregator(court):
    opened = challenge(court, "--node-index", 0)
    court.chain.later(RESPONSE_S + 1)
    name = ["--challenge", opened["challenge"]]
    late = refused("chain", "dispute", "answer", *name, *court.as_("operator"))
    assert (late[0], "disputes: late" in late[1]) == (7, True)
    command = ["chain", "dispute", "resolve", *name, *court.as_("sponsor")]
    done = answer(*command)
    assert (done["sent"], done["row"]) == (True, "node 0")
    assert answer(*command)["how"] == "resolved"
    assert court.view.commitments.read("standing", EPOCH) == 0
    [verdict] = [
        one.args
        for one in court.disputes.events("Verdict")
        if one.args["guilty"] == AGGREGATOR.address
    ]
    assert verdict["winner"] == SPONSOR.address


def test_the_time_for_nodes_to_commit_themselves_ends(court):
    court.chain.later(SEALING_S)
    sign = ["chain", "self-commit", "sign", "--node", "bert", "--epoch", EPOCH]
    plain = ["--root", "00" * 56, "--segment-digest", "ab" * 32]
    answer(*sign, *plain, *court.signs("poor", "late.json"))
    late = refused("chain", "self-commit", "send", court.root / "late.json", *court.as_("sponsor"))
    assert (late[0], "commitments: late" in late[1]) == (7, True)
