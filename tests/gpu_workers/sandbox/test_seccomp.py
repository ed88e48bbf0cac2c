"""The filter's answers, found by running its program as the kernel would, for both processors."""

import errno
import os
import struct

import pytest

from gpu_workers.sandbox import seccomp

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
REFUSED = seccomp.ERRNO | errno.EPERM
UNKNOWN = seccomp.ERRNO | errno.ENOSYS


def answer(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """Run the program of `machine` over one struct seccomp_data."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, MACHINES[machine][0] if audit is None else audit, 0, *padded)
    code = [struct.unpack("=HBBI", part) for part in _parts(seccomp.program(machine))]
    accumulator = position = 0
    for _ in range(len(code)):
        operation, if_true, if_false, value = code[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x15:
                position += if_true if accumulator == value else if_false
            case 0x25:
                position += if_true if accumulator > value else if_false
            case 0x45:
                position += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")
    raise AssertionError("the program has no end")


def _parts(program: bytes) -> list[bytes]:
    assert len(program) % 8 == 0
    return [program[start : start + 8] for start in range(0, len(program), 8)]


@pytest.mark.parametrize("machine", MACHINES)
def test_refuses_every_call_of_its_list(machine: str) -> None:
    column = MACHINES[machine][1]
    for name, numbers in seccomp.REFUSED.items():
        if (number := numbers[column]) is not None:
            assert answer(machine, number) == REFUSED, name
    for name, numbers in seccomp.DEADLY.items():
        if (number := numbers[column]) is not None:
            assert answer(machine, number) == seccomp.KILL_PROCESS, name


@pytest.mark.parametrize("machine", MACHINES)
def test_allows_what_a_program_needs(machine: str) -> None:
    column = MACHINES[machine][1]
    needed = {
        "read": (0, 63),
        "write": (1, 64),
        "mmap": (9, 222),
        "futex": (202, 98),
        "execve": (59, 221),
        "exit_group": (231, 94),
        "getrandom": (318, 278),
    }
    for name, numbers in needed.items():
        assert answer(machine, numbers[column]) == seccomp.ALLOW, name
    listed = {numbers[column] for numbers in (*seccomp.REFUSED.values(), *seccomp.DEADLY.values())}
    judged = {
        pair[column] for pair in (seccomp.CLONE, seccomp.CLONE3, seccomp.SOCKET, seccomp.SOCKETPAIR, seccomp.IOCTL, seccomp.PERSONALITY)
    }
    for number in set(range(seccomp.NEWEST_CALL + 1)) - listed - judged:
        assert answer(machine, number) == seccomp.ALLOW, number


@pytest.mark.parametrize("machine", MACHINES)
def test_knows_no_call_of_tomorrow(machine: str) -> None:
    assert answer(machine, seccomp.NEWEST_CALL + 1) == UNKNOWN
    assert answer(machine, 0x3FFFFFFF) == UNKNOWN
    assert answer(machine, seccomp.CLONE3[MACHINES[machine][1]]) == UNKNOWN


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flag", [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_refuses_clone_into_each_namespace(machine: str, flag: int) -> None:
    number = seccomp.CLONE[MACHINES[machine][1]]
    assert answer(machine, number, flag | 17) == REFUSED
    # The flags of a thread and of a fork.
    assert answer(machine, number, 0x003D0F00) == seccomp.ALLOW
    assert answer(machine, number, 0x01200011) == seccomp.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_allows_sockets_between_its_own_processes_alone(machine: str) -> None:
    for numbers in (seccomp.SOCKET, seccomp.SOCKETPAIR):
        number = numbers[MACHINES[machine][1]]
        assert answer(machine, number, 1) == seccomp.ALLOW
        for family in (*range(2, 46), 0):
            assert answer(machine, number, family) == REFUSED, family


@pytest.mark.parametrize("machine", MACHINES)
def test_judges_requests_by_the_half_the_kernel_reads(machine: str) -> None:
    number = seccomp.IOCTL[MACHINES[machine][1]]
    assert answer(machine, number, 0, 0x5412) == REFUSED
    # The kernel takes 32 bits of a request: whatever stands above them must not hide it.
    assert answer(machine, number, 0, (7 << 32) | 0x5412) == REFUSED
    assert answer(machine, number, 0, 0x5413) == seccomp.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_lets_a_program_ask_its_personality(machine: str) -> None:
    number = seccomp.PERSONALITY[MACHINES[machine][1]]
    assert answer(machine, number, 0xFFFFFFFF) == answer(machine, number, 0) == seccomp.ALLOW
    assert answer(machine, number, 0x0040000) == REFUSED


def test_ends_calls_of_another_architecture() -> None:
    assert answer("x86_64", 0, audit=0x40000003) == seccomp.KILL_PROCESS
    assert answer("aarch64", 63, audit=0x40000028) == seccomp.KILL_PROCESS
    assert answer("x86_64", 0x40000000) == seccomp.KILL_PROCESS


def test_fits_into_the_kernels_bounds() -> None:
    for machine in MACHINES:
        assert len(_parts(seccomp.program(machine))) < 4096


def test_names_a_machine_it_has_no_table_for() -> None:
    with pytest.raises(seccomp.UnknownArchitecture, match="riscv64"):
        seccomp.program("riscv64")
    assert seccomp.program() == seccomp.program(os.uname().machine)
