"""Schemathesis sends what the OpenAPI description allows, and what it forbids: no 500, and every answer is as described."""

import contextlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from market.accounts.models import Agent
from market.config.wsgi import application
from market.events import delivery, feed
from market.events.models import Delivery
from tasks.models import WorkerProfile
from tests import stories
from tests.market.api.caller import Caller, calling_as
from verification.models import VisionRun

pytestmark = pytest.mark.django_db

# For each operation: so many requests that the description allows, and as many that it forbids.
EXAMPLES = 3
WANTED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
Operation = schemathesis.schemas.APIOperation[Any, Any, Any, Any]


def operations() -> Iterator[Operation]:
    description = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    schema = schemathesis.openapi.from_dict(description)
    schema.app = application
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        yield found.ok()


@pytest.fixture
def secrets(agent: Agent, worker: WorkerProfile, as_machine: Caller) -> dict[str, str]:
    return {"agent": calling_as(agent).secret, "worker": calling_as(worker).secret, "lease": as_machine.secret}


@pytest.fixture
def real_ids(agent: Agent, worker: WorkerProfile) -> dict[str, str]:
    """Objects that exist, for every second request."""
    endpoint = delivery.add_endpoint(agent=agent, url="https://hooks.example.com/in")
    bounty = stories.post_photo_bounty(agent, slots=2)
    submission = stories.rejected(bounty, worker)
    feed.sequence()
    run = VisionRun.objects.first()
    return {
        "bounty_id": str(bounty),
        "task_id": str(bounty.task),
        "claim_id": str(submission.claim),
        "submission_id": str(submission),
        "endpoint_id": str(endpoint),
        "delivery_id": str(Delivery.objects.latest("created_at")),
        "run_id": str(run) if run else "run_" + "0" * 32,
    }


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """Let requests use the test's own connection and leave it open, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_answers_as_described(secrets: dict[str, str], real_ids: dict[str, str]) -> None:
    faults = []
    for operation in operations():
        try:
            attack(operation, secrets, real_ids)
        except (AssertionError, schemathesis.errors.SchemathesisError, BaseExceptionGroup) as fault:
            faults.append(f"{operation.label}: {fault!r}")
    assert faults == []


def attack(operation: Operation, secrets: dict[str, str], real_ids: dict[str, str]) -> None:
    words = str(operation.definition.raw.get("description", ""))
    scope = next((scope for scope in ("agent", "worker", "lease") if f"Key scope: {scope}" in words), "agent")

    @hypothesis.given(
        case=operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE), is_real=strategies.booleans()
    )
    @hypothesis.settings(
        max_examples=2 * EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    def send(case: schemathesis.Case[Any], is_real: bool) -> None:
        if is_real:
            case.path_parameters = {name: real_ids.get(name, value) for name, value in (case.path_parameters or {}).items()}
        # Each request finds the same objects: what it did is undone.
        with contextlib.suppress(Undone), transaction.atomic():
            response = case.call(headers={"Authorization": f"Bearer {secrets[scope]}"})
            case.validate_response(response, checks=WANTED)
            raise Undone

    send()


class Undone(Exception):
    """Rolls a request back."""
