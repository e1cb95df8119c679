# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Stakes and credits of the nodes of the summary model
@custom:contract-name summary_nodes
@license Apache-2.0
@notice A node registers with a stake and its operator's signature, and leaves after a delay in which
        what it has committed to can still be challenged. Nobody takes a stake away but a challenge
        that was not answered: half goes to the challenger, half to nobody, so who challenges itself
        loses half. What anybody gets in this way it collects itself.
@dev Packed words:
       identity    operator 160 | number 32 | exit_at 63 | slashed 1
       money       payee 160 | stake 96
       counts      nodes that may commit 64 | nodes ever registered 64
"""

import eip712


struct Registration:
    node_key: bytes32
    operator: address
    payee: address
    deadline: uint64
    r: uint256
    vs: uint256


event NodeRegistered:
    node_key: indexed(bytes32)
    operator: indexed(address)
    payee: address
    stake: uint256

event NodeLeft:
    node_key: indexed(bytes32)
    exit_at: uint64


PER_CALL: constant(uint256) = 64
DELAY_MAX: constant(uint64) = 2**32
ADDRESS_MASK: constant(uint256) = 2**160 - 1
NAME_MASK: constant(uint256) = 2**192 - 1
U32_MASK: constant(uint256) = 2**32 - 1
U63_MASK: constant(uint256) = 2**63 - 1
U96_MASK: constant(uint256) = 2**96 - 1
ONE_EVER: constant(uint256) = 2**64
SLASHED: constant(uint256) = 2**255

NODE_TYPEHASH: constant(bytes32) = keccak256(
    "RegisterNode(bytes32 network,bytes32 nodeKey,address operator,address payee,uint64 nonce,uint64 deadline)"
)

network: public(immutable(bytes32))
exit_seconds: public(immutable(uint64))
stake_min: public(immutable(uint256))

identities: HashMap[bytes32, uint256]
moneys: HashMap[bytes32, uint256]
counts: uint256
# What somebody may take out with `collect`: bonds, rewards, stakes.
credit: public(HashMap[address, uint256])


@deploy
def __init__(network_: bytes32, exit_seconds_: uint64, stake_min_: uint256):
    """
    @notice Pins the network and what a node has to put down, and for how long.
    """
    assert network_ != empty(bytes32), "summaries: network"
    assert exit_seconds_ != 0 and exit_seconds_ <= DELAY_MAX, "summaries: windows"
    network = network_
    exit_seconds = exit_seconds_
    stake_min = stake_min_



@external
@payable
def register_nodes(registrations: DynArray[Registration, PER_CALL]):
    """
    @notice Registers nodes, each signed for by its operator; the value is shared equally as stake.
    @dev Anyone may relay. A key registers once, for ever, so the signed nonce is 0.
    """
    n: uint256 = len(registrations)
    assert n != 0, "summaries: nothing"
    stake: uint256 = msg.value // n
    assert (
        stake * n == msg.value and stake >= stake_min and stake <= U96_MASK
    ), "summaries: stake"
    counts: uint256 = self.counts
    assert (counts >> 64) + n <= U32_MASK, "summaries: full"
    for entry: Registration in registrations:
        assert self.identities[entry.node_key] == 0, "summaries: node exists"
        assert entry.payee != empty(address), "summaries: payee"
        assert block.timestamp <= convert(entry.deadline, uint256), "summaries: deadline"
        nonce: uint64 = 0
        struct_hash: bytes32 = keccak256(
            abi_encode(
                NODE_TYPEHASH,
                network,
                entry.node_key,
                entry.operator,
                entry.payee,
                nonce,
                entry.deadline,
            )
        )
        self._check_signer(entry.operator, struct_hash, entry.r, entry.vs)
        self.identities[entry.node_key] = convert(entry.operator, uint256) | (
            (counts >> 64) << 160
        )
        counts += ONE_EVER + 1
        self.moneys[entry.node_key] = convert(entry.payee, uint256) | (stake << 160)
        log NodeRegistered(
            node_key=entry.node_key, operator=entry.operator, payee=entry.payee, stake=stake
        )
    self.counts = counts


@external
def leave_node(node_key: bytes32):
    """
    @notice Takes a node out of epochs that it has not committed; its stake stays until the exit
            time, because what it has committed can still be challenged. By its operator.
    """
    identity: uint256 = self._active(node_key)
    assert self._operator(identity) == msg.sender, "summaries: operator"
    exit_at: uint256 = block.timestamp + convert(exit_seconds, uint256)
    self.identities[node_key] = identity | (exit_at << 192)
    self.counts -= 1
    log NodeLeft(node_key=node_key, exit_at=convert(exit_at, uint64))


@external
def withdraw_node(node_key: bytes32):
    """
    @notice Credits a left node's stake to its operator. Anyone may call.
    """
    identity: uint256 = self.identities[node_key]
    exit_at: uint256 = (identity >> 192) & U63_MASK
    assert exit_at != 0 and block.timestamp >= exit_at, "summaries: locked"
    money: uint256 = self.moneys[node_key]
    self.moneys[node_key] = money & ADDRESS_MASK
    self.credit[self._operator(identity)] += money >> 160


@external
def collect():
    """
    @notice Pays the caller its credit.
    """
    amount: uint256 = self.credit[msg.sender]
    assert amount != 0, "summaries: nothing"
    self.credit[msg.sender] = 0
    self._pay(msg.sender, amount)


@internal
def _slash(node_key: bytes32, challenger: address) -> uint256:
    """
    @notice Takes a node's stake and bars it for good.
    @return The stake, of which the challenger is credited half.
    """
    identity: uint256 = self.identities[node_key]
    if identity >> 192 == 0:
        self.counts -= 1
    self.identities[node_key] = (identity & NAME_MASK) | SLASHED
    money: uint256 = self.moneys[node_key]
    stake: uint256 = money >> 160
    self.moneys[node_key] = money & ADDRESS_MASK
    self.credit[challenger] += stake // 2
    return stake


@internal
@view
def _active(node_key: bytes32) -> uint256:
    """
    @notice The identity of a node that may commit.
    """
    identity: uint256 = self.identities[node_key]
    assert identity != 0, "summaries: no node"
    assert identity >> 192 == 0, "summaries: left"
    return identity


@internal
@pure
def _operator(identity: uint256) -> address:
    return convert(identity & ADDRESS_MASK, address)


@internal
@pure
def _number(identity: uint256) -> uint256:
    """
    @notice How many nodes had been registered before this one.
    """
    return (identity >> 160) & U32_MASK


@internal
@view
def _check_signer(account: address, struct_hash: bytes32, r: uint256, vs: uint256):
    signer: address = eip712._signer(eip712._digest(struct_hash), r, vs)
    assert signer != empty(address) and signer == account, "summaries: signature"


@internal
def _pay(account: address, amount: uint256):
    """
    @dev Called last, when all state is written: a re-entering account finds nothing left to take.
    """
    paid: bool = raw_call(account, b"", value=amount, revert_on_failure=False)
    assert paid, "summaries: payment"


@external
@view
def node(node_key: bytes32) -> (address, address, uint256, uint64, bool):
    """
    @notice A node's operator, payee, stake, exit time (0 = has not left), and whether it was slashed.
    """
    identity: uint256 = self.identities[node_key]
    money: uint256 = self.moneys[node_key]
    return (
        self._operator(identity),
        convert(money & ADDRESS_MASK, address),
        money >> 160,
        convert((identity >> 192) & U63_MASK, uint64),
        identity & SLASHED != 0,
    )
