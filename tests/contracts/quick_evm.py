"""A faster loop for the in-memory EVM: plain instructions are translated to Python, block by block.

py-evm dispatches every instruction through several calls; almost all of them are stack arithmetic, jumps and memory.
Here a run of such instructions becomes one Python function, made when it is first reached. Everything else (storage,
calls, hashes, logs, gas) is still py-evm's own code, and gas is counted: a block's whole cost is taken at its start.
`test_quick_evm.py` compares answers, logs and gas with the plain loop.
"""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from boa.environment import Env
from eth.exceptions import InvalidJumpDestination
from eth.vm.code_stream import CodeStream

WORD_END = 1 << 256
MASK = WORD_END - 1
STOP, JUMP, JUMPI, JUMPDEST = 0x00, 0x56, 0x57, 0x5B
POP, MLOAD, MSTORE, CALLDATALOAD, MCOPY = 0x50, 0x51, 0x52, 0x35, 0x5E

FORMS = {
    0x01: (3, "({0}+{1})&MASK"),
    0x02: (5, "({0}*{1})&MASK"),
    0x03: (3, "({0}-{1})&MASK"),
    0x04: (5, "{0}//{1} if {1} else 0"),
    0x06: (5, "{0}%{1} if {1} else 0"),
    0x10: (3, "1 if {0}<{1} else 0"),
    0x11: (3, "1 if {0}>{1} else 0"),
    0x14: (3, "1 if {0}=={1} else 0"),
    0x15: (3, "0 if {0} else 1"),
    0x16: (3, "{0}&{1}"),
    0x17: (3, "{0}|{1}"),
    0x18: (3, "{0}^{1}"),
    0x19: (3, "MASK-{0}"),
    0x1B: (3, "({1}<<{0})&MASK if {0}<256 else 0"),
    0x1C: (3, "{1}>>{0} if {0}<256 else 0"),
    0x33: (2, "SENDER(c)"),
    0x34: (2, "c.msg.value"),
    0x36: (2, "len(c.msg.data)"),
}
"""Instructions with one result: gas and formula; {0} is the top of the stack. One operand if {1} is not named."""

Block = Callable[[list[int], Any, Any], int]
"""Stack, memory, computation -> where to go on; ~place: py-evm has to run the instruction there."""


class Translation:
    """The Python text of one block.

    Args:
        code: The contract's code.
        start: Where the block begins.
    """

    def __init__(self, code: bytes, start: int) -> None:
        self.lines: list[str] = []
        self.stack: list[str] = []
        self.names = 0
        self.start = self.place = start
        self.begin_part()
        while not self.step(code):
            pass
        self.end_part()

    def begin_part(self) -> None:
        """From here to the next jump all is paid for at once."""
        self.gas, self.head = 0, len(self.lines)
        self.lines.append("")

    def end_part(self) -> None:
        self.lines[self.head] = f"c._gas_meter.consume_gas({self.gas},'block')"

    def name(self, formula: str) -> str:
        self.names += 1
        self.lines.append(f"v{self.names}={formula}")
        return f"v{self.names}"

    def reach(self, depth: int) -> None:
        """Have at least so many operands at hand."""
        while len(self.stack) < depth:
            self.stack.insert(0, self.name("s.pop()"))

    def pop(self) -> str:
        self.reach(1)
        return self.stack.pop()

    def leave(self, to: str, condition: str = "True") -> bool:
        """Put what was computed on the stack and go on elsewhere."""
        kept = f"s.extend(({','.join(self.stack)},));" if self.stack else ""
        self.lines.append(f"if {condition}: {kept}return {to}")
        return True

    def step(self, code: bytes) -> bool:
        """Translate one instruction; tell whether the block ends."""
        at = self.place
        op = code[at] if at < len(code) else STOP
        self.place = at + 1
        if op in FORMS:
            cost, formula = FORMS[op]
            self.gas += cost
            self.reach(("{0}" in formula) + ("{1}" in formula))
            operands = [self.pop() for mark in ("{0}", "{1}") if mark in formula]
            self.stack.append(self.name(formula.format(*operands)))
        elif 0x5F <= op <= 0x7F:
            self.gas += 2 if op == 0x5F else 3
            size = op - 0x5F
            self.place += size
            self.stack.append(str(int.from_bytes(code[at + 1 : at + 1 + size].ljust(size, b"\0"))))
        elif 0x80 <= op <= 0x8F:
            self.gas += 3
            self.reach(op - 0x7F)
            self.stack.append(self.stack[-(op - 0x7F)])
        elif 0x90 <= op <= 0x9F:
            self.gas += 3
            self.reach(op - 0x8E)
            depth = -(op - 0x8E)
            self.stack[-1], self.stack[depth] = self.stack[depth], self.stack[-1]
        elif op == JUMPDEST and at == self.start:
            self.gas += 1
        else:
            return self.step_aside(op, at)
        return False

    def step_aside(self, op: int, at: int) -> bool:
        """What touches memory, or where the block ends."""
        if op == POP:
            self.gas += 2
            self.pop()
        elif op == CALLDATALOAD:
            self.gas += 3
            self.stack.append(self.name(f"CALLDATA(c,{self.pop()})"))
        elif op == MLOAD:
            self.gas += 3
            place = self.memory(self.pop())
            self.stack.append(self.name(f"WORD(m._bytes[{place}:{place}+32])"))
        elif op == MSTORE:
            self.gas += 3
            place = self.memory(self.pop())
            self.lines.append(f"m._bytes[{place}:{place}+32]=({self.pop()}).to_bytes(32,'big')")
        elif op == MCOPY:
            self.gas += 3
            self.lines.append(f"COPY(c,m,{self.pop()},{self.pop()},{self.pop()})")
        elif op == JUMP:
            self.gas += 8
            return self.leave(self.pop())
        elif op == JUMPI:
            self.gas += 10
            self.reach(2)
            to, condition = self.pop(), self.pop()
            self.leave(to, condition)
            self.end_part()
            self.begin_part()
        elif op == JUMPDEST:
            return self.leave(str(at))
        else:
            return self.leave(str(~at))
        return False

    def memory(self, place: str) -> str:
        self.lines.append(f"if {place}+32>len(m._bytes): GROW(c,m,{place}+32)")
        return place

    def function(self) -> Block:
        head = "def block(s,m,c):\n "
        scope: dict[str, Any] = {
            "MASK": MASK,
            "WORD": int.from_bytes,
            "SENDER": sender,
            "GROW": grow,
            "COPY": copy,
            "CALLDATA": calldata,
        }
        exec(head + "\n ".join(self.lines), scope)
        block: Block = scope["block"]
        return block


def sender(computation: Any) -> int:
    return int.from_bytes(computation.msg.sender)


def calldata(computation: Any, place: int) -> int:
    return int.from_bytes(computation.msg.data_as_bytes[place : place + 32].ljust(32, b"\0"))


def grow(computation: Any, memory: Any, end: int) -> None:
    """Pay for memory up to `end`: 3 a word, and the square of the words / 512."""
    before, after = len(memory._bytes) // 32, (end + 31) // 32
    cost = 3 * (after - before) + after * after // 512 - before * before // 512
    computation._gas_meter.consume_gas(cost, "memory")
    memory.extend(0, 32 * after)


def copy(computation: Any, memory: Any, to: int, source: int, length: int) -> None:
    """MCOPY, except its fixed cost."""
    if length:
        end = max(to, source) + length
        if end > len(memory._bytes):
            grow(computation, memory, end)
        computation._gas_meter.consume_gas((length + 31) // 32 * 3, "copy")
        memory._bytes[to : to + length] = memory._bytes[source : source + length]


BLOCKS: dict[tuple[int, bytes], Block] = {}
"""By place and bytes: contracts that differ in their immutables only share them."""


class QuickCode(CodeStream):
    """The code of a running contract; its iterator runs blocks itself and yields the other instructions."""

    __slots__ = ("_trace", "blocks", "computation")
    known: ClassVar[dict[bytes, dict[int, Block]]] = {}

    def __init__(self, code: bytes, computation: Any) -> None:
        super().__init__(code)
        self._trace: list[int] = []
        self.computation = computation
        self.blocks = self.known.setdefault(code, {})

    def block(self, place: int, *, jumped: bool) -> Block:
        code = self._raw_code_bytes
        is_target = place < len(code) and code[place] == JUMPDEST and self.is_valid_opcode(place)
        if jumped and not is_target:
            raise InvalidJumpDestination("Invalid Jump Destination")
        translation = Translation(code, place)
        # Two contracts whose bytes are the same here do the same.
        key = (place, code[place : translation.place])
        made = BLOCKS.get(key) or translation.function()
        BLOCKS[key] = self.blocks[place] = made
        return made

    def __iter__(self) -> Iterator[int]:
        computation, blocks = self.computation, self.blocks
        stack, memory = computation._stack.values, computation._memory
        code, size = self._raw_code_bytes, len(self)
        place, jumped = 0, False
        while True:
            place = (blocks.get(place) or self.block(place, jumped=jumped))(
                stack, memory, computation
            )
            jumped = True
            if place < 0:
                place = ~place
                self.program_counter = place + 1
                yield code[place] if place < size else STOP
                if stack and stack[-1].__class__ is bytes:
                    stack[-1] = int.from_bytes(stack[-1])
                place, jumped = self.program_counter, False


class QuickComputation:
    """Runs existing contracts in blocks; creations as ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        this: Any = self
        if not this.msg.is_create:
            this.code = QuickCode(this.code._raw_code_bytes, this)


def hasten(env: Env) -> None:
    """Let an environment run in blocks from now on; a second time changes nothing."""
    state: Any = env.evm.vm.state
    plain = state.computation_class
    if issubclass(plain, QuickComputation):
        return
    state.computation_class = type("QuickComputation", (QuickComputation, plain), {})
