"""Giving up everything but computing: resource limits, no new privileges, and a seccomp filter that lists system calls.

The filter is inherited, cannot be lifted, and kills the process at the first call that is not listed: no file can be
opened, no socket made, no process started, no clock read. Linux only. Sources: seccomp(2), prctl(2), getrlimit(2).
"""

import ctypes
import platform
import resource
import struct
import sys
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_KILL_PROCESS: Final = 0x80000000
_ALLOW: Final = 0x7FFF0000

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_NUMBER_AT: Final = 0  # offsets in struct seccomp_data
_ARCHITECTURE_AT: Final = 4

# read, write, close, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, mremap, madvise, exit,
# sigaltstack, futex, exit_group
_CALLS: Final = {
    "x86_64": (0xC000003E, (0, 1, 3, 9, 10, 11, 12, 13, 14, 15, 25, 28, 60, 131, 202, 231)),
    "aarch64": (0xC00000B7, (63, 64, 57, 222, 226, 215, 214, 134, 135, 139, 216, 233, 93, 132, 98, 94)),
}  # fmt: skip
"""Machine -> its AUDIT_ARCH number and the calls that it may make."""


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def is_supported() -> bool:
    """Tell whether this system has what the lockdown needs."""
    return sys.platform == "linux" and platform.machine() in _CALLS


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Bound memory and processor time, and forbid files, processes and core dumps."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 3),  # the pipes that are open already
    ):
        resource.setrlimit(what, (most, most))


def close_all_calls() -> None:
    """Install the filter; there is no way back.

    Raises:
        OSError: If the kernel refuses it.
    """
    architecture, calls = _CALLS[platform.machine()]
    allow_at = len(calls) + 1
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, allow_at - 1 - at, 0, number) for at, number in enumerate(calls)),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl refuses the sandbox")
