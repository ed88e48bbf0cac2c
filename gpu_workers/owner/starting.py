"""Everything between the command line and a working program: limits, class of the machine, sandbox, registration."""

import os
import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from agents_sdk import leases
from gpu_workers.owner import errands, limits, sensors
from gpu_workers.owner import folder as folders
from gpu_workers.runner import hardware
from gpu_workers.sandbox import levels
from verification.replay.classes import ClassKey

_UNHOLDABLE = re.compile(r"[^A-Za-z0-9._:@-]+")


class NoSandbox(Exception):
    """This machine can't hold strangers' code; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Machine:
    """What this machine is to the market."""

    class_key: ClassKey
    level: str


def read_limits(folder: folders.Folder, path: Path | None) -> limits.Limits:
    """Read the owner's limits: the file named, or limits.toml of the folder, or none.

    Raises:
        MalformedLimits: it can't be used; or the file named is not there.
    """
    chosen = path or folder.path / "limits.toml"
    try:
        return limits.parse(chosen.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is not None:
            raise limits.MalformedLimits(f"There is no file {path}.") from None
        return limits.Limits()
    except UnicodeDecodeError:
        raise limits.MalformedLimits(f"{chosen} is not text in UTF-8.") from None
    except limits.MalformedLimits as error:
        raise limits.MalformedLimits(f"{chosen}: {error}") from None


def this_machine(owner: limits.Limits) -> Machine:
    """Find out the class of this machine and the sandbox level that it reaches.

    Raises:
        NoSandbox: no level is reached.
        hardware.NoSuchDevice: torch or the card is missing.
    """
    found = levels.detect()
    if found.reached == "none":
        raise NoSandbox(f"Strangers' code can't be held here: {found.available['bwrap-cpu']}")
    card = sensors.Reading(cards=sensors.cards()).card(owner.gpus)
    # A card counts only behind a sandbox that holds it; without one the machine serves its processor, and says so.
    if card is None or levels.ORDER.index(found.reached) < levels.ORDER.index("gvisor-gpu"):
        return Machine(hardware.class_key(precision="fp32", threads=owner.threads), found.reached)
    return Machine(hardware.class_key(precision="bf16", threads=owner.threads, device="cuda", index=card.index), found.reached)


def register(client: leases.LeaseClient, folder: folders.Folder, machine: Machine) -> tuple[errands.Host, leases.Host]:
    """Register the machine with the market, which knows it again by its name and class.

    Raises:
        AtomsError: the market refuses it, or can't be reached.
    """
    facts: dict[str, JsonValue] = {"cores": os.cpu_count() or 1, "system": platform.system(), "python": platform.python_version()}
    registered = client.register_host(socket.gethostname()[:80], class_key=machine.class_key.text, sandbox_level=machine.level, facts=facts)
    host = errands.Host(registered.id, machine.class_key.text, machine.level, holder())
    folder.make()
    folders.write(folder.path / "host.json", {"id": host.id, "class_key": host.class_key, "sandbox_level": host.sandbox_level})
    return host, registered


def known_host(folder: folders.Folder, machine: Machine) -> errands.Host | None:
    """Return this machine as it was registered before; None if it was not, or has changed since."""
    kept = folders.read(folder.path / "host.json")
    if kept is None or (kept["class_key"], kept["sandbox_level"]) != (machine.class_key.text, machine.level):
        return None
    return errands.Host(str(kept["id"]), machine.class_key.text, machine.level, holder())


def holder(variables: Mapping[str, str] = os.environ) -> str:
    """Return the name of this program in the market's logs; the same after every start, for a question is asked again under it."""
    return (_UNHOLDABLE.sub("-", variables.get("ATOMS_GPU_HOLDER") or socket.gethostname())[:80]) or "host"
