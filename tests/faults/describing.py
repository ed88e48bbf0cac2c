"""Schemathesis sends what the OpenAPI description allows, and what it forbids: no 500, and every answer is as described.

Each operation by itself, with objects that exist and with others; then operations after each other, each fed with what others answered.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import hypothesis
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.stateful.state_machine import APIStateMachine
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from market.config.wsgi import application
from market.ledger import audit
from tests import people
from tests.faults import calls, campaign, mutating, research_calls

WANTED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
STEPS = 8
Operation = schemathesis.schemas.APIOperation[Any, Any, Any, Any]
_FAULTS = (AssertionError, schemathesis.errors.SchemathesisError, BaseExceptionGroup)


def send_described(*, seed: int, rounds: int, chains: int, only: str = "") -> campaign.Report:
    """Send each operation ``rounds`` requests that the description allows and as many that it forbids, then ``chains`` chains.

    ``only`` names a single operation, such as "GET /v1/balance".
    """
    report = campaign.Report({"operations": 0, "requests": 0, "chained requests": 0})
    with _one_connection(), mutating.quiet_and_unlimited(), transaction.atomic():
        stage = _Stage(report)
        for operation in (found for found in stage.operations() if only in ("", found.label)):
            report.count("operations")
            with stage.noting(f"seed {seed}: {operation.label}"):
                stage.attack(operation, seed, rounds)
        with stage.noting(f"seed {seed}: one after the other"):
            stage.follow(seed, chains)
        report.violations += [f"seed {seed}: the books: {breach}" for breach in audit.audit().breaches]
        transaction.set_rollback(True)
    return report


class _Undone(Exception):
    """Rolls a request back."""


class _Stage:
    """Who calls, and objects that exist, for every second request."""

    def __init__(self, report: campaign.Report) -> None:
        self._report = report
        cast = calls.Cast()
        worker = people.open_worker(accepted_count=1_000)
        submission = cast.waiting_for_poster(worker)
        row = cast.delivered()
        replay, owner = research_calls.leased()
        bounty = research_calls.bounty(cast.agent)
        # With its full stop: what both kinds of machines may do is tried by those that see photos.
        self._secrets = {
            "agent": cast.agent_key(),
            "worker": people.secret_of(worker),
            "lease:replay.": owner,
            "lease": cast.machine_key()[1],
        }
        self._real_ids = {
            "bounty_id": str(submission.task.bounty),
            "task_id": str(submission.task),
            "claim_id": str(submission.claim),
            "submission_id": str(submission),
            "endpoint_id": str(row.endpoint),
            "delivery_id": str(row),
            "run_id": str(cast.run()),
            "research_id": str(bounty),
            "candidate_id": str(research_calls.accepted(bounty)),
            "idea_id": str(research_calls.queued_idea(bounty)),
            "replay_id": str(replay),
        }
        self._schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
        self._schema.app = application

    def operations(self) -> Iterator[Operation]:
        """Yield what is described."""
        for found in self._schema.get_all_operations():
            assert isinstance(found, Ok), found
            yield found.ok()

    @contextlib.contextmanager
    def noting(self, where: str) -> Iterator[None]:
        """Report what the description and the market do not agree about."""
        try:
            yield
        except _FAULTS as fault:
            parts = fault.exceptions if isinstance(fault, BaseExceptionGroup) else [fault]
            self._report.violations.append(f"{where}: {'; '.join(map(str, parts))}"[:2_000])

    def headers_for(self, operation: Operation) -> dict[str, str]:
        """Return the key that the operation is open to."""
        words = str(operation.definition.raw.get("description", ""))
        scope = next((scope for scope in self._secrets if f"Key scope: {scope}" in words), "agent")
        return {"Authorization": f"Bearer {self._secrets[scope]}"}

    def attack(self, operation: Operation, seed: int, rounds: int) -> None:
        """Send one operation; each request finds the same objects, because what it did is undone."""
        either = operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE)

        @hypothesis.seed(seed)
        @hypothesis.given(case=either, is_real=strategies.booleans())
        @_settings(2 * rounds)
        def send(case: "schemathesis.Case[Any]", is_real: bool) -> None:
            self._report.count("requests")
            if is_real:
                case.path_parameters = {name: self._real_ids.get(name, value) for name, value in (case.path_parameters or {}).items()}
            with contextlib.suppress(_Undone), transaction.atomic():
                case.validate_response(case.call(headers=self.headers_for(operation)), checks=WANTED)
                raise _Undone

        send()

    def follow(self, seed: int, chains: int) -> None:
        """Send operations after each other: what one answered is where the next one goes."""
        stage = self

        class Chain(self._schema.as_state_machine()):  # type: ignore[misc]
            def get_call_kwargs(self, case: "schemathesis.Case[Any]") -> Mapping[str, object]:
                stage._report.count("chained requests")
                return {"headers": stage.headers_for(case.operation)}

            def validate_response(self, response: Any, case: "schemathesis.Case[Any]", **more: object) -> None:
                case.validate_response(response, checks=WANTED)

        assert issubclass(Chain, APIStateMachine)
        if chains:
            hypothesis.seed(seed)(Chain).run(settings=_settings(chains))


def _settings(examples: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )


@contextlib.contextmanager
def _one_connection() -> Iterator[None]:
    """Let requests use this connection and leave it open, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)
