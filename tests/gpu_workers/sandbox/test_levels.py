"""Which levels a machine reaches, found on this one and in a user namespace that switches things off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_workers.sandbox import control, launch, levels

# A user of its own with one id, as `unshare --user --map-root-user` makes it: what a machine of an ordinary user looks like.
_ORDINARY = """
import ctypes, json, os, sys
user, group = os.getuid(), os.getgid()
assert ctypes.CDLL(None).unshare(0x10000000) == 0
for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
    with open(f"/proc/self/{file}", "w") as table:
        table.write(text)
for file, text in json.loads(sys.argv[1]).items():
    with open(file, "w") as setting:
        setting.write(text)
from gpu_workers.sandbox import identity, levels
found = levels.detect()
try:
    levels.require("bwrap-cpu", found)
    refusal = ""
except levels.LevelNotReached as error:
    refusal = str(error)
print(json.dumps([identity.unprivileged_user(), found.reached, refusal]))
"""


def as_ordinary_user(settings: dict[str, str]) -> tuple[int, str, str]:
    """Look for levels as a user without rights after some kernel settings of its namespace have been changed."""
    words = [sys.executable, "-c", _ORDINARY, json.dumps(settings)]
    user, reached, refusal = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    return user, reached, refusal


def test_reaches_the_level_for_processors_here() -> None:
    found = levels.detect()
    assert found.available["bwrap-cpu"] == ""
    assert levels.ORDER.index(found.reached) >= levels.ORDER.index("bwrap-cpu")
    assert found.cgroup == launch.control_groups().version
    assert levels.require("bwrap-cpu") == found


def test_reaches_it_without_rights() -> None:
    assert as_ordinary_user({}) == (0, "bwrap-cpu", "")


def test_says_which_setting_switches_it_off() -> None:
    user, reached, refusal = as_ordinary_user({"/proc/sys/user/max_user_namespaces": "0"})
    assert (user, reached) == (0, "none")
    assert "bwrap-cpu is not reached here (reached: none)" in refusal
    assert "sysctl -w user.max_user_namespaces=15000" in refusal


def test_refuses_below_the_level_and_says_what_is_missing() -> None:
    lacking = {"bwrap-cpu": "", "gvisor-gpu": "no runsc: install gVisor", "vm-gpu": "no IOMMU"}
    found = levels.Levels("bwrap-cpu", lacking, "none", ("cpu", "memory", "pids"))
    with pytest.raises(levels.LevelNotReached, match=r"gvisor-gpu is not reached here \(reached: bwrap-cpu\): no runsc: install gVisor"):
        levels.require("gvisor-gpu", found)
    with pytest.raises(levels.LevelNotReached, match="no IOMMU"):
        levels.require("vm-gpu", found)


def test_a_stronger_level_serves_for_a_weaker_one() -> None:
    found = levels.Levels("gvisor-gpu", {"bwrap-cpu": "no", "gvisor-gpu": "", "vm-gpu": "no"}, "v2", ())
    assert levels.require("bwrap-cpu", found) is found


@pytest.mark.parametrize("level", ["none", "docker", ""])
def test_refuses_levels_that_do_not_exist(level: str) -> None:
    with pytest.raises(levels.LevelNotReached, match="there is no sandbox level"):
        levels.require(level)


def test_never_claims_virtual_machines() -> None:
    assert levels.detect().available["vm-gpu"] != ""


def test_control_job_finds_every_door_outside() -> None:
    """Run the job's own program without a sandbox: it must find doors, or it would pass anything."""
    words = [sys.executable, "-I", "-c", control.PROGRAM, "bwrap-cpu"]
    secret = "this file and the environment have it"
    with Path(os.devnull).open("rb") as inherited:
        question = json.dumps([secret, __file__, 1, inherited.fileno()])
        done = subprocess.run(
            words,
            input=f"{question}\n".encode(),
            stdout=subprocess.PIPE,
            check=True,
            env={"BAIT": secret},
            pass_fds=[inherited.fileno()],
        )
    found = set(json.loads(done.stdout))
    assert found >= {
        "secret in an environment",
        "secret in a file of the host",
        "file descriptor of the launcher",
        "host processes visible",
        "new privileges possible",
        "/sys visible",
        "no system call filter",
        "new user namespace",
        "ptrace",
    }
