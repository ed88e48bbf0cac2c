"""The OpenAPI 3.1 description: without a warning, true to the limits of the use cases, and served."""

import io

import pytest
import yaml
from django.core.management import call_command

from market.api import bounties
from market.bounties import posting
from tasks.kinds import photo
from tests.market.api.caller import Caller


@pytest.fixture(scope="module")
def described() -> dict[str, dict[str, dict[str, object]]]:
    written = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=written)
    schema: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(written.getvalue())
    return schema


def test_is_written_without_a_warning(described: dict[str, object]) -> None:
    assert described["openapi"] == "3.1.0"


def test_asks_for_a_key_on_every_post(described: dict[str, dict[str, dict[str, object]]]) -> None:
    posts = [operations["post"] for operations in described["paths"].values() if "post" in operations]
    assert len(posts) >= 17
    for post in posts:
        assert isinstance(post, dict)
        assert any(parameter["name"] == "Idempotency-Key" and parameter["required"] for parameter in post["parameters"])
        assert post["security"] == [{"apiKey": []}]


def test_says_what_the_use_case_says(described: dict[str, dict[str, dict[str, object]]]) -> None:
    """The limits stand in the terms and the offer; the description repeats them, and this holds the copy to the original."""
    published = described["components"]["schemas"]["BountyInput"]
    assert isinstance(published, dict)
    terms = photo.PhotoTerms.model_json_schema()
    offer = posting.OfferInput.model_json_schema()
    names = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "enum")
    for name, wanted in {**terms["properties"], **offer["properties"]}.items():
        shown = published["properties"].get(name) or described["components"]["schemas"]["PlaceInput"]["properties"].get(name)  # type: ignore[index]
        if shown is None:
            assert name in {"version", "closes_at", "max_false_accept"}
            continue
        limits = {limit: wanted[limit] for limit in names if limit in wanted}
        assert limits.items() <= shown.items(), name
    assert set(published["required"]) == {"question", "place", "reward"}
    assert published["additionalProperties"] is False
    assert set(bounties.BountyInput().fields) >= set(offer["properties"])


@pytest.mark.django_db
def test_is_served() -> None:
    served = Caller().get("schema")
    assert served.response.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    assert served.ok()["info"]["title"] == "Atoms"
