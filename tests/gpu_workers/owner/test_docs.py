"""What docs/gpu-owners.md says is true ..."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from gpu_workers.owner import children, limits, machine, program

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "gpu-owners.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_its_limits_file_is_read_and_has_every_key() -> None:
    (text,) = blocks("toml")
    read = limits.parse(text)
    assert read.gpus == (0,)
    assert len(read.schedule) == 2
    keys = {each.name for each in dataclasses.fields(limits.Limits)} - {"serve"}
    assert [key for key in keys if not re.search(rf"^\[*{key}\b", text, re.MULTILINE)] == []


def test_its_commands_are_understood() -> None:
    commands = re.findall(r"^(atoms-gpu .*?)(?: \||$)", "\n".join(blocks("sh")), re.MULTILINE)
    commands += re.findall(r"^\| `(atoms-gpu [^`]*)`", PAGE, re.MULTILINE)
    parser = program._parser()
    parsed = [parser.parse_args(shlex.split(command)[1:]).command for command in commands]
    assert set(parsed) == set(program._COMMANDS)


@pytest.mark.parametrize("flag", ["--json", "--url", "--limits", "--no-replay", "--watch", "--anyway"])
def test_its_flags_are_the_programs_own(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flag in PAGE
    helps = []
    for command in program._COMMANDS:
        with pytest.raises(SystemExit):
            program.main([command, "--help"])
        helps.append(capsys.readouterr().out)
    assert any(flag in text for text in helps)


def test_its_figures_are_those_of_the_code() -> None:
    assert f"{limits.COOLER_BY_C} degrees below" in PAGE
    assert machine.HOLD_S == 300
    assert "within five minutes" in PAGE
    assert children.GRACE_S < 2
    assert "within two seconds" in PAGE
