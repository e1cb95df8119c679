"""Faults that somebody could make in the contracts: each is one piece of source put in another's place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, where, and how."""

    story: str
    contract: str
    old: str
    new: str
    inside: str = ""
    """The contract that a library's fault is compiled into."""


def dropped(story: str, contract: str, line: str) -> Fault:
    """A contract's assertion that is not made.

    `assert True` is the planted fault, in Vyper: it stands in a copy that the machine must tell from the contract.
    """
    return Fault(story, contract, f"assert {line}", "assert True")


FAULTS = (
    dropped(
        "a report may spend more than its epoch's budget",
        "Rewards",
        'new - last <= budget, "rewards: budget"',
    ),
    dropped(
        "money is taken for settled epochs",
        "Rewards",
        'convert(first, uint256) >= pool & U62_MASK, "rewards: settled"',
    ),
    dropped("a claim is paid twice", "Rewards", 'cumulative > before, "rewards: nothing"'),
    dropped(
        "claims reach money that no report gave",
        "Rewards",
        'self.balance >= reserve + convert(amount, uint256), "rewards: reserve"',
    ),
    dropped(
        "claims are paid while they are locked",
        "Rewards",
        'block.timestamp >= (record >> 64) & U64_MASK, "rewards: locked"',
    ),
    Fault(
        "a claim of many is paid before it is booked",
        "Rewards",
        "            self.claimed[c.node_key] = c.cumulative\n"
        "            accepted: bool = raw_call(\n"
        "                c.payee,\n"
        '                b"",\n'
        "                value=convert(amount, uint256),\n"
        "                gas=msg.gas // (left + 1),\n"
        "                revert_on_failure=False,\n"
        "            )\n",
        "            accepted: bool = raw_call(\n"
        "                c.payee,\n"
        '                b"",\n'
        "                value=convert(amount, uint256),\n"
        "                gas=msg.gas // (left + 1),\n"
        "                revert_on_failure=False,\n"
        "            )\n"
        "            self.claimed[c.node_key] = c.cumulative\n",
    ),
    Fault(
        "a report does not wait for its held parent",
        "Rewards",
        "            unlock = before\n",
        "            unlock = max(unlock, before // 2)\n",
    ),
    Fault(
        "an abandoned budget stays where it was, too",
        "Rewards",
        "        self._add(to, to + 1, budget)",
        "        self._add(to, to + 1, budget * 2)",
    ),
    Fault(
        "a slashed evaluator still decides new epochs",
        "Registry",
        "        self._deactivate(account, place)\n    self.evaluators[account] = SLASHED",
        "        pass\n    self.evaluators[account] = SLASHED",
    ),
    dropped(
        "anybody takes an evaluator's stake",
        "Registry",
        'msg.sender == disputes, "registry: sender"',
    ),
    Fault(
        "an evaluator gets its stake back at once",
        "Registry",
        'assert exit_at != 0 and block.timestamp >= exit_at, "registry: locked"\n'
        "    self.evaluators[msg.sender] = 0",
        "self.evaluators[msg.sender] = 0",
    ),
    Fault(
        "the stake is paid before the evaluator is forgotten",
        "Registry",
        "    self.evaluators[msg.sender] = 0\n"
        "    self.link_keys[msg.sender] = empty(bytes32)\n"
        "    self._pay(msg.sender, record & U96_MASK)",
        "    self._pay(msg.sender, record & U96_MASK)\n"
        "    self.evaluators[msg.sender] = 0\n"
        "    self.link_keys[msg.sender] = empty(bytes32)",
    ),
    dropped(
        "a report needs no quorum",
        "Evaluations",
        'len(signatures) >= self._quorum(len(members)), "evaluations: quorum"',
    ),
    dropped(
        "one member signs for many",
        "Evaluations",
        'convert(signer, uint256) > convert(last, uint256), "evaluations: order"',
    ),
    dropped(
        "what has been paid is voided",
        "Evaluations",
        'block.timestamp < self._unlock_at(epoch), "evaluations: unlocked"',
    ),
    Fault(
        "a void leaves the reports that follow",
        "Evaluations",
        "        state = self._walk_back(epoch, state)",
        "        state = self._walk_back(convert(state & U48_MASK, uint64), state)",
    ),
    dropped(
        "a commitment is skipped",
        "Commitments",
        'convert(epoch, uint256) == unsafe_sub(turn, 1), "commitments: order"',
    ),
    Fault(
        "the digest forgets the earlier commitments",
        "Commitments",
        "    digest = sha256(concat(EPOCH_DIGEST, digest, ",
        "    digest = sha256(concat(EPOCH_DIGEST, empty(bytes32), ",
    ),
    Fault(
        "a slashed aggregator comes back",
        "Commitments",
        "    self.words[aggregator] = LISTED | SLASHED",
        "    self.words[aggregator] = LISTED",
    ),
    dropped(
        "anybody convicts aggregators",
        "Disputes",
        'msg.sender == commitment_proofs, "disputes: sender"',
    ),
    dropped(
        "a challenge is answered after its time",
        "Disputes",
        'block.timestamp <= word & U64_MASK, "disputes: late"',
    ),
    dropped(
        "a challenge is resolved before its time",
        "Disputes",
        'block.timestamp > word & U64_MASK, "disputes: early"',
    ),
    Fault(
        "a challenge's bond is paid again and again",
        "Disputes",
        "    self.challenges[challenge_id] = CLOSED\n",
        "",
    ),
    Fault(
        "nothing is burned",
        "Disputes",
        "rest: uint256 = stake - stake * convert(burn_ppm, uint256) // MILLION",
        "rest: uint256 = stake",
    ),
    Fault(
        "claims do not wait for challenges and cases",
        "Disputes",
        "    self._hold(epoch, until + response_seconds)\n",
        "",
    ),
    Fault(
        "a commitment is voided and its report stays",
        "Disputes",
        "            extcall Evaluations(evaluations).void(c.epoch)",
        "            pass",
    ),
    dropped(
        "a kept promise counts as broken",
        "CommitmentProofs",
        'keccak256(absence.job.left) != keccak256(row), "proofs: right"',
    ),
    dropped(
        "a right sum counts as wrong",
        "CommitmentProofs",
        'not trees._adds_up(left, right, claimed), "proofs: right"',
    ),
    dropped(
        "a job is a duplicate of itself",
        "CommitmentProofs",
        'first.epoch < second.epoch, "proofs: epochs"',
    ),
    dropped(
        "leaves in order count as out of order",
        "CommitmentProofs",
        'trees._key(gap.left, tree) >= trees._key(gap.right, tree), "proofs: right"',
    ),
    Fault(
        "a node is absent though it has a row",
        "trees",
        '        assert before < wanted, "trees: order"\n',
        "",
        "CommitmentProofs",
    ),
    Fault(
        "who got his share has got too much",
        "ReportProofs",
        "return amount == share or (amount == share + 1 and exact % whole != 0)",
        "return amount == share + 1 and exact % whole != 0",
    ),
    dropped(
        "a report that gives nothing back takes back",
        "ReportProofs",
        'now < had, "proofs: right"',
    ),
    Fault(
        "one signature makes two statements",
        "ReportProofs",
        "and eip712._signer(second, second_signature.r, second_signature.vs) == signer\n",
        "\n",
    ),
    dropped(
        "one referee rules alone",
        "Referees",
        'len(signatures) >= self._quorum(), "referees: quorum"',
    ),
    dropped(
        "a referee goes while its case is open",
        "Referees",
        'block.timestamp > convert(self.busy_until, uint256), "referees: busy"',
    ),
)
