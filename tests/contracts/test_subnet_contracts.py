"""A subnet's contract on the child chain and its gateway on the parent: who signs, what crosses, what is paid."""

from dataclasses import replace

import pytest
from alone_world import REFUSES_MONEY, AloneWorld, names
from contract_world import (
    ETHER,
    EVALUATOR_STAKE,
    EXIT_DELAY_S,
    FAR_S,
    GENESIS_S,
    NETWORK,
    account,
    key,
    refuses,
)

from meridian.contracts.calldata import (
    EvaluatorRegistration,
    ascending_words,
    path_words,
    signature_words,
)
from meridian.contracts.deployment import created_address
from meridian.contracts.statements import RegisterEvaluator
from meridian.models.subnet import (
    NO_CHECKPOINT,
    Books,
    Checkpoint,
    ChildState,
    Deposit,
    SettledEpoch,
    account_key,
    mint_digest,
    next_checkpoint,
    validators_digest,
)
from meridian.primitives.hashing import sha256

A, B = account("participant 0"), account("participant 1")
VALIDATORS = [key(f"validator {i}") for i in range(4)]
EPOCH_S = 600
FIRST = 3
PERIOD = 5
STAKE_MIN = 10
GIFT = 1_000


def signed(digest, signers):
    return ascending_words({one.address: one.sign(digest) for one in signers})


# ------------------------------------------------------------------------------------- the child


class Child(AloneWorld):
    def __init__(self):
        super().__init__()
        self.now_s = GENESIS_S
        members = sorted(one.address for one in VALIDATORS)
        terms = (GENESIS_S, EPOCH_S, FIRST, 0, 1, STAKE_MIN, GIFT)
        self.subnet = self.contract("Subnet", *terms, members)
        self.give(self.subnet.address, 10 * GIFT)

    def mint(self, first, deposits, signers):
        digest = mint_digest(self.subnet.domain, first, deposits)
        entries = [(one.account, one.amount) for one in deposits]
        return self.subnet.send("mint", entries, signed(digest, signers))


@pytest.fixture
def child():
    return Child()


def job(number):
    return (sha256(bytes([number])), GENESIS_S, GENESIS_S + 1, 1)


def test_stake_comes_with_a_quorum_and_lets_report(child):
    assert refuses(child.subnet.send, "submit_many", [job(1)], sender=A) == "subnet: stake"
    deposits = [Deposit(A, STAKE_MIN), Deposit(B, STAKE_MIN - 1)]
    assert refuses(child.mint, 0, deposits, VALIDATORS[:2]) == "quorum: too few"
    assert refuses(child.mint, 1, deposits, VALIDATORS[:3]) in {"quorum: signer", "quorum: order"}
    assert names(child.mint(0, deposits, VALIDATORS[:3])) == ["Minted", "Minted"]
    assert [child.balance(one) for one in (A, B)] == [GIFT, GIFT]
    child.subnet.send("submit_many", [job(1), job(2)], sender=A)
    assert refuses(child.subnet.send, "submit_many", [job(2)], sender=A) == "jobs: known"
    assert refuses(child.subnet.send, "submit_many", [job(1)], sender=B) == "subnet: stake"
    child.mint(2, [Deposit(B, 1)], VALIDATORS)
    assert child.balance(B) == GIFT  # only with its first stake
    child.subnet.send("submit_many", [job(1)], sender=B)
    child.now_s += EPOCH_S
    child.subnet.send("close_epoch")
    child.subnet.send("evaluate", FIRST, 3)
    assert [child.subnet.read("weights", FIRST, one) for one in (A, B)] == [2, 1]


def test_stake_is_given_back_and_no_more(child):
    child.mint(0, [Deposit(A, 30)], VALIDATORS)
    for amount in (0, 31):
        assert refuses(child.subnet.send, "release", amount, sender=A) == "subnet: stake"
    assert names(child.subnet.send("release", 10, sender=A)) == ["Released"]
    assert child.subnet.send("release", 20, sender=A).events[0].args["cumulative"] == 30
    assert child.subnet.read("stakes", A) == 0
    assert child.subnet.read("released", A) == 30
    child.mint(1, [Deposit(A, 1)], VALIDATORS)
    assert child.balance(A) == GIFT  # it was here before


def test_a_wallet_that_takes_no_coins_has_its_stake_all_the_same(child):
    wallet = child.deploy_code(REFUSES_MONEY)
    child.mint(0, [Deposit(wallet, 10)], VALIDATORS)
    assert child.subnet.read("stakes", wallet) == 10
    assert child.balance(wallet) == 0


def test_validators_follow_the_parents_by_a_quorum_of_those_before(child):
    others = sorted([key("another").address, VALIDATORS[0].address])
    digest = validators_digest(child.subnet.domain, 0, others)
    change = (child.subnet.send, "change_validators")
    assert refuses(*change, others, signed(digest, VALIDATORS[:2])) == "quorum: too few"
    assert refuses(*change, [], signed(digest, VALIDATORS)) == "subnet: validators"
    done = child.subnet.send("change_validators", others, signed(digest, VALIDATORS[:3]))
    assert names(done) == ["ValidatorsChanged"]
    assert child.subnet.read("validators_number") == 1
    assert [bytes.fromhex(one[2:]) for one in child.subnet.read("validators")] == others
    assert refuses(child.mint, 0, [Deposit(A, 1)], VALIDATORS[:3]) == "quorum: signer"
    child.mint(0, [Deposit(A, 1)], [key("another"), VALIDATORS[0]])
    terms = (GENESIS_S, EPOCH_S, FIRST, 0, 1, STAKE_MIN, GIFT)
    assert refuses(child.contract, "Subnet", *terms, []) == "subnet: validators"


def test_signatures_are_of_members_each_once_and_in_order(child):
    deposits = [Deposit(A, 10)]
    digest = mint_digest(child.subnet.domain, 0, deposits)
    good = signed(digest, VALIDATORS[:3])
    mint = (child.subnet.send, "mint", [(A, 10)])
    assert refuses(*mint, good[::-1]) == "quorum: order"
    assert refuses(*mint, [good[0], good[0], good[1]]) == "quorum: order"
    assert refuses(*mint, [(1, 2**255 - 1), *good[:2]]) == "quorum: signature"
    strangers = signed(digest, [*VALIDATORS[:2], key("stranger")])
    assert refuses(*mint, strangers) == "quorum: signer"


# ------------------------------------------------------------------------------------ the parent


class Parent(AloneWorld):
    def __init__(self):
        super().__init__()
        self.now_s = GENESIS_S
        self.places = [created_address(self.admin, nonce) for nonce in (0, 1)]
        terms = (NETWORK, GENESIS_S, EPOCH_S, FIRST, 0, EVALUATOR_STAKE, EXIT_DELAY_S)
        self.registry = self.contract("Registry", *terms, self.places[1], self.places[1])
        self.gateway = self.contract("SubnetGateway", self.registry.address, PERIOD)
        for one in VALIDATORS:
            says = RegisterEvaluator(NETWORK, one.address, bytes(32), "a:1", 0, FAR_S)
            entry = EvaluatorRegistration(says, one.sign(says.digest(self.registry.domain)))
            self.registry.send("register_evaluator", *entry.arguments, value=EVALUATOR_STAKE)
        self.before, self.digest, self.books = None, NO_CHECKPOINT, Books.empty()

    def next(self, height, epoch=None, released=None, minted=0):
        state = ChildState(
            height=height,
            block_hash=sha256(height.to_bytes(8, "big")),
            minted=minted,
            released=released or {},
            epoch=epoch,
        )
        return next_checkpoint(self.before, self.digest, self.books, state)

    def commit(self, checkpoint, signers=VALIDATORS):
        digest = checkpoint.digest(self.gateway.domain)
        return self.gateway.send("commit", checkpoint.arguments, signed(digest, signers))

    def take(self, made):
        checkpoint, books = made
        done = self.commit(checkpoint)
        self.before, self.books = checkpoint, books
        self.digest = checkpoint.digest(self.gateway.domain)
        assert done.events[-1].args["digest"] == self.digest
        return done

    def proof(self, claims, who):
        found = claims.proof(account_key(who))
        return (who, found.cumulative, found.index, found.size, path_words(found.path))


@pytest.fixture
def parent():
    return Parent()


def settled(budget=ETHER, weights=None, jobs=4):
    weights = weights or {A: 1, B: 3}
    return SettledEpoch(jobs=jobs, total=sum(weights.values()), weights=weights, budget=budget)


def test_a_checkpoint_settles_an_epoch_and_nodes_collect(parent):
    gateway = parent.gateway
    gateway.send("fund", FIRST, value=ETHER)
    made = parent.next(PERIOD, settled())
    assert refuses(parent.commit, made[0]) == "gateway: early"
    parent.now_s += EPOCH_S
    assert refuses(parent.commit, made[0], VALIDATORS[:2]) == "quorum: too few"
    assert names(parent.take(made)) == ["EpochOpened", "Checkpointed"]
    assert gateway.read("last")[0] == 1
    assert refuses(gateway.send, "fund", FIRST, value=1) == "gateway: settled"
    proofs = [parent.proof(parent.books.rewards, one) for one in (A, B)]
    assert names(gateway.send("claim", proofs)) == ["Claimed", "Claimed"]
    assert [parent.balance(one) for one in (A, B)] == [ETHER // 4, 3 * ETHER // 4]
    assert names(gateway.send("claim", proofs)) == []  # paid already
    gateway.send("fund", FIRST + 1, value=ETHER)
    parent.now_s += EPOCH_S
    parent.take(parent.next(2 * PERIOD, settled(weights={A: 1})))
    gateway.send("claim", [parent.proof(parent.books.rewards, A)])
    assert parent.balance(A) == ETHER // 4 + ETHER
    assert refuses(gateway.send, "claim", proofs[:1]) == "gateway: sums"  # of the tree before


def test_a_claim_pays_its_account_alone(parent):
    wallet = parent.deploy_code(REFUSES_MONEY)
    parent.gateway.send("fund", FIRST, value=ETHER)
    parent.now_s += EPOCH_S
    parent.take(parent.next(PERIOD, settled(weights={A: 1, wallet: 1})))
    own = parent.proof(parent.books.rewards, A)
    assert refuses(parent.gateway.send, "claim", [(B, *own[1:])]) == "gateway: proof"
    assert refuses(parent.gateway.send, "claim", [(A, 5, *own[2:])]) == "gateway: sums"
    assert refuses(parent.gateway.send, "claim", [(*own[:4], [])]) == "sum tree: path"
    assert names(
        parent.gateway.send("claim", [parent.proof(parent.books.rewards, wallet), own])
    ) == ["Claimed"]
    assert parent.gateway.read("claimed", wallet) == 0  # it may still come to take money


def test_what_a_checkpoint_may_not_say(parent):
    parent.gateway.send("fund", FIRST, value=ETHER)
    parent.gateway.send("deposit", [A], value=100)
    parent.now_s += EPOCH_S
    good, _ = parent.next(PERIOD, settled(), {A: 100}, minted=1)
    wrong = {
        "gateway: previous": replace(good, previous=bytes([1] * 32)),
        "gateway: number": replace(good, number=2),
        "gateway: period": replace(good, height=PERIOD - 1),
        "gateway: minted": replace(good, minted=2),
        "gateway: releases": replace(good, release_total=101),
        "gateway: settled": replace(good, settled=2),
        "gateway: budget": replace(good, budget=ETHER + 1),
        "gateway: rewards": replace(good, reward_total=ETHER + 1),
    }
    for reason, checkpoint in wrong.items():
        assert refuses(parent.commit, checkpoint) == reason
    assert refuses(parent.commit, replace(good, settled=0)) == "gateway: rewards"
    parent.take(parent.next(PERIOD, settled(), {A: 100}, minted=1))
    second, _ = parent.next(2 * PERIOD, None, {A: 100}, minted=1)
    assert refuses(parent.commit, replace(second, minted=0)) == "gateway: minted"
    assert refuses(parent.commit, replace(second, release_total=99)) == "gateway: releases"
    assert refuses(parent.commit, replace(second, settled=2)) == "gateway: early"


def test_stake_goes_out_and_comes_back(parent):
    gateway = parent.gateway
    for accounts, value in (([], 1), ([A], 0), ([A, B], 3)):
        assert refuses(gateway.send, "deposit", accounts, value=value) == "gateway: deposit"
    assert names(gateway.send("deposit", [A, B], value=200)) == ["Deposited", "Deposited"]
    assert (gateway.read("deposits"), gateway.read("deposited")) == (2, 200)
    parent.take(parent.next(PERIOD, None, {A: 60}, minted=2))
    own = parent.proof(parent.books.releases, A)
    assert names(gateway.send("withdraw", own)) == ["Withdrawn"]
    assert parent.balance(A) == 60
    assert refuses(gateway.send, "withdraw", own) == "gateway: nothing"
    assert refuses(gateway.send, "withdraw", (B, *own[1:])) == "gateway: proof"
    wallet = parent.deploy_code(REFUSES_MONEY)
    gateway.send("deposit", [wallet], value=50)
    parent.take(parent.next(2 * PERIOD, None, {A: 100, wallet: 50}, minted=3))
    refused = parent.proof(parent.books.releases, wallet)
    assert refuses(gateway.send, "withdraw", refused) == "gateway: payment"
    gateway.send("withdraw", parent.proof(parent.books.releases, A))
    assert parent.balance(A) == 100


def test_who_signs_two_checkpoints_with_a_number_loses_its_stake_and_its_voice(parent):
    gateway, liar = parent.gateway, VALIDATORS[0]
    one, _ = parent.next(PERIOD)
    other = replace(one, height=PERIOD + 1)

    def signatures(first, second, signers=(liar, liar)):
        pairs = zip((first, second), signers, strict=True)
        return [signature_words(who.sign(what.digest(gateway.domain))) for what, who in pairs]

    def slash(first, second, words):
        return gateway.send("slash", first.arguments, second.arguments, words)

    assert refuses(slash, one, one, signatures(one, one)) == "gateway: same"
    later = replace(other, number=2)
    assert refuses(slash, one, later, signatures(one, later)) == "gateway: same"
    two = signatures(one, other, (liar, VALIDATORS[1]))
    assert refuses(slash, one, other, two) == "gateway: signature"
    assert names(slash(one, other, signatures(one, other))) == ["Slashed", "Equivocated"]
    assert gateway.read("funds", FIRST) == EVALUATOR_STAKE
    assert refuses(slash, one, other, signatures(one, other)) == "gateway: nothing"
    strangers = (key("x"), key("x"))
    assert refuses(slash, one, other, signatures(one, other, strangers)) == "gateway: nothing"


def test_a_slashed_members_signature_does_not_count(parent):
    parent.registry.send("open_epochs", FIRST)
    one, _ = parent.next(PERIOD)
    other = replace(one, height=PERIOD + 1)
    liar = VALIDATORS[0]
    words = [
        signature_words(liar.sign(what.digest(parent.gateway.domain))) for what in (one, other)
    ]
    parent.gateway.send("slash", one.arguments, other.arguments, words)
    assert refuses(parent.commit, one, VALIDATORS) == "quorum: signer"
    assert refuses(parent.commit, one, VALIDATORS[1:3]) == "quorum: too few"
    parent.commit(one, VALIDATORS[1:])


def test_who_may_call_what_is_for_the_registry(parent):
    assert refuses(parent.pay, parent.gateway.address, 1) == "gateway: sender"
    assert refuses(parent.gateway.send, "note_slashing") == "gateway: sender"
    assert parent.gateway.read("committee_rule", 1) == (0, 0)
    assert (
        refuses(parent.contract, "SubnetGateway", parent.registry.address, 1) == "gateway: wiring"
    )


def test_the_checkpoint_of_the_contract_is_that_of_the_statement(parent):
    parent.take(parent.next(PERIOD))
    stored = Checkpoint(*parent.gateway.read("last"))
    assert stored == parent.before
    assert parent.gateway.read("last_digest") == stored.digest(parent.gateway.domain)
