"""What anybody may read: receipt keys, what calibration certifies, the table of errors, and the way to nowhere."""

import functools
import json

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, fields, paging, problems
from market.bounties import pricing
from market.common.money import Money
from verification import calibration, receipts


class ReceiptKeyOutput(serializers.Serializer[object]):
    """A public key that receipts are signed with, also as a JSON Web Key (RFC 8037)."""

    key_id = serializers.CharField()
    public_key = serializers.CharField(help_text="32 bytes of Ed25519, base64url without padding.")
    kty = serializers.CharField()
    crv = serializers.CharField()
    x = serializers.CharField()
    kid = serializers.CharField()
    alg = serializers.CharField()
    use = serializers.CharField()


class CalibrationOutput(serializers.Serializer[object]):
    """Up to which price machines may accept, and the labelled photographs that this rests on."""

    object = fields.object_field("calibration")
    is_certified = serializers.BooleanField(help_text="false: a person looks at every submission.")
    max_reward = fields.MoneyOutput(allow_null=True, help_text="The highest reward that may be judged automatically.")
    max_false_accept = serializers.FloatField(allow_null=True, help_text="The strictest certified limit on P(bad | accepted).")
    bad_among_accepted_upper = serializers.FloatField(allow_null=True, help_text="Its proven upper bound.")
    confidence = serializers.FloatField()
    photographs = serializers.IntegerField()
    held_out_false_pairs = serializers.IntegerField()
    held_out_false_accepts = serializers.IntegerField()
    share_of_good_accepted = serializers.FloatField()
    assumed_bad_share = serializers.FloatField()
    model_hash = serializers.CharField()
    made_on = serializers.DateField()


class ErrorOutput(serializers.Serializer[object]):
    """One row of the table of refusals."""

    code = serializers.CharField()
    status = serializers.IntegerField()
    meaning = serializers.CharField()
    next_step = serializers.CharField()
    retryable = serializers.BooleanField()


class KeysView(base.ApiView):
    """Receipt keys."""

    scopes = auth.ANYBODY

    @extend_schema(
        operation_id="keys_list",
        responses=inline_serializer("ReceiptKeyList", {"object": fields.object_field("list"), "data": ReceiptKeyOutput(many=True)}),
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """List the public keys by which receipts can be checked."""
        rows = [
            {
                "key_id": key["key_id"],
                "public_key": key["public_key"],
                "kty": "OKP",
                "crv": "Ed25519",
                "x": key["public_key"],
                "kid": key["key_id"],
                "alg": "EdDSA",
                "use": "sig",
            }
            for key in receipts.public_keys()
        ]
        return Response({"object": "list", "data": ReceiptKeyOutput(rows, many=True).data})


class CalibrationView(base.ApiView):
    """What machines may decide."""

    scopes = auth.ANYBODY

    @extend_schema(operation_id="calibration_get", responses=CalibrationOutput)
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Read up to which reward a machine may accept, and by how many labelled photographs that is proven."""
        known = calibration.certified()
        highest = highest_reward(known.bad_among_accepted_upper)
        body = {
            **known.model_dump(),
            "object": "calibration",
            "is_certified": known.max_false_accept is not None,
            "max_reward": fields.money_of(highest) if highest else None,
        }
        return Response(fields.shown(CalibrationOutput, body))


def highest_reward(bad_among_accepted_upper: float | None) -> Money | None:
    """Return the highest reward whose limit on false accepts is at or above a proven bound; None if there is none."""
    if bad_among_accepted_upper is None:
        return None
    low, high = 0, pricing.MAX_REWARD_MINOR["USD"]
    # The limit only falls with the price.
    while low < high:
        middle = (low + high + 1) // 2
        if pricing.max_false_accept(Money(middle, "USD")) >= bad_among_accepted_upper:
            low = middle
        else:
            high = middle - 1
    return Money(low, "USD") if low else None


class ErrorsView(base.ApiView):
    """The table of refusals."""

    scopes = auth.ANYBODY

    @extend_schema(operation_id="errors_list", responses=paging.list_of("Error", ErrorOutput))
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """List every error code with its status and what to do about it."""
        rows: list[dict[str, object]] = [
            {
                "code": refusal.code,
                "status": refusal.status,
                "meaning": meaning,
                "next_step": refusal.next_step,
                "retryable": refusal.is_retryable,
            }
            for refusal, meaning in problems.every_meaning()
        ]
        return base.listed(ErrorOutput, rows, "")


@functools.cache
def description() -> bytes:
    """Write the OpenAPI 3.1 description, once a process: it takes a third of a second."""
    return json.dumps(SchemaGenerator().get_schema(request=None, public=True)).encode()  # type: ignore[no-untyped-call]


class SchemaView(base.ApiView):
    """The OpenAPI 3.1 description of this API."""

    scopes = auth.ANYBODY

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """Read the description."""
        return HttpResponse(description(), content_type="application/vnd.oai.openapi+json")


class NowhereView(base.ApiView):
    """Every address below /v1 that leads nowhere, whatever the method."""

    scopes = auth.ANYBODY

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Refuse.

        Raises:
            market.api.problems.NoSuchRoute: always.
        """
        super().initial(request, *args, **kwargs)
        raise problems.NoSuchRoute("There is nothing at this address.")
