"""/v1/events and /v1/webhook_endpoints: what happened, to be read or to be sent."""

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, fields, once, paging, problems
from market.events import delivery, feed
from market.events.models import Delivery, WebhookEndpoint


class EventOutput(serializers.Serializer[object]):
    """One change; ``seq`` counts 1, 2, 3 ... in the agent's feed without a gap."""

    id = fields.id_field("evt")
    object = fields.object_field("event")
    seq = serializers.IntegerField()
    type = serializers.CharField()
    subject = serializers.CharField()
    actor = serializers.CharField()
    timestamp = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]


class WebhookEndpointInput(fields.Input):
    """An https address on the public internet, on port 443 or 8443."""

    url = fields.Text(max_length=500)


class WebhookEndpointOutput(serializers.Serializer[object]):
    """Where events are sent."""

    id = fields.id_field("whe")
    object = fields.object_field("webhook_endpoint")
    url = serializers.CharField()
    is_enabled = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class NewWebhookEndpointOutput(WebhookEndpointOutput):
    """Where events are sent, with the secret that signs them; it is shown this once."""

    secret = serializers.CharField()


class AttemptOutput(serializers.Serializer[object]):
    """One attempt at a delivery; ``failure`` is empty when it arrived."""

    status_code = serializers.IntegerField(allow_null=True)
    failure = serializers.CharField(allow_blank=True)
    duration_ms = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class DeliveryOutput(serializers.Serializer[object]):
    """The sending of one event to one endpoint."""

    id = fields.id_field("dlv")
    object = fields.object_field("delivery")
    event = fields.id_field("evt")
    type = serializers.CharField()
    status = serializers.ChoiceField(choices=["WAITING", "SENDING", "DELIVERED", "FAILED"])
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptOutput(many=True)
    created_at = serializers.DateTimeField()


_STATUSES = {"READY": "WAITING", "LEASED": "SENDING", "DONE": "DELIVERED", "DEAD": "FAILED"}


def endpoint_json(endpoint: WebhookEndpoint) -> dict[str, object]:
    """Write an endpoint, without its secret."""
    return {
        "id": str(endpoint),
        "object": "webhook_endpoint",
        "url": endpoint.url,
        "is_enabled": endpoint.is_enabled,
        "created_at": endpoint.created_at,
    }


def delivery_json(row: Delivery) -> dict[str, object]:
    """Write a delivery with its log."""
    return {
        "id": str(row),
        "object": "delivery",
        "event": str(row.event),
        "type": row.event.type,
        "status": _STATUSES[row.lease_state],
        "next_attempt_at": row.available_at if row.lease_state == "READY" else None,
        "attempts": [
            {
                "status_code": attempt.status_code,
                "failure": attempt.failure,
                "duration_ms": attempt.duration_ms,
                "created_at": attempt.created_at,
            }
            for attempt in sorted(row.attempt_log.all(), key=lambda each: each.pk)
        ],
        "created_at": row.created_at,
    }


class EventsView(base.ApiView):
    """The feed."""

    scopes = auth.AGENT

    @extend_schema(
        operation_id="events_list",
        parameters=[
            OpenApiParameter("after", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0}),
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": base.MAX_LIMIT, "default": base.DEFAULT_LIMIT}),
        ],
        responses=inline_serializer(
            "EventList",
            {
                "object": fields.object_field("list"),
                "data": EventOutput(many=True),
                "has_more": serializers.BooleanField(),
                "next_after": serializers.IntegerField(help_text="Ask for what follows with after=next_after."),
            },
        ),
    )
    def get(self, request: Request) -> Response:
        """Read the events that follow number ``after``, oldest first. Whoever saw n has seen all up to n."""
        text, limit = request.query_params.get("after", "0"), base.limit_of(request)
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 2**63):
            raise problems.BadParameter("after", "after is a whole number from 0.")
        found = feed.after(auth.agent_of(request), int(text), limit + 1)
        shown = [feed.as_json(event) for event in found[:limit]]
        next_after = shown[-1]["seq"] if shown else int(text)
        body = {"object": "list", "data": EventOutput(shown, many=True).data, "has_more": len(found) > limit, "next_after": next_after}
        return Response(body)


class WebhookEndpointsView(base.ApiView):
    """An agent's webhook endpoints."""

    scopes = auth.AGENT

    @extend_schema(
        operation_id="webhook_endpoints_list",
        parameters=paging.page_parameters("whe"),
        responses=paging.list_of("WebhookEndpoint", WebhookEndpointOutput),
    )
    def get(self, request: Request) -> Response:
        """List your endpoints, the newest first."""
        found, next_cursor = base.page(request, _endpoints(request), "whe")
        return base.listed(WebhookEndpointOutput, [endpoint_json(endpoint) for endpoint in found], next_cursor)

    @extend_schema(operation_id="webhook_endpoints_make", request=WebhookEndpointInput, responses={201: NewWebhookEndpointOutput})
    @once.once
    def post(self, request: Request) -> Response:
        """Register an address for events (Standard Webhooks 1.1); the answer holds its secret."""
        endpoint = delivery.add_endpoint(agent=auth.agent_of(request), url=once.read(WebhookEndpointInput, request)["url"])
        endpoint.refresh_from_db()
        body = {**endpoint_json(endpoint), "secret": endpoint.secret}
        return Response(fields.shown(NewWebhookEndpointOutput, body), status=201)


class WebhookEndpointView(base.ApiView):
    """One webhook endpoint."""

    scopes = auth.AGENT

    @extend_schema(operation_id="webhook_endpoints_get", responses=WebhookEndpointOutput)
    def get(self, request: Request, endpoint_id: str) -> Response:
        """Read an endpoint."""
        return Response(fields.shown(WebhookEndpointOutput, endpoint_json(base.find(_endpoints(request), "whe", endpoint_id))))

    @extend_schema(operation_id="webhook_endpoints_delete", responses={204: None})
    def delete(self, request: Request, endpoint_id: str) -> HttpResponse:
        """Stop sending to an endpoint; the second time changes nothing."""
        delivery.remove_endpoint(endpoint=base.find(_endpoints(request), "whe", endpoint_id))
        return Response(status=204)


class DeliveriesView(base.ApiView):
    """What was sent to an endpoint."""

    scopes = auth.AGENT

    @extend_schema(
        operation_id="deliveries_list", parameters=paging.page_parameters("dlv"), responses=paging.list_of("Delivery", DeliveryOutput)
    )
    def get(self, request: Request, endpoint_id: str) -> Response:
        """List the deliveries to an endpoint with every attempt, the newest first."""
        endpoint = base.find(_endpoints(request), "whe", endpoint_id)
        found, next_cursor = base.page(request, _deliveries(request).filter(endpoint=endpoint), "dlv", by_time=True)
        return base.listed(DeliveryOutput, [delivery_json(row) for row in found], next_cursor)


class ResendView(base.ApiView):
    """Sending again."""

    scopes = auth.AGENT

    @extend_schema(operation_id="deliveries_resend", request=fields.EmptyInput, responses={202: DeliveryOutput})
    @once.once
    def post(self, request: Request, endpoint_id: str, delivery_id: str) -> Response:
        """Send a delivery again that was made or given up."""
        once.read(fields.EmptyInput, request)
        endpoint = base.find(_endpoints(request), "whe", endpoint_id)
        row = base.find(_deliveries(request).filter(endpoint=endpoint), "dlv", delivery_id)
        return Response(fields.shown(DeliveryOutput, delivery_json(delivery.resend(delivery=row))), status=202)


def _endpoints(request: Request) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(agent=auth.agent_of(request))


def _deliveries(request: Request) -> QuerySet[Delivery]:
    rows = Delivery.objects.filter(endpoint__agent=auth.agent_of(request))
    return rows.select_related("event").prefetch_related("attempt_log")
