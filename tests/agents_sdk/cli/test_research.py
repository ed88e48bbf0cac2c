"""`atoms research`: the client's calls for shells ..."""

import json
from pathlib import Path

import pytest

from tests.agents_sdk import replies, research_replies
from tests.agents_sdk.cli import test_program
from tests.agents_sdk.cli.test_program import Shell

shell = test_program.shell
BOUNTY, CASE = research_replies.BOUNTY_ID, research_replies.CANDIDATE_ID
TOML = """
title = "Train better"
tree = "repository"
editable = ["train.py"]
budget = "200.00"
reward_per_effect = "5.00"
cap = "20.00"
run_fee = "0.05"
by = "30d"
steps = 200
[data]
train = "train.bin"
validation = {"seen.bin" = "seen.bin"}
holdout = "secret.bin"
"""


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A bounty's file with its tree and data beside it."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/train.py").write_text("x = 1\n")
    for name in ("train.bin", "seen.bin", "secret.bin"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "bounty.toml").write_text(TOML)
    return tmp_path / "bounty.toml"


def test_posts_what_a_file_describes(shell: Shell, described: Path) -> None:
    kept = replies.ok({"sha256": "ab" * 32, "byte_count": 8})
    market = replies.FakeMarket(kept, kept, kept, replies.ok(research_replies.bounty(), 201))
    ran = shell.run(["research", "post", str(described), "--idempotency-key", "mine"], market)
    assert ran.code == 0
    assert ran.out.startswith(f"{BOUNTY}  OPEN\n")
    assert research_replies.INJECTION not in ran.out
    body = replies.sent_json(market.requests[-1])
    assert body["base"] == {"train.py": "x = 1\n"}
    assert [(file["name"], file["role"]) for file in body["spec"]["data"]] == [
        ("train", "train"),
        ("seen.bin", "validation"),
        ("holdout", "holdout"),
    ]


def test_quotes(shell: Shell, described: Path) -> None:
    market = replies.FakeMarket(replies.ok(research_replies.quote()))
    ran = shell.run(["research", "post", str(described), "--dry-run"], market)
    assert (ran.code, ran.out.splitlines()[0]) == (0, "total 1.00 USD  would be published")
    assert market.paths == ["POST /v1/research?dry_run=true"]


@pytest.mark.parametrize("text", ["", "title = ", 'title = "x"\ntree = "repository"'])
def test_refuses_a_file_that_describes_none(shell: Shell, described: Path, text: str) -> None:
    described.write_text(text)
    ran = shell.run(["research", "post", str(described)], replies.FakeMarket(replies.ok({})))
    assert (ran.code, ran.out) == (2, "")


def test_goes_from_the_tip_to_the_verdict(shell: Shell, tmp_path: Path) -> None:
    work = tmp_path / "work"
    ran = shell.run(["research", "tip", BOUNTY, str(work)], replies.FakeMarket(replies.ok(research_replies.tree())))
    assert (ran.code, ran.out) == (0, "")
    assert "train.py, extra.py" in ran.err
    (work / "train.py").write_text("LEARNING_RATE = 0.02\n")
    market = replies.FakeMarket(
        replies.ok(research_replies.case(), 201),
        replies.ok(research_replies.case("REPLAYING")),
        replies.ok(research_replies.case("ACCEPTED")),
    )
    ran = shell.run(["research", "submit", str(work), "--note", "Faster.", "--reported-gain", "0.01", "--wait"], market)
    assert ran.code == 0
    assert ran.out.splitlines()[0] == f"{CASE}  ACCEPTED"
    assert "gain_verified" in ran.out
    assert f"atoms research wait {CASE}" in ran.err
    sent = replies.sent_json(market.requests[0])
    assert (sent["files"], sent["note"], sent["reported_gain"]) == ({"train.py": "LEARNING_RATE = 0.02\n"}, "Faster.", 0.01)
    # The same folder again is the same candidate.
    again = replies.FakeMarket(replies.ok(research_replies.case(), 201))
    shell.run(["research", "submit", str(work), "--note", "Faster.", "--reported-gain", "0.01"], again)
    assert again.requests[0].headers["Idempotency-Key"] == market.requests[0].headers["Idempotency-Key"]


def test_exits_with_1_where_nothing_was_gained(shell: Shell) -> None:
    rejected = research_replies.case("REJECTED", reason_code="no_gain", reason="The replays show no gain.")
    ran = shell.run(["research", "wait", CASE, "--json"], replies.FakeMarket(replies.ok(rejected)))
    assert (ran.code, json.loads(ran.out)["reason_code"]) == (1, "no_gain")


def test_prints_the_leaderboard(shell: Shell) -> None:
    ran = shell.run(["research", "leaderboard", BOUNTY], replies.FakeMarket(replies.ok(replies.page(research_replies.leader()))))
    assert ran.out == f"1  {CASE}  gain 0.02  tip 1  1.00 USD  yours\n"
