"""Operators look research rows up: every list and row opens, and what must stay hidden is in none of them."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from market.accounts.models import Agent, User
from market.bounties.research import paying
from tasks import clock
from tests.market.web import research_scene as scene
from verification.research.models import Run

pytestmark = pytest.mark.django_db

APPS = ("research", "research_bounties")


@pytest.fixture
def operator(client: Client) -> Client:
    """A browser of somebody who may see everything that the admin shows."""
    client.force_login(User.objects.create_user(username="boss", is_staff=True, is_superuser=True))
    return client


def test_every_list_and_row_opens_and_can_be_searched(operator: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    candidate = scene.send(bounty, scene.searcher(), "LEARNING_RATE = 0.02\n")
    scene.replay(candidate, [0.01], scene.owners(2))
    scene.decide(candidate, "ACCEPTED", gain=0.01)
    scene.idea(bounty, "Tie the embeddings", "FAILED")
    paying.pay_runs_due(now=clock.now())
    seen = 0
    for model in admin.site._registry:
        if model._meta.app_label not in APPS:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert operator.get(reverse(f"{name}_changelist")).status_code == 200, name
        assert operator.get(reverse(f"{name}_changelist"), {"q": str(candidate.pk)}).status_code == 200, name
        row = model._default_manager.first()
        if row is not None:
            page = operator.get(reverse(f"{name}_change", args=[row.pk]))
            assert page.status_code == 200, name
            for secret in ("7000000000", "beef" * 16, "987654", "LEARNING_RATE"):
                assert secret not in page.content.decode(), (name, secret)
            seen += 1
    assert seen >= 10


def test_nothing_can_be_changed(operator: Client, agent: Agent) -> None:
    candidate = scene.send(scene.post(agent), scene.searcher(), "LEARNING_RATE = 0.02\n")
    [run, *_] = scene.replay(candidate, [0.01], scene.owners(1))
    address = reverse("admin:research_run_change", args=[run.pk])
    assert operator.post(address, {"stage": "OPEN"}).status_code == 403
    assert operator.post(reverse("admin:research_run_delete", args=[run.pk]), {"post": "yes"}).status_code == 403
    assert Run.objects.get(pk=run.pk).stage == "VALID"
