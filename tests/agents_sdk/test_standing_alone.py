"""The SDK needs its base dependencies alone ..."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCKER = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        allowed = set(sys.argv[1].split(","))
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in allowed or top.startswith("_sysconfigdata"):
            return None
        raise ModuleNotFoundError(f"{name} is not a dependency of the SDK", name=name)

sys.meta_path.insert(0, Blocker())
import agents_sdk, agents_sdk.cli, agents_sdk.leases, agents_sdk.worker
assert agents_sdk.cli.main("post Open? --at 1,2 --within 50 --reward 1.00 --by 2h --curl".split()) == 0
print(sorted({name.partition(".")[0] for name in sys.modules} & {"django", "PIL", "numpy", "celery", "market", "tasks"}))
"""
# What the base dependencies bring along.
BROUGHT_ALONG = {
    "annotated_types", "anyio", "certifi", "cffi", "_cffi_backend", "h11", "httpcore", "idna", "pydantic_core", "sniffio",
    "typing_extensions", "typing_inspection",
}  # fmt: skip


def test_it_imports_and_runs_without_anything_of_the_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {requirement.partition(">")[0].strip() for requirement in project["dependencies"]}
    allowed = ",".join(declared | BROUGHT_ALONG | {"agents_sdk"})
    done = subprocess.run([sys.executable, "-c", BLOCKER, allowed], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"


def test_its_types_are_shipped() -> None:
    assert (ROOT / "agents_sdk" / "py.typed").is_file()
