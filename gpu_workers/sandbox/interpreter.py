"""Which files of this machine a sandboxed Python needs: the interpreter, its standard library, shared libraries and named packages.

Paths inside are the same on every machine, so that code inside can't tell whose machine it runs on.
"""

import functools
import importlib.metadata
import os
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

PYTHON = "/venv/bin/python"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
HOME = "/python"
SITE_PACKAGES = f"/venv/lib/{VERSION}/site-packages"

_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PROGRAM_INTERPRETER = 3
_TOP_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


class PackageMissing(Exception):
    """A package that should be in the sandbox isn't installed beside this program."""


@dataclass(frozen=True)
class Layout:
    """What a sandbox shows of the host: `binds` inside path -> host path, `links` inside path -> target, `files` inside path -> text,
    `hidden` inside folders that are emptied after the binds, `environment` what the interpreter needs."""

    binds: dict[str, str]
    links: dict[str, str]
    files: dict[str, bytes]
    hidden: tuple[str, ...]
    environment: dict[str, str]


def executable() -> str:
    """Give the real path of this interpreter, behind virtual environments and links."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@functools.cache
def layout(packages: tuple[str, ...]) -> Layout:
    """Lay out this interpreter and `packages` (distribution names) with everything they require.

    Raises:
        PackageMissing: one of `packages` isn't installed.
    """
    program = Path(executable())
    prefix = Path(sys.base_prefix).resolve()
    binds = {f"{HOME}/bin/{VERSION}": str(program)}
    hidden: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    standard = f"{sys.platlibdir}/{VERSION}"
    if prefix == Path("/usr"):
        binds[f"{HOME}/{standard}"] = str(prefix / standard)
    else:
        # Such a Python brings libraries of its own beside its standard library.
        binds[f"{HOME}/{sys.platlibdir}"] = str(prefix / sys.platlibdir)
        environment["LD_LIBRARY_PATH"] = f"{HOME}/{sys.platlibdir}"
        if (prefix / standard / "site-packages").is_dir():
            hidden = (f"{HOME}/{standard}/site-packages",)
    if (prefix / standard / "pydoc_data").is_dir():
        # Nothing computes with it, and the byte workload is scored on text made of it.
        hidden = (*hidden, f"{HOME}/{standard}/pydoc_data")
    for name, path in sorted(_package_paths(packages).items()):
        binds[f"{SITE_PACKAGES}/{name}"] = path
    links = {PYTHON: f"{HOME}/bin/{VERSION}"}
    for folder in _library_folders(program, prefix):
        binds[folder] = folder
    for top in _TOP_FOLDERS:
        if Path(top).is_symlink():
            links[top] = str(Path(top).readlink())
    files = {
        "/venv/pyvenv.cfg": f"home = {HOME}/bin\ninclude-system-site-packages = false\n".encode(),
        "/etc/passwd": b"sandbox:x:1000:1000::/tmp:/nonexistent\n",
        "/etc/group": b"sandbox:x:1000:\n",
    }
    if Path("/etc/ld.so.cache").is_file():
        binds["/etc/ld.so.cache"] = "/etc/ld.so.cache"
    return Layout(binds, links, files, hidden, environment)


def _library_folders(program: Path, prefix: Path) -> list[str]:
    """Give the system folders whose shared libraries this very process uses, and that of its loader; real paths, parents first."""
    ours = {sys.prefix, sys.exec_prefix, str(prefix), *(path for path in sys.path if path)} - {"/usr"}
    found = set()
    for line in Path("/proc/self/maps").read_text("utf-8", "replace").splitlines():
        path = line.split(maxsplit=5)[5] if line.count("/") else ""
        if re.search(r"\.so(\.|$)", path) and not any(path.startswith(f"{mine}/") for mine in ours):
            found.add(str(Path(path).resolve().parent))
    found.add(str(Path(_loader(program)).parent.resolve()))
    return [folder for folder in sorted(found) if not any(folder.startswith(f"{other}/") for other in found)]


def _loader(program: Path) -> str:
    """Read the path of the dynamic loader from a 64-bit little-endian ELF file; "/lib/ld" where it names none."""
    with program.open("rb") as file:
        header = file.read(64)
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for index in range(count):
            file.seek(table + index * size)
            kind, _, offset, _, _, length = struct.unpack("<IIQQQQ", file.read(40))
            if kind == _PROGRAM_INTERPRETER:
                file.seek(offset)
                return file.read(length).rstrip(b"\0").decode()
    return "/lib/ld"


def _package_paths(packages: tuple[str, ...]) -> dict[str, str]:
    """Give the top-level modules and folders of `packages` and of all they require, as name -> host path."""
    paths: dict[str, str] = {}
    seen: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = waiting.pop().lower().replace("_", "-").replace(".", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in packages:
                raise PackageMissing(f"{name} is not installed beside this program: install it with pip, then start again") from None
            continue
        paths.update(_top_level(distribution))
        for requirement in distribution.requires or []:
            found = _REQUIREMENT_NAME.match(requirement)
            if found and "extra ==" not in requirement:
                waiting.append(found.group())
    return paths


def _top_level(distribution: importlib.metadata.Distribution) -> dict[str, str]:
    names = {file.parts[0] for file in distribution.files or []}
    found = {}
    for name in names:
        # Neither metadata, which tells where it was installed from, nor .pth files, which run code.
        if name.endswith((".dist-info", ".egg-info", ".pth")) or name in {"..", "__pycache__"}:
            continue
        path = os.path.realpath(str(distribution.locate_file(name)))
        if Path(path).exists():
            found[name] = path
    return found
