"""The contracts on an in-memory EVM, with small actors around them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from boa.environment import Env
from boa.vm.py_evm import Sha3PreimageTracer, SstoreTracer
from eth_abi import decode, encode
from quick_evm import hasten

from meridian.contracts.artefact import NAMES, load
from meridian.contracts.calldata import (
    Claim,
    EvaluatorRegistration,
    NodeRegistration,
    ascending_words,
    signature_words,
)
from meridian.contracts.deployment import DisputeTerms, Parameters, Step, Terms, plan
from meridian.contracts.statements import RegisterEvaluator, RegisterNode, Transmission
from meridian.primitives import sumtree
from meridian.primitives.eip712 import Domain, StructType, digest, keccak
from meridian.primitives.hashing import CLAIM_LEAF, CLAIM_NODE, REWARD_ROOT, sha256, tagged
from meridian.primitives.ids import Address, NodeKey, address_text, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum

GENESIS_S = 1_700_000_000
EPOCH_S = 600
FIRST = 10
EXIT_DELAY_S = 3600
CHALLENGE_S = 900
NODE_STAKE = 10
EVALUATOR_STAKE = 1000
NETWORK = network_id("test")
FUNCTION = sha256(b"function")
PARAMETERS = sha256(b"parameters")
FAR_S = GENESIS_S + 10**9
RICH = 10**30
TERMS = Terms()
ETHER = 10**18
SHA3, SSTORE = 0x20, 0x55

REPORT = StructType(
    "Report",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("commitment", "bytes32"),
        ("functionDigest", "bytes32"),
        ("parametersDigest", "bytes32"),
        ("inputsRoot", "bytes32"),
        ("blockHash", "bytes32"),
        ("verdictRoot", "bytes32"),
        ("rewardRoot", "bytes32"),
        ("total", "uint128"),
        ("previous", "bytes32"),
    ),
)

DISPUTE_TERMS = DisputeTerms(
    bond_atto=50,
    response_seconds=600,
    burn_ppm=100_000,
    burn_address=Address(b"\xdd" * 20),
    referees=(),
    referee_stake_min_atto=0,
    voting_seconds=600,
)

# Init code for the code PUSH0 PUSH0 REVERT: PUSH3 it, store it, return its three bytes.
REFUSER = bytes.fromhex("625f5ffd5f526003601df3")


class Refused(Exception):
    """A call reverted; the text is the contract's reason, empty if it gave none."""


def key(name: str) -> PrivateKey:
    return PrivateKey(sha256(b"key of " + name.encode()))


def account(name: str) -> Address:
    return key(name).address


def refuses(call: Any, *args: Any, **kwargs: Any) -> str:
    """Return the reason for which a call reverts; fail if it does not."""
    try:
        call(*args, **kwargs)
    except Refused as error:
        return str(error)
    raise AssertionError("the call was accepted")


def abi_type(entry: Mapping[str, Any]) -> str:
    kind = entry["type"]
    if not kind.startswith("tuple"):
        return str(kind)
    inner = ",".join(abi_type(part) for part in entry["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    value: Any
    events: tuple[Event, ...]
    calldata: bytes
    execution_gas: int
    refund: int

    def gas(self, rules: str) -> int:
        """The gas of the transaction under ``cancun`` or ``prague`` (EIP-7623 floor) rules."""
        zeros = self.calldata.count(0)
        tokens = zeros + 4 * (len(self.calldata) - zeros)
        spent = 21_000 + 4 * tokens + self.execution_gas
        spent -= min(self.refund, spent // 5)
        return max(spent, 21_000 + 10 * tokens) if rules == "prague" else spent


class Contract:
    def __init__(self, world: "World", name: str, address: Address) -> None:
        self.world, self.name, self.address = world, name, address
        self.domain = Domain(world.env.evm.patch.chain_id, address)
        self.functions = {}
        self.events = {}
        for entry in load(name).abi:
            types = [abi_type(part) for part in entry["inputs"]] if "inputs" in entry else []
            if entry["type"] == "function":
                signature = f"{entry['name']}({','.join(types)})"
                outputs = [abi_type(part) for part in entry["outputs"]]
                self.functions[entry["name"]] = (keccak(signature.encode())[:4], types, outputs)
            elif entry["type"] == "event":
                signature = f"{entry['name']}({','.join(types)})"
                self.events[keccak(signature.encode())] = entry

    def encode(self, function: str, *args: Any) -> bytes:
        selector, types, _ = self.functions[function]
        return selector + encode(types, args)

    def send(
        self,
        function: str,
        *args: Any,
        sender: Address | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> Outcome:
        data = self.encode(function, *args)
        run = self.world.execute(self.address, data, sender, value, gas)
        outputs = self.functions[function][2]
        values = decode(outputs, run.output) if outputs else ()
        events = self.world.events_of(run)
        return Outcome(
            values[0] if len(values) == 1 else values,
            events,
            data,
            run.get_gas_used(),
            run.get_gas_refund(),
        )

    def read(self, function: str, *args: Any) -> Any:
        outcome = self.send(function, *args)
        assert not outcome.events
        return outcome.value


@dataclass(frozen=True, slots=True)
class Report:
    network: bytes
    epoch: int
    commitment: bytes
    function_digest: bytes
    parameters_digest: bytes
    inputs_root: bytes
    block_hash: bytes
    verdict_root: bytes
    reward_root: bytes
    total: int
    previous: bytes

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def digest(self, domain: Domain) -> bytes:
        return digest(domain, REPORT.hash(*self.values))


@dataclass(frozen=True)
class ClaimTree:
    """Cumulative amounts by node, and the tree that a report's reward root stands for."""

    amounts: Mapping[str, tuple[Address, int]]
    keys: list[NodeKey] = field(init=False)
    tree: sumtree.SumTree = field(init=False)

    def __post_init__(self) -> None:
        rows = sorted((node_key(n), payee, amount) for n, (payee, amount) in self.amounts.items())
        object.__setattr__(self, "keys", [row[0] for row in rows])
        leaves = b"".join(claim_leaf(*row) for row in rows)
        matrix = np.frombuffer(leaves, dtype=np.uint8).reshape(len(rows), sumtree.NODE_BYTES)
        tree = sumtree.SumTree(matrix, CLAIM_NODE, sumtree.LaneKind.U128)
        object.__setattr__(self, "tree", tree)

    @property
    def root(self) -> bytes:
        return tagged(REWARD_ROOT, len(self.keys).to_bytes(8, "big"), self.tree.root)

    @property
    def total(self) -> int:
        return sum(amount for _, amount in self.amounts.values())

    def claim(self, epoch: int, node_id: str) -> Claim:
        payee, amount = self.amounts[node_id]
        index = self.keys.index(node_key(node_id))
        path = tuple(self.tree.path(index))
        return Claim(epoch, self.keys[index], payee, amount, index, len(self.keys), path)


def claim_leaf(node: NodeKey, payee: Address, amount: int) -> bytes:
    lanes = amount.to_bytes(16, "big")
    return sumtree.leaf_node(tagged(CLAIM_LEAF, node, payee, lanes), 1, lanes)


class World:
    """Deployed contracts, their clock, and what a driver would do with them."""

    quick: ClassVar[bool] = "PLAIN_EVM" not in os.environ
    """Run blocks of plain instructions at once: a third of the time, with the same answers and gas."""

    def __init__(self, aggregators: int = 1, **changes: Any) -> None:
        """Deploy the core contracts; with ``disputes=DISPUTE_TERMS`` they obey `judge`."""
        self.env = self.machine()
        self.env.evm.patch.timestamp = GENESIS_S
        self.aggregators = [account(f"aggregator {i}") for i in range(aggregators)]
        self.owner = account("owner")
        self.someone = account("someone")
        for holder in (*self.aggregators, self.owner, self.someone):
            self.env.set_balance(address_text(holder), RICH)
        self.parameters = Parameters(
            network=NETWORK,
            genesis_s=GENESIS_S,
            epoch_seconds=EPOCH_S,
            first_epoch=FIRST,
            node_stake_min_atto=NODE_STAKE,
            evaluator_stake_min_atto=EVALUATOR_STAKE,
            exit_delay_s=EXIT_DELAY_S,
            aggregators=tuple(self.aggregators),
            challenge_seconds=CHALLENGE_S,
            function_digest=FUNCTION,
            parameters_digest=PARAMETERS,
            owner=self.owner,
        )
        self.parameters = replace(self.parameters, **changes)
        deployer = account("deployer")
        self.addresses, self.steps = plan(self.parameters, deployer, 0)
        self.deploy_gas: dict[str, Outcome] = {}
        self.by_address: dict[Address, Contract] = {}
        contracts = self.deploy_steps(self.steps[: len(NAMES)])
        self.registry, self.commitments, self.evaluations, self.rewards = contracts
        self.members: list[PrivateKey] = []
        self.judge = self.addresses.disputes

    # ---- the machine

    def deploy_steps(self, steps: Sequence[Step]) -> list[Contract]:
        """Deploy the next contracts of the plan."""
        made = []
        for step in steps:
            address = self.deploy(step.name, *step.arguments, sender=account("deployer"))
            assert address == step.address
            made.append(Contract(self, step.name, address))
        self.by_address |= {contract.address: contract for contract in made}
        return made

    def deploy_judges(self) -> None:
        """Deploy the contracts that judge, after the core."""
        judges = self.deploy_steps(self.steps[len(NAMES) :])
        self.disputes, self.commitment_proofs, self.report_proofs, self.referees = judges

    def machine(self) -> Env:
        """An empty environment.

        Boa wraps two instructions for each environment, in a table that all of them share: after a hundred worlds a
        hash went through a hundred wrappers, and the worlds stayed in memory. Nobody reads what they record.
        """
        env = Env()
        table = env.evm.vm.state.computation_class.opcodes
        while isinstance(table[SHA3], Sha3PreimageTracer):
            table[SHA3] = table[SHA3].sha3
        while isinstance(table[SSTORE], SstoreTracer):
            table[SSTORE] = table[SSTORE].sstore
        if self.quick:
            hasten(env)
        return env

    def deploy(self, name: str, *args: Any, sender: Address | None = None) -> Address:
        artefact = load(name)
        constructor = next(entry for entry in artefact.abi if entry["type"] == "constructor")
        types = [abi_type(part) for part in constructor["inputs"]]
        code = artefact.bytecode + encode(types, args)
        return self.deploy_code(code, sender, name)

    def put(self, field_: str, name: str, *args: Any) -> None:
        """Deploy one contract anew, by itself, and use it from now on."""
        contract = Contract(self, name, self.deploy(name, *args))
        setattr(self, field_, contract)
        self.by_address[contract.address] = contract

    def contract_that_refuses(self) -> Address:
        """An account with code that reverts whatever it is sent."""
        return self.deploy_code(REFUSER)

    def deploy_code(self, code: bytes, sender: Address | None = None, name: str = "") -> Address:
        self.env.evm.reset_access_counters()
        address, run = self.env.deploy(
            sender=address_text(sender or self.someone), bytecode=code, gas=30_000_000
        )
        if run.is_error:
            raise Refused(reason_of(run.output))
        spent = run.get_gas_used() + 32_000
        self.deploy_gas[name] = Outcome(None, (), code, spent, run.get_gas_refund())
        return Address(address.canonical_address)

    def execute(
        self, to: Address, data: bytes, sender: Address | None, value: int, gas: int | None
    ) -> Any:
        origin = sender or self.someone
        state = self.env.evm.vm.state
        state.lock_changes()  # as between transactions: what is stored now is the original value
        self.env.evm.reset_access_counters()
        for warm in (origin, to, state.coinbase):
            state.mark_address_warm(warm)
        for precompile in range(1, 18):
            state.mark_address_warm(precompile.to_bytes(20, "big"))
        run = self.env.execute_code(
            to_address=address_text(to),
            sender=address_text(origin),
            value=value,
            data=data,
            gas=gas or 100_000_000,
        )
        state.clear_transient_storage()
        if run.is_error:
            raise Refused(reason_of(run.output))
        return run

    def events_of(self, run: Any) -> tuple[Event, ...]:
        events = []
        for address, topics, data in run.get_log_entries():
            contract = self.by_address[address]
            entry = contract.events[topics[0].to_bytes(32, "big")]
            indexed = [part for part in entry["inputs"] if part["indexed"]]
            plain = [part for part in entry["inputs"] if not part["indexed"]]
            args = {}
            for part, topic in zip(indexed, topics[1:], strict=True):
                (args[part["name"]],) = decode([part["type"]], topic.to_bytes(32, "big"))
            values = decode([part["type"] for part in plain], data)
            args.update(zip([part["name"] for part in plain], values, strict=True))
            events.append(Event(entry["name"], args))
        return tuple(events)

    @property
    def now_s(self) -> int:
        return int(self.env.evm.patch.timestamp)

    @now_s.setter
    def now_s(self, value: int) -> None:
        self.env.evm.patch.timestamp = value

    def balance(self, holder: Address) -> int:
        return int(self.env.get_balance(address_text(holder)))

    def give(self, holder: Address, amount: int = RICH) -> None:
        self.env.set_balance(address_text(holder), amount)

    # ---- the actors

    def node_registration(
        self, operator: PrivateKey, node_id: str, payee: Address, **changes: Any
    ) -> NodeRegistration:
        domain = changes.pop("domain", self.registry.domain)
        nonce = self.registry.read("nonces", operator.address)
        statement = RegisterNode(NETWORK, node_key(node_id), operator.address, payee, nonce, FAR_S)
        statement = replace(statement, **changes)
        return NodeRegistration(statement, operator.sign(statement.digest(domain)))

    def evaluator_registration(self, member: PrivateKey, **changes: Any) -> EvaluatorRegistration:
        domain = changes.pop("domain", self.registry.domain)
        nonce = self.registry.read("nonces", member.address)
        statement = RegisterEvaluator(
            NETWORK, member.address, sha256(b"link"), "127.0.0.1:7000", nonce, FAR_S
        )
        statement = replace(statement, **changes)
        return EvaluatorRegistration(statement, member.sign(statement.digest(domain)))

    def join(self, member: PrivateKey, stake: int = EVALUATOR_STAKE) -> Outcome:
        entry = self.evaluator_registration(member)
        return self.registry.send("register_evaluator", *entry.arguments, value=stake)

    def join_members(self, n: int) -> None:
        """Register n evaluators; `members` holds their keys in ascending order."""
        self.members = sorted(
            (key(f"member {i}") for i in range(n)), key=lambda member: member.address
        )
        for member in sorted(self.members, key=lambda m: sha256(m.address)):
            self.join(member)

    def open(self, epoch: int) -> Outcome:
        self.now_s = max(self.now_s, GENESIS_S + (epoch - FIRST) * EPOCH_S)
        return self.registry.send("open_epochs", epoch)

    def fund(self, first: int, n: int, each: int) -> Outcome:
        return self.rewards.send("fund", first, n, each, value=n * each)

    def commit(self, epoch: int, aggregator: int = 0) -> Outcome:
        self.now_s = max(self.now_s, GENESIS_S + (epoch - FIRST + 1) * EPOCH_S)
        args = (sha256(b"tree", bytes([epoch % 256])), 5, b"\x01" * 24, sha256(b"manifest"))
        return self.commitments.send("commit", epoch, *args, sender=self.aggregators[aggregator])

    def report(self, epoch: int, reward_root: bytes, total: int) -> Report:
        _, function, parameters = self.evaluations.read("schedule", epoch)
        return Report(
            network=NETWORK,
            epoch=epoch,
            commitment=self.commitments.read("epoch_digest", epoch),
            function_digest=function,
            parameters_digest=parameters,
            inputs_root=sha256(b"inputs"),
            block_hash=sha256(b"block"),
            verdict_root=sha256(b"verdicts"),
            reward_root=reward_root,
            total=total,
            previous=self.evaluations.read("last_report"),
        )

    def submit(
        self,
        report: Report,
        signers: Sequence[PrivateKey] | None = None,
        *,
        transmitter: PrivateKey | None = None,
        domain: Domain | None = None,
        words: Sequence[tuple[int, int]] | None = None,
        transmission: tuple[int, int] | None = None,
        sender: Address | None = None,
    ) -> Outcome:
        domain = domain or self.evaluations.domain
        report_hash = report.digest(domain)
        if signers is None:
            signers = self.members[: quorum(len(self.members))]
        if words is None:
            words = ascending_words({s.address: s.sign(report_hash) for s in signers})
        if transmission is None:
            says = Transmission(NETWORK, report.epoch, report_hash)
            signed = (transmitter or self.members[0]).sign(says.digest(domain))
            transmission = signature_words(signed)
        return self.evaluations.send("submit", report.values, transmission, words, sender=sender)

    def ready(self, epoch: int) -> None:
        """Bring an epoch to where it can be reported."""
        self.open(epoch)
        self.commit(epoch)

    def ready_through(self, epoch: int) -> None:
        """Commit all epochs up to this one, which are open already."""
        for each in range(self.commitments.read("next_epoch", self.aggregators[0]), epoch + 1):
            self.commit(each)

    def pay_epoch(self, epoch: int, amounts: Mapping[str, tuple[Address, int]]) -> ClaimTree:
        """Open, commit, report and unlock an epoch with these cumulative amounts."""
        tree = ClaimTree(amounts)
        self.ready(epoch)
        self.submit(self.report(epoch, tree.root, tree.total))
        self.now_s += CHALLENGE_S
        return tree

    def claim(self, claim: Claim, sender: Address | None = None) -> Outcome:
        return self.rewards.send("claim", *claim.arguments, sender=sender)


def reason_of(output: bytes) -> str:
    if output[:4] == keccak(b"Error(string)")[:4]:
        return str(decode(["string"], output[4:])[0])
    return output.hex()
