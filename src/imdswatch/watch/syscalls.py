"""System calls that a sensor never needs are refused to it: what a flaw in its readers could be used for is less.

The kernel runs a filter of its own (seccomp) before each call; a listed one fails with EPERM. It is a list of what is
forbidden, not of what is allowed: the C library, Python and its packages may choose among equal calls as they like, and
only what starts programs, looks into other processes or changes the system is kept from them. It cannot be taken back,
and threads started later have it, too. Sources: seccomp(2), linux/seccomp.h, linux/audit.h; numbers from
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from imdswatch.read.bpf import Instruction, packed

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _MACHINE = 0, 4  # offsets in struct seccomp_data
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32 = 0x40000000  # x86_64: calls of another convention, under other numbers

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""What the kernel calls a machine, and its column below."""
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "mount_setattr": (442, 442),
    "unshare": (272, 97), "setns": (308, 268), "personality": (135, 92), "open_by_handle_at": (304, 265),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "iopl": (172, None), "ioperm": (173, None),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
}  # fmt: skip
"""The calls, with their numbers on each machine; None: it has no such call."""


def forbid() -> bool:
    """Have the kernel refuse them to this process from now on; return whether it does.

    False on a machine that is not listed, or for a kernel without filters. Needs no_new_privs, or root.
    """
    machine = os.uname().machine
    if machine not in MACHINES:
        return False
    code = ctypes.create_string_buffer(packed(refusal(machine)))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(code))  # struct sock_fprog
    return not ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0)


def refusal(machine: str) -> tuple[Instruction, ...]:
    """Return the filter for a machine."""
    known, column = MACHINES[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, known),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for numbers in FORBIDDEN.values():
        number = numbers[column]
        if number is not None:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    return (*code, (_RETURN, 0, 0, _ALLOW))
