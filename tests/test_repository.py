"""What holds for the repository as a whole."""

import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client

from market.config.environment import ROOT

PACKAGES = ("market", "tasks", "verification", "agents_sdk", "gpu_workers")
TOP_LEVEL = {
    *PACKAGES, "tests", "docs", "requirements", ".ci", "manage.py", "pyproject.toml",
    "README.md", "CHANGELOG.md", "AGENTS.md", "LICENSE", ".gitignore", ".gitattributes",
}  # fmt: skip
# Files whose text reaches people or agents.
SHOWN = (".html", ".txt", ".js", ".css", ".md", ".json", ".po", ".svg", ".webmanifest")


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def sources() -> list[Path]:
    return [path for path in committed() if path.suffix == ".py"]


def test_the_top_level_holds_nothing_else() -> None:
    assert {path.parts[0] for path in committed()} <= TOP_LEVEL


def test_no_file_takes_the_name_of_the_work_people_do() -> None:
    assert [path for path in sources() if path.name == "tasks.py"] == []


def test_nothing_is_unfinished() -> None:
    marks = re.compile("TO" + "DO|FIX" + "ME|X" + r"XX\b|NotImplementedError|mark\.(?:skip|xfail)|pytest\." + r"skip\(")
    here = Path(__file__).relative_to(ROOT)
    assert [path for path in sources() if path != here and marks.search(text_of(path))] == []


def test_every_level_of_the_tests_is_a_package() -> None:
    folders = {parent for path in sources() if path.parts[0] == "tests" for parent in path.parents if parent != Path()}
    assert [folder for folder in folders if not (ROOT / folder / "__init__.py").exists()] == []


def test_every_package_of_the_contracts_exists() -> None:
    contracts = tomllib.loads(text_of(Path("pyproject.toml")))["tool"]["importlinter"]["contracts"]
    inside_market = next(contract["layers"] for contract in contracts if contract.get("containers") == ["market"])
    names = {f"market/{name.strip()}" for layer in inside_market for name in layer.split("|")} | set(PACKAGES)
    assert [name for name in names if not (ROOT / name / "__init__.py").exists()] == []
    assert [contract["name"] for contract in contracts if contract.get("ignore_imports")] == []


def test_verification_opens_with_nothing() -> None:
    assert text_of(Path("verification/__init__.py")) == ""


def shown_to_people() -> list[Path]:
    served = [path for path in committed() if path.suffix in SHOWN and path.parts[0] in ("market", "verification", "agents_sdk")]
    return served + [path for path in committed() if path.parts[:2] == ("docs", "api") or path.name == "README.md"]


def test_no_page_says_what_the_card_provider_forbids() -> None:
    word = re.compile("esc" + "row", re.IGNORECASE)
    assert [path for path in shown_to_people() if word.search(text_of(path))] == []


@pytest.mark.django_db
def test_no_answer_of_the_interface_says_it_either(client: Client) -> None:
    answer = client.get("/v1/schema")
    assert answer.status_code == 200
    assert "esc" + "row" not in answer.content.decode().lower()


def test_migrations_of_an_app_form_one_line() -> None:
    doubled = {}
    for folder in {path.parent for path in sources() if path.parent.name == "migrations"}:
        numbers = Counter(path.name[:4] for path in sources() if path.parent == folder and path.name != "__init__.py")
        expected = [f"{number:04}" for number in range(1, len(numbers) + 1)]
        if sorted(numbers) != expected or max(numbers.values(), default=1) > 1:
            doubled[str(folder)] = dict(numbers)
    assert doubled == {}


@pytest.mark.django_db
def test_migrations_say_all_that_the_models_say() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_constraints_name_versions_and_no_places() -> None:
    lines = text_of(Path("requirements/constraints.txt")).splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][A-Za-z0-9.]*", line)] == []
    assert lines == sorted(set(lines))


def test_no_registry_stands_in_the_repository() -> None:
    address = re.compile(r"(?:index-url|registry\s*[=:]|\"resolved\"|source = ).*https?" + "://")
    assert [
        path for path in committed() if path.suffix in (".toml", ".txt", ".json", ".cfg", ".md", "") and address.search(text_of(path))
    ] == []


def test_every_own_module_begins_with_a_sentence() -> None:
    silent = []
    for path in sources():
        content = text_of(path).removeprefix("#!/usr/bin/env python3\n").strip()
        if path.parts[0] in PACKAGES and "migrations" not in path.parts and content and not content.startswith('"""'):
            silent.append(path)
    assert silent == []


def test_the_readme_opens_with_the_two_commands() -> None:
    first_block = re.search(r"^```[a-z]*\n(.*?)^```", text_of(Path("README.md")), flags=re.S | re.M)
    assert first_block is not None
    commands = [line.split("#")[0].strip() for line in first_block[1].splitlines() if line.strip()]
    assert commands == ["python3 manage.py market", "python3 manage.py tests"]


def test_the_readmes_quickstart_is_the_documented_one() -> None:
    documented = re.search(r"^```python\n(.*?)^```", text_of(Path("docs/api/quickstart.md")), flags=re.S | re.M)
    assert documented is not None
    assert documented[0] in text_of(Path("README.md"))
    assert len(documented[1].splitlines()) <= 5
