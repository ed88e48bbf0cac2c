"""docs/api/research.md does what it says, word for word, against the real market; only the owners' trainings are made up ..."""

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import agents_sdk
from agents_sdk import _research_calls
from agents_sdk.cli import program
from gpu_workers.runner.workloads.byte_lm import corpus, workload
from market.accounts.models import Agent
from market.bounties.research import settlement
from tasks import clock
from tests.agents_sdk import real, replies, research_replies
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification.replay import scoring
from verification.research.models import Candidate, Idea, Run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api" / "research.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(text: str) -> str:
    return "\n".join(PYTHON.findall(text))


def score_of(run: Run) -> scoring.Score:
    """Let a short warm-up be the one thing that helps."""
    value = 2.0 if "WARM_UP_STEPS = 2" in run.tree.untrusted_files["train.py"] else 2.1
    return scoring.Score(public=value, holdout=value, parameter_count=100_000, probes=scenes.probes())


# Not in one transaction: its claimant trains for a while, and PostgreSQL ends one that idles for a minute.
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("real_market")
def test_the_page_runs_from_top_to_bottom(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("repository").mkdir()
    for name, text in workload.base_files().items():
        Path("repository", name).write_text(text)
    corpus.write(tmp_path)
    machines = [scenes.open_host() for _ in range(3)]
    monkeypatch.setattr(scenes, "score_of", score_of)
    # The page's runs are shorter than those of the scenes.
    monkeypatch.setattr(scenes, "report_of", functools.partial(scenes.report_of, curve=()))

    def let_all_work(_: float) -> None:
        for candidate in Candidate.objects.filter(status__in=Candidate.UNDECIDED):
            scenes.play(candidate, machines)
        settlement.apply_due(now=clock.now())

    def client_of(someone: Agent) -> Any:
        client = real.market_of(someone)
        client._http.sleep = client.research._http.sleep = let_all_work
        return client

    poster, _, claimant = PAGE.read_text().partition("## Take part")
    monkeypatch.setattr(agents_sdk, "Market", lambda: client_of(agent))
    exec(compile(snippets(poster), "poster", "exec"), {"__name__": "poster"})  # noqa: S102 - our own documentation
    assert " OPEN 0.05 USD" in capsys.readouterr().out
    monkeypatch.setattr(agents_sdk, "Market", lambda: client_of(scene.open_maker()))
    exec(compile(snippets(claimant), "claimant", "exec"), {"__name__": "claimant"})  # noqa: S102
    told = capsys.readouterr().out
    assert "ACCEPTED gain_verified" in told
    assert "kept Leave the weight decay out." in told
    assert "\nTrue RECEIVED\n" in told
    assert {idea.status for idea in Idea.objects.all()} == {Idea.Status.WORKED, Idea.Status.FAILED}
    assert [candidate.status for candidate in Candidate.objects.order_by("place")] == ["ACCEPTED", "RECEIVED"]


def test_every_argument_is_explained() -> None:
    page = PAGE.read_text()
    for name in {**_research_calls.ResearchOptions.__annotations__, **_research_calls.DEFAULTS}:
        assert f"`{name}`" in page or f"{name}=" in page or name in ("version", "metric", "currency"), name


def test_the_commands_of_the_page_are_understood(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATOMS_URL", replies.URL)
    monkeypatch.chdir(tmp_path)
    research_replies.tip().save("work")
    commands = re.findall(r"^(atoms research .*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        arguments = [research_replies.BOUNTY_ID if word == "$id" else word for word in shlex.split(command)[1:]]
        assert program.main([*arguments, "--curl"]) == 0, command
        assert capsys.readouterr().out.startswith("curl ")
