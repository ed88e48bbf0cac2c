"""What the middleware adds to every answer, and the two health addresses."""

import re

import pytest
from django.test import Client, override_settings


def test_sends_a_strict_content_policy(client: Client) -> None:
    policy = client.get("/healthz").headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_allows_camera_and_place_to_our_pages_alone(client: Client) -> None:
    assert client.get("/healthz").headers["Permissions-Policy"].startswith("camera=(self), geolocation=(self)")


def test_names_the_request(client: Client) -> None:
    first, second = (client.get("/healthz").headers["X-Request-Id"] for _ in range(2))

    assert re.fullmatch(r"req_[0-9a-f]{32}", first)
    assert first != second


def test_takes_over_an_id_of_our_own_form_only(client: Client) -> None:
    ours = "req_" + "a" * 32

    assert client.get("/healthz", headers={"X-Request-Id": ours}).headers["X-Request-Id"] == ours
    assert client.get("/healthz", headers={"X-Request-Id": "x\nforged line"}).headers["X-Request-Id"] != "x\nforged line"


@pytest.mark.django_db
def test_is_ready_when_database_and_broker_answer(client: Client) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": {"database": "ok", "broker": "ok"}})


@pytest.mark.django_db
@override_settings(REDIS_URL="redis://127.0.0.1:1/0")
def test_says_which_part_does_not_answer(client: Client) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["parts"]) == (503, {"database": "ok", "broker": "no answer"})
