"""Taking a stake out, as docs/gpu-owners.md says it: it ..."""

import json
import re
from pathlib import Path

import pytest

from market.accounts.models import Agent
from tests.faults import research_calls
from tests.market.api.caller import Caller

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).resolve().parents[4] / "docs" / "gpu-owners.md").read_text()
CURL = re.compile(r'^curl -sS "\$ATOMS_URL/v1/(\S+?)"(.*)$', re.MULTILINE)


def test_works_by_the_commands_of_the_page(agent: Agent) -> None:
    (listed, reads), (taken, writes) = CURL.findall(PAGE)
    assert "-d" not in reads
    body = json.loads(re.findall(r"-d '(.*)'", writes)[0])
    made = research_calls.MAKERS["stakes-withdraw", "POST"](agent)
    owner = Caller(made.secret)
    assert owner.get(listed).ok()["data"][0]["amount"] == {"amount": "0.50", "currency": "USD"}
    assert owner.post(taken, body).ok()["amount"] == {"amount": "0.50", "currency": "USD"}
    owner.post(taken, body).refused(409, "nothing_staked")
    assert owner.get(listed).ok()["data"][0]["amount"] == {"amount": "0.00", "currency": "USD"}
