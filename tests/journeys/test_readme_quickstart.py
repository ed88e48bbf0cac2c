"""The README's quickstart, to the letter: posted by the shipped client, answered by the simulated worker, judged and paid."""

import os
import subprocess
import sys

from agents_sdk import Market
from tests.journeys import stage as stages
from tests.journeys import telling

WITHIN_S = 120


def test_quickstart_ends_in_a_verified_paid_bounty(stage: stages.Stage, market: Market) -> None:
    program = stages.readme_quickstart()
    assert len(program.strip().splitlines()) <= 5
    environment = {**os.environ, "ATOMS_URL": stage.url, "ATOMS_API_KEY": stage.keys["agent_key"]}

    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=stages.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("ACCEPTED True\n")
    newest = next(iter(market.bounties.list()))
    done = telling.eventually(lambda: market.bounties.get(newest.id), lambda bounty: bounty.status == "SETTLED")
    assert done.closed_because == "ACCEPTED"
