"""What docs/api says about SDK and command is true: every snippet runs ..."""

import re
import shlex
from pathlib import Path

import httpx
import pytest

import agents_sdk
from agents_sdk import AsyncMarket, Market, errors
from agents_sdk.cli import program
from tests.agents_sdk import replies

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLAIN = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BOUNTY = f"/v1/bounties/{replies.BOUNTY_ID}"


def answers() -> httpx.MockTransport:
    """Answer as a market whose simulated worker has been quick."""
    paid = replies.submission(receipt=replies.receipt())
    money = {"amount": "1.00", "currency": "USD"}
    quote = dict.fromkeys(("price", "fee", "reserve", "total"), money) | {"policy": {"is_allowed": True, "codes": []}}
    settled = replies.bounty("SETTLED", submissions=[paid])

    def handle(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/bounties":
            return replies.ok(quote if request.url.params else replies.bounty())
        if path == "/v1/events":
            return replies.ok(replies.page(*([replies.event(1)] if request.url.params["after"] == "0" else [])))
        bodies = {BOUNTY: settled, f"{BOUNTY}/submissions": replies.page(paid), "/v1/keys": replies.KEYS}
        bodies[f"/v1/submissions/{replies.SUBMISSION_ID}"] = paid
        return httpx.Response(200, content=replies.PHOTO) if path.startswith("/v1/media/") else replies.ok(bodies[path])

    return httpx.MockTransport(handle)


@pytest.fixture
def quick_market(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give every client that a snippet makes a market to talk to."""
    monkeypatch.setenv("ATOMS_API_KEY", replies.KEY)
    monkeypatch.setenv("ATOMS_URL", replies.URL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agents_sdk, "Market", lambda: Market(http_client=httpx.Client(transport=answers())))
    monkeypatch.setattr(agents_sdk, "AsyncMarket", lambda: AsyncMarket(http_client=httpx.AsyncClient(transport=answers())))


def snippets(page: str) -> str:
    return "\n".join(PYTHON.findall((DOCS / page).read_text()))


@pytest.mark.usefixtures("quick_market")
@pytest.mark.parametrize("page", ["quickstart.md", "sdk.md"])
def test_the_snippets_of_a_page_run_one_after_the_other(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippets(page), page, "exec"), {"__name__": page})  # noqa: S102 - our own documentation
    assert "ACCEPTED" in capsys.readouterr().out


def test_the_quickstart_has_five_lines_at_most() -> None:
    first = PYTHON.findall((DOCS / "quickstart.md").read_text())[0]
    assert len(first.splitlines()) <= 5
    assert max(len(line) for line in first.splitlines()) <= 140


def test_the_tree_of_errors_is_the_modules_own() -> None:
    tree = (DOCS / "sdk.md").read_text().partition("```\nAtomsError\n")[2].partition("```")[0]
    drawn = [line.strip() for line in (errors.__doc__ or "").splitlines() if "─ " in line]
    assert [line.strip() for line in tree.splitlines()] == drawn


def test_the_commands_of_the_page_are_understood(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOMS_URL", replies.URL)
    blocks = "\n".join(PLAIN.findall((DOCS / "cli.md").read_text()))
    commands = re.findall(r"(?:^|\()(atoms [a-z].*?)(?= \||$)", blocks, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        arguments = [replies.BOUNTY_ID if word == "$id" else word for word in shlex.split(command)[1:]]
        assert program.main([*arguments, "--curl"]) == 0, command
        assert capsys.readouterr().out.startswith("curl ")


def test_every_argument_of_a_photo_bounty_is_explained() -> None:
    page = (DOCS / "sdk.md").read_text()
    for name in agents_sdk.PhotoOptions.__annotations__:
        assert f"`{name}`" in page or name == "simulate", name
    assert "`simulate=`" in (DOCS / "quickstart.md").read_text()
