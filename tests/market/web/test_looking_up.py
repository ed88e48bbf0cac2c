"""The admin: rows to read, nothing to write, no secrets; for staff with the right to look."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.test import Client

from market.accounts.models import Agent, User
from market.bounties import maturing
from market.ledger.models import Transfer
from tasks import clock
from tasks.models import WorkerProfile
from tests import stories

OURS = [
    model
    for model in admin.site._registry
    if model._meta.app_label in {config.label for config in apps.get_app_configs() if "django" not in config.name}
]


@pytest.fixture
def operator(client: Client, agent: Agent, worker: WorkerProfile) -> Client:
    """An operator with every permission, before a market in which something has happened."""
    submission = stories.rejected(stories.post_photo_bounty(agent), worker)
    stories.appeal(submission)
    stories.decide_appeal(submission, User.objects.create_user(username="second"), "ACCEPTED")
    maturing.mature_due(now=clock.now())
    client.force_login(User.objects.create_superuser(username="operator"))
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label_lower)
def test_shows_rows_and_writes_none(operator: Client, model: type[Model]) -> None:
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    assert operator.get(base, {"q": "a"}).status_code == 200
    assert operator.get(f"{base}add/").status_code == 403
    row = model._default_manager.first()
    before = model._default_manager.count()
    if row is not None:
        page = operator.get(f"{base}{row.pk}/change/")
        assert page.status_code == 200
        for secret in ("secret_sha256", "recovery_code_hash", 'name="password"', "pbkdf2", "md5$"):
            assert secret not in page.content.decode()
        assert operator.post(f"{base}{row.pk}/change/", {}).status_code == 403
        assert operator.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        operator.post(base, {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"})
    assert model._default_manager.count() == before


def test_every_story_with_money_can_be_looked_up() -> None:
    labels = {model._meta.label for model in OURS}
    assert {"ledger.Account", "ledger.Transfer", "escrow.Hold", "payments.Payout", "bounties.Settlement", "verification.Verdict"} <= labels
    assert Transfer in OURS
