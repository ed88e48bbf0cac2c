"""The first program of every sandbox, between the launcher and bubblewrap: run as a file of its own, with the standard library alone.

It takes its limits, joins its control groups, and as root puts everything the sandbox will see into a mount namespace of its own,
owned there by a user id that exists nowhere else, becomes that user and only then starts bubblewrap (gVisor drops its rights by
itself). Otherwise the stranger's code would still be the machine's root in the kernel's eyes, and root writes /proc/sys without any
capability.

What it does not protect from: anything, by itself; see `gpu_workers.sandbox.launch`.
"""

# A sandbox starts in milliseconds, and importing pathlib takes a few of them.
# ruff: noqa: PTH103, PTH112, PTH116, PTH120, PTH123, PTH211

import ctypes
import marshal
import os
import resource
import sys

# Linux numbers; the names are those of the manual pages.
PR_SET_PDEATHSIG = 1
SIGKILL = 9
MS_REMOUNT_BIND_RDONLY = 32 | 4096 | 1
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_REC_PRIVATE = 0x4000 | (1 << 18)
MS_NOSUID_NODEV = 2 | 4
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE_CLOEXEC = 1 | 0o2000000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_IDMAP = 0x00100000
# The same numbers on x86_64 and aarch64.
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_MOUNT_SETATTR = 442

libc = ctypes.CDLL(None, use_errno=True)


class MountAttributes(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def checked(result: int, what: str) -> int:
    """Give `result`, or raise OSError for `what` when the C library says -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process with its parent, and end now if that parent has gone already."""
    checked(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        sys.exit("the launcher has gone")


def mapping_of(owner: int, group: int, user: int) -> int:
    """Open a user namespace in which `owner` and `group` of the disk appear as `user`: a child holds it while its file is opened."""
    ready, tell = os.pipe()
    done, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.write(tell, b"0" if libc.unshare(CLONE_NEWUSER) == -1 else b"1")
        os.read(done, 1)
        os._exit(0)
    os.close(done)
    try:
        if os.read(ready, 1) != b"1":
            raise OSError("no user namespace for a mapping")
        for file, disk in (("uid_map", owner), ("gid_map", group)):
            with open(f"/proc/{child}/{file}", "w") as table:
                table.write(f"{disk} {user} 1\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for end in (ready, tell, release):
            os.close(end)
        os.waitpid(child, 0)


def show(source: str, host: str, target: str, user: int, mappings: dict[tuple[int, int], int]) -> None:
    """Mount `source` (the opened `host`) read-only on `target`, its owner appearing as `user` where the file system can do that."""
    tree = checked(libc.syscall(SYS_OPEN_TREE, AT_FDCWD, source.encode(), OPEN_TREE_CLONE_CLOEXEC | AT_RECURSIVE), f"open_tree {host}")
    status = os.stat(source)
    owner = (status.st_uid, status.st_gid)
    wanted = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
    if owner not in mappings:
        try:
            mappings[owner] = mapping_of(*owner, user)
        except OSError:
            mappings[owner] = -1
    attributes = MountAttributes(wanted | MOUNT_ATTR_IDMAP, 0, 0, max(mappings[owner], 0))
    size = ctypes.sizeof(attributes)
    # Without mapped owners (an overlay, an old kernel) only what everyone may read can be shown.
    flags = AT_EMPTY_PATH | AT_RECURSIVE
    if mappings[owner] < 0 or libc.syscall(SYS_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(attributes), size) == -1:
        plain = MountAttributes(wanted, 0, 0, 0)
        checked(libc.syscall(SYS_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(plain), size), f"mount_setattr {host}")
        if not status.st_mode & 0o004:
            raise OSError(f"others may not read {host} and its file system can't map owners: chmod -R o+rX {host}")
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    checked(libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH), f"move_mount {target}")
    os.close(tree)


def show_all(
    folder: str, user: int, *, sources: list[tuple[str, str]], links: dict[str, str], files: dict[str, bytes], folders: list[str]
) -> None:
    """Put `sources` (host path, path under `folder`) into a mount namespace that only this process and its children see.

    Around them stand `links` (path -> target), `files` (path -> content) and empty `folders`, all under `folder`.
    """
    # The launcher may keep its own files to itself; these are for the stranger's user.
    os.umask(0o022)
    checked(libc.unshare(CLONE_NEWNS), "unshare(mounts)")
    checked(libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "mount private")
    # Opened before the new file system hides what lies under the same folder.
    opened = [(os.open(host, os.O_PATH | os.O_CLOEXEC), host, name) for host, name in sources]
    checked(libc.mount(b"sandbox", folder.encode(), b"tmpfs", MS_NOSUID_NODEV, b"mode=0755,size=1m"), f"mount {folder}")
    for name in folders:
        os.makedirs(f"{folder}/{name}", 0o755)
    for name, target in links.items():
        os.makedirs(os.path.dirname(f"{folder}/{name}"), 0o755, exist_ok=True)
        os.symlink(target, f"{folder}/{name}")
    for name, content in files.items():
        os.makedirs(os.path.dirname(f"{folder}/{name}"), 0o755, exist_ok=True)
        with open(f"{folder}/{name}", "wb") as file:
            file.write(content)
    mappings: dict[tuple[int, int], int] = {}
    for handle, host, name in opened:
        show(f"/proc/self/fd/{handle}", host, f"{folder}/{name}", user, mappings)
    checked(libc.mount(b"none", folder.encode(), None, MS_REMOUNT_BIND_RDONLY | MS_NOSUID_NODEV, None), f"remount {folder}")


def join(group: str) -> None:
    """Join a control group with all that will follow."""
    members = os.open(f"{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(members, b"0")
    except OSError as error:
        raise OSError(f"{group} can't be joined: {error.strerror}") from error
    finally:
        os.close(members)


def become(user: int) -> None:
    """Be `user` for good, with its own group and no other."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def main() -> None:
    """Follow the plan in the file descriptor of the first argument, then be the program that makes the sandbox."""
    with open(int(sys.argv[1]), "rb") as file:
        plan = marshal.load(file)  # noqa: S302 - written by the launcher into a file without a name
    die_with(plan["parent"])
    for group in plan["groups"]:
        join(group)
    for what, soft, hard in plan["limits"]:
        most = resource.getrlimit(what)[1]
        resource.setrlimit(what, (soft, hard) if most == resource.RLIM_INFINITY else (min(soft, most), min(hard, most)))
    if plan["cpus"]:
        os.sched_setaffinity(0, plan["cpus"])
    if plan["user"]:
        show_all(plan["folder"], plan["user"], **plan["shown"])
        become(plan["user"])
        die_with(plan["parent"])
    os.chdir("/")
    # Should the launcher hang, the kernel still ends this process, and with it everything inside.
    libc.alarm(plan["alarm_s"])
    os.execve(plan["program"], plan["words"], {})  # noqa: S606 - a shell would add nothing


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"sandbox: {error}")
