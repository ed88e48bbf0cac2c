"""What a stranger's code would try, one probe an attempt: bodies of functions that give evidence when they reached something.

A probe only opens, asks and looks; it would change nothing on a machine that let it. `is_harmless` ones also run outside the sandbox,
as a user without rights, to show that they can succeed at all; `reaches_outside` is where they must.
"""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["refused", "killed"]


@dataclass(frozen=True)
class Probe:
    """One attempt. `expects` is what must become of it inside."""

    name: str
    code: str
    expects: Outcome = "refused"
    is_harmless: bool = False
    reaches_outside: bool = False


def _tried(name: str, code: str) -> Probe:
    """Only inside: outside it would need rights, or isn't for trying."""
    return Probe(name, code)


def _proved(name: str, code: str) -> Probe:
    """Shown to succeed outside."""
    return Probe(name, code, is_harmless=True, reaches_outside=True)


def _compared(name: str, code: str) -> Probe:
    """Tried outside too, where it depends on the machine."""
    return Probe(name, code, is_harmless=True)


def _deadly(name: str, code: str) -> Probe:
    return Probe(name, code, expects="killed")


HOST_FILES = (
    _tried("password hashes", 'return opened("/etc/shadow")'),
    _proved("host's users", 'return b"root" in text("/etc/passwd")'),
    _proved("host's name file", 'return text("/etc/hostname") if os.path.exists("/etc/hostname") else text("/etc/os-release")'),
    _tried("root's home", 'return listed("/root")'),
    _proved("homes", 'return os.listdir("/home") is not None and "/home"'),
    _proved("secret in a home folder", 'return given["secret"].encode() in text(given["home_file"])'),
    _proved("secret beside the bound file", 'return given["secret"].encode() in text(os.path.dirname(given["bound_file"]) + "/beside")'),
    _tried("secret behind dots", 'return given["secret"].encode() in text("/given/../../../../../.." + given["home_file"])'),
    _tried("secret through /proc/1/root", 'return given["secret"].encode() in text("/proc/1/root" + given["home_file"])'),
    _tried("secret through /proc/1/cwd", 'return given["secret"].encode() in text("/proc/1/cwd/../../../../.." + given["home_file"])'),
    _proved(
        "secret through a link",
        """
with tempfile.TemporaryDirectory() as own:
    os.symlink(given["home_file"], own + "/link")
    return given["secret"].encode() in text(own + "/link")""",
    ),
    _tried("secret anywhere it can look", 'return everywhere(given["secret"], ["/tmp", "/etc", "/venv/bin", "/given"])'),
    _tried("virtual environment's parent", 'return listed(given["project"])'),
    _tried("launcher's repository", 'return opened(given["project"] + "/pyproject.toml")'),
    _tried("Docker's socket", 's = socket.socket(socket.AF_UNIX); s.connect("/var/run/docker.sock"); return "connected"'),
    _tried("system bus", 's = socket.socket(socket.AF_UNIX); s.connect("/run/dbus/system_bus_socket"); return "connected"'),
    _proved("shell", 'return os.access("/bin/sh", os.X_OK)'),
    _tried("memory of the machine", 'return opened("/dev/mem")'),
    _tried("kernel memory", 'return opened("/proc/kcore")'),
    _proved(
        "block devices and terminals", 'return set(os.listdir("/dev")) - {*given["devices"], "shm", "fd", "stdin", "stdout", "stderr"}'
    ),
    _tried(
        "making a device",
        """
with tempfile.TemporaryDirectory() as own:
    os.mknod(own + "/disk", 0o60600, os.makedev(254, 0))
    return opened(own + "/disk")""",
    ),
    _tried("host's disk", 'return opened("/dev/vda") or opened("/dev/sda")'),
    _proved("folder of hardware", 'return listed("/sys")'),
    _compared("control groups", 'return listed("/sys/fs/cgroup")'),
    _tried("release agent", 'return opened("/sys/fs/cgroup/release_agent", os.O_WRONLY)'),
    _tried("release agent of memory", 'return opened("/sys/fs/cgroup/memory/release_agent", os.O_WRONLY)'),
    _tried("uevent helper", 'return opened("/sys/kernel/uevent_helper", os.O_WRONLY)'),
    _compared(
        "control group's own path", 'return any(len(line.split(":", 2)[2]) > 1 for line in text("/proc/self/cgroup").decode().split())'
    ),
)

KERNEL_FILES = (
    _tried("core pattern", 'return opened("/proc/sys/kernel/core_pattern", os.O_WRONLY)'),
    _tried("modprobe's path", 'return opened("/proc/sys/kernel/modprobe", os.O_WRONLY)'),
    _tried("binary formats", 'return opened("/proc/sys/fs/binfmt_misc/register", os.O_WRONLY)'),
    _proved("kernel's settings", 'return listed("/proc/sys")'),
    _tried("magic keys", 'return opened("/proc/sysrq-trigger", os.O_WRONLY)'),
    _proved("kernel's command line", 'return text("/proc/cmdline")'),
    _proved("kernel's symbols", 'return text("/proc/kallsyms")'),
    _compared("keys", 'return text("/proc/key-users")'),
    _tried("kernel's log", 'return opened("/proc/kmsg")'),
    _tried("timers", 'return opened("/proc/timer_list")'),
    _compared("interrupts' affinity", 'return listed("/proc/irq")'),
    _compared("file systems in use", 'return listed("/proc/fs")'),
    _compared("bus devices", 'return listed("/proc/bus")'),
    _tried("own score of memory shortage", 'return os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000")'),
    _tried("own user map", 'return os.write(os.open("/proc/self/uid_map", os.O_WRONLY), b"0 0 1")'),
    _proved(
        "host's processes",
        "return [pid for pid in pids() if pid > 2 and pid not in (os.getpid(), os.getppid())]",
    ),
)

SECRETS = (
    _proved(
        "secret in an environment",
        'return any(given["secret"].encode() in part for part in [text("/proc/self/environ"), repr(os.environ).encode()])',
    ),
    _tried("secret in the first process's environment", 'return text("/proc/1/environ")'),
    _tried(
        "secret in any environment",
        """
for pid in pids():
    try:
        if given["secret"].encode() in text(f"/proc/{pid}/environ"):
            return pid
    except OSError:
        continue
return None""",
    ),
    _tried("host's paths on a command line", 'return any(given["project"].encode() in text(f"/proc/{pid}/cmdline") for pid in pids())'),
    _proved("secret in an inherited descriptor", 'return given["secret"].encode() in os.pread(given["descriptor"], 4096, 0)'),
    _tried(
        "any descriptor but the three",
        'extra = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2}\n'
        "links = {}\n"
        "for number in extra:\n"
        "    try:\n"
        '        links[number] = os.readlink(f"/proc/self/fd/{number}")\n'
        "    except OSError:\n"
        "        continue\n"
        'return [link for link in links.values() if not link.startswith(("pipe:", "/proc/"))]',
    ),
    _tried(
        "descriptors of the first process",
        """
theirs = [f"/proc/1/fd/{name}" for name in os.listdir("/proc/1/fd") if int(name) > 2]
return [os.open(path, os.O_RDONLY) for path in theirs if not os.readlink(path).startswith("anon_inode")]""",
    ),
    _proved("launcher's user", "return os.getuid() != 1000"),
    _tried("host's root", "return os.getuid() == 0 or os.geteuid() == 0"),
    _proved("host's name", 'return os.uname().nodename != "sandbox"'),
)

NAMESPACES = (
    _proved("new user namespace", 'call("unshare", 0x10000000); return "unshared"'),
    _tried("new mount namespace", 'call("unshare", 0x00020000); return "unshared"'),
    _tried("new time namespace", 'call("unshare", 0x00000080); return "unshared"'),
    _proved(
        "clone into a user namespace",
        """
child = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
return "cloned\"""",
    ),
    _proved("clone3", 'return arrived("clone3", None, 0)'),
    _proved("joining a namespace", 'return arrived("setns", -1, 0)'),
    _proved("mount", 'return arrived("mount", b"none", b"/nothing", b"tmpfs", 0, None)'),
    _proved("remount", 'return arrived("mount", b"none", b"/nothing", None, 32 | 4096, None)'),
    _compared("unmount", 'return arrived("umount2", b"/nothing", 2)'),
    _proved("bind of the root", 'return arrived("mount", b"/", b"/nothing", None, 4096, None)'),
    _compared("list of mounts", 'return arrived("statmount", None, None, 0, 0)'),
    _proved("copy of a mount tree", 'return arrived("open_tree", -100, b"/", 0)'),
    _tried("change of a mount", 'return arrived("mount_setattr", -100, b"/proc", 0, b"\\0" * 32, 32)'),
    _compared("pivot_root", 'return arrived("pivot_root", b"/nothing", b"/nothing")'),
    _proved("chroot", 'return arrived("chroot", b"/nothing")'),
    _proved("file handle", 'return arrived("name_to_handle_at", -100, b"/", None, None, 0)'),
    _tried("file by handle", 'return arrived("open_by_handle_at", -100, b"\\0" * 16, 0)'),
    _tried("writable root", 'return opened("/", os.O_WRONLY | os.O_TMPFILE)'),
    _tried("writable packages", 'return opened("/venv/lib", os.O_WRONLY | os.O_TMPFILE)'),
    _tried("writable interpreter", 'return opened("/python/bin", os.O_WRONLY | os.O_TMPFILE)'),
    _tried("writable input", 'return opened("/given/file", os.O_WRONLY)'),
    _tried("mode of an input", 'os.chmod("/given/file", 0o777); return "changed"'),
    _tried("writable passwd", 'return opened("/etc/passwd", os.O_WRONLY)'),
    _tried("writable /dev", 'return opened("/dev", os.O_WRONLY | os.O_TMPFILE)'),
)

PROCESSES = (
    _proved("ptrace of itself", 'call("ptrace", 0, 0, 0, 0); return "traced"'),
    _tried("ptrace of the first process", 'call("ptrace", 16, 1, 0, 0); return "attached"'),
    _proved("memory of a neighbour", 'return arrived("process_vm_readv", given["outside_pid"], None, 0, None, 0, 0)'),
    _proved("writing a neighbour's memory", 'return arrived("process_vm_writev", given["outside_pid"], None, 0, None, 0, 0)'),
    _proved("descriptor of a neighbour", 'return arrived("pidfd_getfd", os.pidfd_open(os.getpid()), 0, 0)'),
    _proved("comparing processes", 'return arrived("kcmp", os.getpid(), os.getpid(), 0, 0, 1)'),
    _proved("signal to a host's process", 'os.kill(given["outside_pid"], 0); return "it exists"'),
    _proved("priority of a host's process", 'return os.getpriority(os.PRIO_PROCESS, given["outside_pid"]) is not None and "seen"'),
    _proved("limits of a host's process", 'return resource.prlimit(given["outside_pid"], resource.RLIMIT_NOFILE)'),
    _proved("memory file of a host's process", "return opened(f\"/proc/{given['outside_pid']}/mem\")"),
    _tried("higher priority", 'os.nice(-5); return "raised"'),
    _tried("real-time scheduling", 'os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); return "set"'),
    _tried("higher limits", "return raised(resource.RLIMIT_NOFILE, 1 << 20)"),
    _tried("core dump", "return raised(resource.RLIMIT_CORE, 1 << 20)"),
    _proved("pages of another process", 'return arrived("move_pages", given["outside_pid"], 0, None, None, None, 0)'),
)

SOCKETS = (
    _proved(
        "secret on a loopback port",
        'with socket.create_connection(("127.0.0.1", given["port"]), timeout=2) as s: return given["secret"].encode() in s.recv(99)',
    ),
    _proved("internet socket", "return socket.socket(socket.AF_INET)"),
    _proved("IPv6 socket", "return socket.socket(socket.AF_INET6)"),
    _proved("datagram to a name server", 's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", 53)); return s'),
    _proved("name resolution", 'try:\n    return socket.getaddrinfo("localhost", 80)\nexcept socket.gaierror:\n    return None'),
    _proved(
        "abstract socket of the host",
        's = socket.socket(socket.AF_UNIX); s.connect("\\0" + given["abstract"]); return given["secret"].encode() in s.recv(99)',
    ),
    _proved("netlink", "return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    _tried("raw packets", "return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    _tried("raw IP", "return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    _compared("virtual machine socket", "return socket.socket(40, socket.SOCK_STREAM)"),
    _compared("kernel crypto socket", "return socket.socket(38, socket.SOCK_SEQPACKET)"),
    _compared("bluetooth", "return socket.socket(31, socket.SOCK_RAW)"),
    _compared("CAN bus", "return socket.socket(29, socket.SOCK_RAW, 1)"),
    _proved(
        "interfaces besides loopback", 'return [name for _, name in socket.if_nameindex() if name != "lo"] or socket.socket(socket.AF_INET)'
    ),
)

CALLS = (
    _compared("bpf", 'return arrived("bpf", 0, None, 0)'),
    _compared("performance counters", 'return arrived("perf_event_open", None, 0, -1, -1, 0)'),
    _compared("io_uring", 'return arrived("io_uring_setup", 1, None)'),
    _compared("userfaultfd", 'return arrived("userfaultfd", 1)'),
    _proved("asking the keyring", 'return arrived("keyctl", 0, -3, 0)'),
    _proved("adding a key", 'return arrived("add_key", None, None, None, 0, -3)'),
    _proved("requesting a key", 'return arrived("request_key", None, None, None, 0)'),
    _deadly("new kernel", 'return arrived("kexec_load", 0, 0, None, 1 << 31)'),
    _deadly("new kernel from a file", 'return arrived("kexec_file_load", -1, -1, 0, None, 1 << 31)'),
    _deadly("kernel module", 'return arrived("init_module", None, 0, None)'),
    _deadly("kernel module from a file", 'return arrived("finit_module", -1, None, 0)'),
    _deadly("removal of a module", 'return arrived("delete_module", None, 0)'),
    _deadly("reboot", 'return arrived("reboot", 0, 0, 0, None)'),
    _tried("setting the clock", 'return arrived("settimeofday", None, None)'),
    _tried("setting a clock", 'return arrived("clock_settime", 0, None)'),
    _proved("tuning the clock", 'return arrived("adjtimex", None)'),
    _tried("swap on", 'return arrived("swapon", b"/nothing", 0)'),
    _tried("swap off", 'return arrived("swapoff", b"/nothing")'),
    _tried("host name", 'return arrived("sethostname", b"x", -1)'),
    _proved("another personality", 'return arrived("personality", 0x0040000)'),
    _compared("watching the file system", 'return arrived("fanotify_init", 0, 0)'),
    _proved("disk quota", 'return arrived("quotactl", 0x800007 << 8, None, 0, None)'),
    _tried("process accounting", 'return arrived("acct", b"/nothing")'),
    _compared("secret memory", 'return arrived("memfd_secret", 0xFFFF)'),
    _proved("gifted pages", 'return arrived("vmsplice", -1, None, 0, 0)'),
    _proved("asynchronous input and output", 'return arrived("io_setup", 0, None)'),
    _proved("shared memory of System V", 'return arrived("shmget", 0, 0, 0)'),
    _proved("semaphores of System V", 'return arrived("semget", 0, 0, 0)'),
    _proved("messages of System V", 'return arrived("msgget", 7, 0)'),
    _proved("message queues", 'return arrived("mq_open", b"none", 0, 0, None)'),
    _tried("kernel's log by call", 'return arrived("syslog", 3, None, 0)'),
    _proved("remapped pages", 'return arrived("remap_file_pages", 0, 0, 1, 0, 0)'),
    _proved(
        "call of tomorrow", 'numbers["new"] = 600; libc.syscall(600); return ctypes.get_errno() == errno.ENOSYS and arrived("setns", -1, 0)'
    ),
    _proved(
        "typing into a terminal",
        "return asked_terminal(0x5412)",
    ),
    _proved(
        "pasting into a console",
        "return asked_terminal(0x541C)",
    ),
    _tried("filter off", 'return libc.prctl(22, 0, 0, 0, 0) == 0 and "off"'),
    _tried("new privileges", "libc.prctl(38, 0, 0, 0, 0); return libc.prctl(39, 0, 0, 0, 0) != 1"),
    _tried("another user", "os.setuid(0); return os.getuid() == 0"),
    _tried("another group", "os.setgid(0); return os.getgid() == 0"),
    _tried("other groups", "os.setgroups([0]); return True"),
    _tried(
        "capabilities",
        'header = struct.pack("II", 0x20080522, 0); return libc.capset(header, struct.pack("I" * 6, *[0xFFFFFFFF] * 6)) == 0',
    ),
    _tried("ambient capability", "return libc.prctl(47, 2, 21, 0, 0) == 0"),
    _tried(
        "setuid program",
        'return [path for path in ("/bin/su", "/usr/bin/su", "/usr/bin/sudo", "/usr/bin/mount") if os.path.exists(path)]',
    ),
    _tried(
        "setuid file of its own",
        'return not os.statvfs("/tmp").f_flag & os.ST_NOSUID',
    ),
)

X86 = (
    _deadly("x32 calls", "return libc.syscall(ctypes.c_long(0x40000000 | 39)) > 0"),
    _deadly(
        "32-bit calls",
        """
code = b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3"
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
return ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0""",
    ),
    _tried("all ports", 'return arrived("iopl", 3)'),
    _compared("own ports", 'return arrived("iopl", 0)'),
    _tried("one port", 'return arrived("ioperm", 0x80, 1, 1)'),
    _proved("local descriptor table", 'return arrived("modify_ldt", 0, None, 0)'),
)

ALL = (*HOST_FILES, *KERNEL_FILES, *SECRETS, *NAMESPACES, *PROCESSES, *SOCKETS, *CALLS)
