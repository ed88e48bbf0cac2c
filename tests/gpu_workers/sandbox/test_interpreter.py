import os
import sys
from pathlib import Path

import pytest

from gpu_workers.sandbox import identity, interpreter


def test_shows_named_packages_with_what_they_require() -> None:
    found = {
        Path(inside).name for inside in interpreter.layout(("torch", "safetensors")).binds if inside.startswith(interpreter.SITE_PACKAGES)
    }
    assert found >= {"torch", "safetensors", "sympy", "networkx", "typing_extensions.py"}
    assert not found & {"django", "celery", "market", "gpu_workers", "agents_sdk"}
    assert not [name for name in found if name.endswith((".dist-info", ".pth"))]


def test_shows_no_folder_above_what_it_needs() -> None:
    layout = interpreter.layout(("numpy",))
    forbidden = {"/", "/usr", "/home", "/root", "/etc", "/var", "/opt", str(Path.home()), sys.prefix, str(Path(sys.prefix).parent)}
    assert not set(layout.binds.values()) & forbidden
    assert not set(layout.binds) & {"/etc", "/usr", "/"}


def test_says_what_is_not_installed() -> None:
    with pytest.raises(interpreter.PackageMissing, match="no-such-package is not installed"):
        interpreter.layout(("no-such-package",))


def test_becomes_a_user_that_owns_nothing() -> None:
    users = {identity.unprivileged_user() for _ in range(20)}
    if os.geteuid() == 0 and len(Path("/proc/self/uid_map").read_text("ascii").split()) == 3:
        assert all(user > 1000 for user in users)
        # A new one each time: two sandboxes can't signal each other.
        assert len(users) > 1
    else:
        assert users == {0}
