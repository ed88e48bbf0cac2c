"""The system calls a stranger's code may not make, as a BPF program for the kernel. Assembled here, so that no library is needed.

A deny list: numpy and torch use too many calls for an allow list that holds over their releases. Calls newer than `NEWEST_CALL`
don't exist for the sandbox. Numbers are those of the kernel's tables arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h; formats those of include/uapi/linux/seccomp.h and filter.h.
"""

import errno
import platform
import socket
import struct
from dataclasses import dataclass, field

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# Offsets inside struct seccomp_data, little endian: the low halves of the arguments.
_NUMBER = 0
_ARCHITECTURE = 4
_ARGUMENTS = 16

_X32_BIT = 0x40000000

# Every CLONE_NEW* flag of clone(2): time 0x80 is only for clone3 and unshare, since here it is part of the exit signal.
NAMESPACE_FLAGS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
# Push input into a terminal, set its line discipline, act on the console.
TERMINAL_REQUESTS = (0x5412, 0x541C, 0x5423)
# personality(0xffffffff) only asks, personality(0) is what everyone has.
PLAIN_PERSONALITIES = (0, 0xFFFFFFFF)
# listns, the last of Linux 6.19.
NEWEST_CALL = 470

# name: (x86_64, aarch64); None where the architecture lacks it.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Other processes' memory and files.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # The file tree.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "listns": (470, 470),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    # Namespaces; clone itself is judged by its flags.
    "unshare": (272, 97),
    "setns": (308, 268),
    # Kernel parts with a long history of holes.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
    "remap_file_pages": (216, 234),
    "memfd_secret": (447, 447),
    "uretprobe": (335, None),
    "uprobe": (336, None),
    "lsm_set_self_attr": (460, 460),
    # The kernel's keys, which no namespace parts.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Shared memory that outlives its process and no limit of a process counts.
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # Clock, name, log and ports of the machine.
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "ioperm": (173, None),
    "iopl": (172, None),
    "modify_ldt": (154, None),
    "_sysctl": (156, None),
}

# No program calls these by chance: the process ends.
DEADLY: dict[str, tuple[int | None, int | None]] = {
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "create_module": (174, None),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
}

# Judged by an argument.
CLONE = (56, 220)
CLONE3 = (435, 435)
SOCKET = (41, 198)
SOCKETPAIR = (53, 199)
IOCTL = (16, 29)
PERSONALITY = (135, 92)


class UnknownArchitecture(Exception):
    """There is no table of system calls for this machine; the message names it."""


@dataclass(frozen=True)
class _Machine:
    audit: int
    column: int
    has_x32: bool


_MACHINES = {"x86_64": _Machine(0xC000003E, 0, True), "aarch64": _Machine(0xC00000B7, 1, False)}


@dataclass
class _Assembler:
    """Straight-line BPF: every rule is a test that falls through to the next one."""

    column: int
    code: list[tuple[int, int, int, int]] = field(default_factory=list)

    def load(self, offset: int) -> None:
        self.code.append((_LOAD_WORD, 0, 0, offset))

    def unless(self, jump: int, value: int, skipped: int) -> None:
        """Skip the next `skipped` instructions where the test fails."""
        self.code.append((jump, 0, skipped, value))

    def answer(self, result: int) -> None:
        self.code.append((_RETURN, 0, 0, result))

    def refuse(self, numbers: tuple[int | None, int | None], result: int) -> None:
        number = numbers[self.column]
        if number is not None:
            self.unless(_JUMP_EQUAL, number, 1)
            self.answer(result)

    def judge(self, numbers: tuple[int, int], argument: int, tests: list[tuple[int, int, int]], otherwise: int) -> None:
        """For one call load one argument, give the answer of the first (jump, value, answer) that holds, else `otherwise`."""
        self.unless(_JUMP_EQUAL, numbers[self.column], 2 + 2 * len(tests))
        self.load(_ARGUMENTS + 8 * argument)
        for jump, value, result in tests:
            self.unless(jump, value, 1)
            self.answer(result)
        self.answer(otherwise)

    def assembled(self) -> bytes:
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in self.code)


def program(machine: str | None = None) -> bytes:
    """Assemble the filter for `machine` ("x86_64" or "aarch64", by default this one), as an array of struct sock_filter.

    A call of another architecture or of the x32 ABI ends the process: its numbers mean other calls.

    Raises:
        UnknownArchitecture: no table for it.
    """
    name = machine or platform.machine()
    if name not in _MACHINES:
        raise UnknownArchitecture(f"no table of system calls for {name}: the sandbox runs on {' and '.join(_MACHINES)}")
    known = _MACHINES[name]
    refused = ERRNO | errno.EPERM
    out = _Assembler(known.column)
    out.load(_ARCHITECTURE)
    out.code.append((_JUMP_EQUAL, 1, 0, known.audit))
    out.answer(KILL_PROCESS)
    out.load(_NUMBER)
    if known.has_x32:
        out.unless(_JUMP_ANY_BIT, _X32_BIT, 1)
        out.answer(KILL_PROCESS)
    out.unless(_JUMP_GREATER, NEWEST_CALL, 1)
    out.answer(ERRNO | errno.ENOSYS)
    for numbers in DEADLY.values():
        out.refuse(numbers, KILL_PROCESS)
    for numbers in REFUSED.values():
        out.refuse(numbers, refused)
    # Its flags lie in memory where no filter can look; the C library then takes clone.
    out.refuse(CLONE3, ERRNO | errno.ENOSYS)
    out.judge(CLONE, 0, [(_JUMP_ANY_BIT, NAMESPACE_FLAGS, refused)], ALLOW)
    # Not even families that a network namespace leaves open, such as vsock.
    for numbers in (SOCKET, SOCKETPAIR):
        out.judge(numbers, 0, [(_JUMP_EQUAL, int(socket.AF_UNIX), ALLOW)], refused)
    out.judge(IOCTL, 1, [(_JUMP_EQUAL, request, refused) for request in TERMINAL_REQUESTS], ALLOW)
    out.judge(PERSONALITY, 0, [(_JUMP_EQUAL, plain, ALLOW) for plain in PLAIN_PERSONALITIES], refused)
    out.answer(ALLOW)
    return out.assembled()
