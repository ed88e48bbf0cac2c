"""/v1/balance, /v1/deposits, /v1/payouts: money in, money out, and where it stands."""

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.accounts.models import ApiKey
from market.api import auth, base, fields, once, paging
from market.escrow import queries as holds
from market.payments import deposits, payouts, queries
from market.payments.models import Deposit, Payout
from tasks import clock


class AgentBalanceOutput(serializers.Serializer[object]):
    """An agent's money, one amount a currency."""

    object = fields.object_field("balance")
    mode = serializers.CharField()
    available = fields.MoneyOutput(many=True)
    held = fields.MoneyOutput(many=True)


class PurseOutput(serializers.Serializer[object]):
    """A worker's money in one currency."""

    currency = serializers.CharField()
    earned = fields.MoneyOutput(help_text="Not payable yet.")
    payable = fields.MoneyOutput()
    in_transit = fields.MoneyOutput()
    paid_out = fields.MoneyOutput()


class WorkerBalanceOutput(serializers.Serializer[object]):
    """A worker's money, one purse a currency."""

    object = fields.object_field("worker_balance")
    mode = serializers.CharField()
    # The base class has a property of this name; a declared field takes no part in that.
    data = PurseOutput(many=True)  # type: ignore[assignment]


class DepositInput(fields.Input):
    """Money to add. In test mode ``source`` picks how the test bank behaves."""

    amount = fields.MoneyInput()
    source = serializers.RegexField(r"^[a-z0-9_]{1,80}$", default="test_ok")  # type: ignore[assignment]


class DepositOutput(serializers.Serializer[object]):
    """Money on its way in."""

    id = fields.id_field("dep")
    object = fields.object_field("deposit")
    mode = serializers.CharField()
    status = serializers.ChoiceField(choices=Deposit.Status.values)
    amount = fields.MoneyOutput()
    failure = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    confirmed_at = serializers.DateTimeField(allow_null=True)


class PayoutInput(fields.Input):
    """Money to take out. ``destination`` is the provider's name for it, never a card or account number."""

    amount = fields.MoneyInput()
    destination = serializers.RegexField(r"^[A-Za-z0-9_]{1,80}$")


class PayoutOutput(serializers.Serializer[object]):
    """Money on its way out."""

    id = fields.id_field("pay")
    object = fields.object_field("payout")
    mode = serializers.CharField()
    status = serializers.ChoiceField(choices=Payout.Status.values)
    amount = fields.MoneyOutput()
    destination = serializers.CharField()
    failure = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


def deposit_json(deposit: Deposit) -> dict[str, object]:
    """Write a deposit as `DepositOutput` shows it."""
    return {
        "id": str(deposit),
        "object": "deposit",
        "mode": deposit.mode,
        "status": deposit.status,
        "amount": fields.money(deposit.amount_minor, deposit.currency),
        "failure": deposit.failure,
        "created_at": deposit.created_at,
        "confirmed_at": deposit.confirmed_at,
    }


def payout_json(payout: Payout) -> dict[str, object]:
    """Write a payout as `PayoutOutput` shows it."""
    return {
        "id": str(payout),
        "object": "payout",
        "mode": payout.mode,
        "status": payout.status,
        "amount": fields.money(payout.amount_minor, payout.currency),
        "destination": payout.destination,
        "failure": payout.failure,
        "created_at": payout.created_at,
        "sent_at": payout.sent_at,
        "ended_at": payout.ended_at,
    }


class BalanceView(base.ApiView):
    """The balance of an agent or a worker."""

    scopes = auth.AGENT_OR_WORKER

    @extend_schema(
        operation_id="balance_get",
        responses=PolymorphicProxySerializer(
            component_name="Balance", serializers=[AgentBalanceOutput, WorkerBalanceOutput], resource_type_field_name=None
        ),
    )
    def get(self, request: Request) -> Response:
        """Read what is available and held (agent key), or earned, payable and paid out (worker key)."""
        key = auth.key_of(request)
        if key.scope == ApiKey.Scope.WORKER:
            return Response(fields.shown(WorkerBalanceOutput, _worker_json(request)))
        agent = auth.agent_of(request)
        available, held = queries.agent_balance(agent), holds.held_for_agent(agent.pk)
        body = {
            "object": "balance",
            "mode": key.mode,
            "available": [fields.money(minor, currency) for currency, minor in available.items()],
            "held": [fields.money(minor, currency) for currency, minor in held.items()],
        }
        return Response(fields.shown(AgentBalanceOutput, body))


def _worker_json(request: Request) -> dict[str, object]:
    worker, mode = auth.worker_of(request), auth.key_of(request).mode
    purses = [
        {
            "currency": currency,
            "earned": fields.money(purse.earned_minor, currency),
            "payable": fields.money(purse.payable_minor, currency),
            "in_transit": fields.money(purse.in_transit_minor, currency),
            "paid_out": fields.money(purse.paid_out_minor, currency),
        }
        for currency, purse in queries.worker_balance(worker, mode).items()
    ]
    return {"object": "worker_balance", "mode": mode, "data": purses}


class DepositsView(base.ApiView):
    """An agent's deposits."""

    scopes = auth.AGENT
    is_vital = True

    @extend_schema(
        operation_id="deposits_list", parameters=paging.page_parameters("dep"), responses=paging.list_of("Deposit", DepositOutput)
    )
    def get(self, request: Request) -> Response:
        """List your deposits, the newest first."""
        found, next_cursor = base.page(request, Deposit.objects.filter(agent=auth.agent_of(request)), "dep", by_time=True)
        return base.listed(DepositOutput, [deposit_json(deposit) for deposit in found], next_cursor)

    @extend_schema(operation_id="deposits_make", request=DepositInput, responses={201: DepositOutput})
    @once.once_outside
    def post(self, request: Request) -> Response:
        """Add money to the available balance; with a test key it is test money and costs nothing."""
        wanted = once.read(DepositInput, request)
        deposit = deposits.request(
            agent=auth.agent_of(request),
            amount=wanted["amount"],
            source=wanted["source"],
            # The provider is called on the way, outside any transaction: the same id makes a repeat the same deposit.
            request_id=once.request_id_of(request),
            now=clock.now(),
        )
        return Response(fields.shown(DepositOutput, deposit_json(deposit)), status=201)


class PayoutsView(base.ApiView):
    """A worker's payouts."""

    scopes = auth.WORKER
    is_vital = True

    @extend_schema(operation_id="payouts_list", parameters=paging.page_parameters("pay"), responses=paging.list_of("Payout", PayoutOutput))
    def get(self, request: Request) -> Response:
        """List your payouts, the newest first."""
        worker, mode = auth.worker_of(request), auth.key_of(request).mode
        found, next_cursor = base.page(request, Payout.objects.filter(worker=worker, mode=mode), "pay", by_time=True)
        return base.listed(PayoutOutput, [payout_json(payout) for payout in found], next_cursor)

    @extend_schema(operation_id="payouts_request", request=PayoutInput, responses={201: PayoutOutput})
    @once.once
    def post(self, request: Request) -> Response:
        """Ask for payable money at your bank; it is sent after this answer."""
        worker, wanted = auth.worker_of(request), once.read(PayoutInput, request)
        payout = payouts.request(
            worker=worker,
            mode=auth.key_of(request).mode,
            destination=wanted["destination"],
            amount=wanted["amount"],
            request_id=once.request_id_of(request),
            now=clock.now(),
        )
        return Response(fields.shown(PayoutOutput, payout_json(payout)), status=201)
