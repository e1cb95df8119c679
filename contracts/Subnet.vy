# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Subnet: the contract of a child chain
@custom:contract-name Subnet
@license Apache-2.0
@notice Takes jobs and adds them up as `job_sums` says, from accounts with stake. The stake was
        deposited with SubnetGateway on the parent chain; q of the validators sign that they saw it.
        Who gives stake back here can collect it there, under a checkpoint.
@dev The child's own coins have no value; they pay for gas only. Each account gets some with its
     first stake, from what the contract was created with.
"""

import eip712
import job_sums
import quorums

initializes: job_sums

exports: (
    job_sums.close_epoch,
    job_sums.evaluate,
    job_sums.open_epoch,
    job_sums.state_of,
    job_sums.job_range,
    job_sums.genesis,
    job_sums.epoch_seconds,
    job_sums.first_epoch,
    job_sums.grace_seconds,
    job_sums.value_max,
    job_sums.weights,
    job_sums.places,
)


struct Deposit:
    account: address
    amount: uint256


event Minted:
    number: indexed(uint64)
    account: indexed(address)
    amount: uint256

event Released:
    account: indexed(address)
    amount: uint256
    cumulative: uint256

event ValidatorsChanged:
    number: uint64
    validators: DynArray[address, quorums.MEMBERS_MAX]


DEPOSITS_PER_CALL: constant(uint256) = 128
MINT_TYPEHASH: constant(bytes32) = keccak256("Mint(uint64 first,bytes32 deposits)")
VALIDATORS_TYPEHASH: constant(bytes32) = keccak256("Validators(uint64 number,bytes32 validators)")

stake_min: public(immutable(uint256))
gas_gift: public(immutable(uint256))

stakes: public(HashMap[address, uint256])
# What an account has given back, since the beginning.
released: public(HashMap[address, uint256])
# How many deposits of the parent's gateway are here.
minted: public(uint64)
# How many times the validators changed.
validators_number: public(uint64)
members: DynArray[address, quorums.MEMBERS_MAX]


@deploy
@payable
def __init__(
    genesis_: uint256,
    epoch_seconds_: uint256,
    first_epoch_: uint64,
    grace_seconds_: uint256,
    value_max_: uint32,
    stake_min_: uint256,
    gas_gift_: uint256,
    validators_: DynArray[address, quorums.MEMBERS_MAX],
):
    """
    @notice Fixes the clock as `job_sums` says, and who signs. The value is for gas gifts.
    @param stake_min_ The least stake of an account that reports jobs.
    @param gas_gift_ What an account gets with its first stake.
    @param validators_ The members of the parent's Registry, ascending.
    """
    job_sums.__init__(genesis_, epoch_seconds_, first_epoch_, grace_seconds_, value_max_)
    assert len(validators_) != 0, "subnet: validators"
    stake_min = stake_min_
    gas_gift = gas_gift_
    self.members = validators_


@external
def mint(
    deposits: DynArray[Deposit, DEPOSITS_PER_CALL],
    signatures: DynArray[eip712.Sig, quorums.MEMBERS_MAX],
):
    """
    @notice Credits the next deposits, in the order in which the parent's gateway took them.
    @param deposits What q validators saw there.
    @param signatures Of Mint(number of the first deposit, keccak256 of the deposits' encoding).
    """
    number: uint64 = self.minted
    digest: bytes32 = eip712._digest(
        keccak256(abi_encode(MINT_TYPEHASH, number, keccak256(abi_encode(deposits))))
    )
    quorums._check(digest, self.members, len(self.members), signatures)
    for deposit: Deposit in deposits:
        log Minted(number=number, account=deposit.account, amount=deposit.amount)
        number += 1
        if self.stakes[deposit.account] == 0 and self.released[deposit.account] == 0:
            # Whoever cannot take it has gas of its own, or none: its stake is safe all the same.
            taken: bool = raw_call(
                deposit.account, b"", value=gas_gift, gas=0, revert_on_failure=False
            )
        self.stakes[deposit.account] += deposit.amount
    self.minted = number


@external
def change_validators(
    validators_: DynArray[address, quorums.MEMBERS_MAX],
    signatures: DynArray[eip712.Sig, quorums.MEMBERS_MAX],
):
    """
    @notice Follows the parent's Registry to its next members, by a quorum of those before.
    @param validators_ Ascending.
    @param signatures Of Validators(number of changes so far, keccak256 of the encoded list).
    """
    assert len(validators_) != 0, "subnet: validators"
    number: uint64 = self.validators_number
    digest: bytes32 = eip712._digest(
        keccak256(abi_encode(VALIDATORS_TYPEHASH, number, keccak256(abi_encode(validators_))))
    )
    quorums._check(digest, self.members, len(self.members), signatures)
    self.members = validators_
    self.validators_number = number + 1
    log ValidatorsChanged(number=number + 1, validators=validators_)


@external
def release(amount: uint256):
    """
    @notice Gives back some of the caller's stake; the next checkpoint lets it collect it on the
            parent chain.
    """
    assert amount != 0 and amount <= self.stakes[msg.sender], "subnet: stake"
    self.stakes[msg.sender] -= amount
    cumulative: uint256 = self.released[msg.sender] + amount
    self.released[msg.sender] = cumulative
    log Released(account=msg.sender, amount=amount, cumulative=cumulative)


@external
def submit_many(jobs: DynArray[job_sums.Job, job_sums.PER_CALL]):
    """
    @notice Stores jobs of the calling node in the open epoch: all of them, or none.
    """
    assert self.stakes[msg.sender] >= stake_min, "subnet: stake"
    word: uint256 = job_sums.intake
    start: uint256 = job_sums._start(word >> 128)
    end: uint256 = start + job_sums.epoch_seconds
    for job: job_sums.Job in jobs:
        job_sums._store(word & job_sums.U128_MASK, job, start, end)
        word += 1
    job_sums.intake = word


@external
@view
def validators() -> DynArray[address, quorums.MEMBERS_MAX]:
    """
    @notice Who signs, ascending.
    """
    return self.members
