"""The long part of a CRC-32 by carry-less multiplication.

Source: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), whose
constants for the reflected polynomial 0x04C11DB7 stand here. What is left are 16 bytes of the same remainder, whose
CRC is the CRC of all. Compiled code is cached by this file's time and size alone, so everything that is compiled in
stands here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from meridian.primitives.kernels.jit import compiled

FOLDED = 16
AT_A_TIME = 64
_BY_4 = (0x0154442BD4, 0x01C6E41596)
_BY_1 = (0x01751997D0, 0x00CCAA009E)


@intrinsic
def fold_into(_typing, source, count, register, target):
    """Fold `count` whole pieces of 64 bytes, at least one, into 16 bytes."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word, wide = ir.IntType(64), ir.VectorType(ir.IntType(64), 2)
        name = "llvm.x86.pclmulqdq"
        kind = ir.FunctionType(wide, [wide, wide, ir.IntType(8)])
        multiply = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        source, count, register, target = arguments

        def load(at: Any, part: int) -> Any:
            address = builder.add(at, ir.Constant(word, FOLDED * part))
            return builder.load(builder.inttoptr(address, wide.as_pointer()), align=1)

        def folded(value: Any, by: tuple[int, int], more: Any) -> Any:
            constant = ir.Constant(wide, list(by))
            low, high = (
                builder.call(multiply, [value, constant, ir.Constant(ir.IntType(8), which)])
                for which in (0x00, 0x11)
            )
            return builder.xor(builder.xor(low, high), more)

        before = builder.block
        first = [load(source, part) for part in range(4)]
        state = builder.insert_element(
            ir.Constant(wide, [0, 0]), builder.zext(register, word), ir.Constant(ir.IntType(32), 0)
        )
        first[0] = builder.xor(first[0], state)
        head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        at, left = builder.phi(word), builder.phi(word)
        values = [builder.phi(wide) for _ in range(4)]
        builder.cbranch(builder.icmp_unsigned(">", left, ir.Constant(word, 1)), body, done)
        builder.position_at_end(body)
        next_at = builder.add(at, ir.Constant(word, AT_A_TIME))
        after = [folded(values[part], _BY_4, load(next_at, part)) for part in range(4)]
        fewer = builder.sub(left, ir.Constant(word, 1))
        builder.branch(head)
        for phi, start, later in zip(
            (at, left, *values), (source, count, *first), (next_at, fewer, *after), strict=True
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(later, body)
        builder.position_at_end(done)
        value = values[0]
        for part in range(1, 4):
            value = folded(value, _BY_1, values[part])
        builder.store(value, builder.inttoptr(target, wide.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64, types.uint32, types.uintp), emit


@compiled(
    types.void(
        types.Array(types.uint8, 1, "C", readonly=True),
        types.uint32,
        types.Array(types.uint8, 1, "C"),
    )
)
def fold(data, register, out):
    """Write 16 bytes that have the CRC of as many whole pieces of 64 bytes as `data` has, at least one.

    Args:
        data: The bytes.
        register: The CRC's register before them.
        out: The 16 bytes; their CRC begins with a register of 0.
    """
    pieces = np.int64(len(data) // AT_A_TIME)
    fold_into(np.uintp(data.ctypes.data), pieces, register, np.uintp(out.ctypes.data))
