"""/v1/stakes: what backs an owner's reports of trainings, and taking it out when nothing hangs on it any more."""

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, fields, once
from market.bounties.research import queries, staking
from tasks import clock


class StakeOutput(serializers.Serializer[object]):
    """What backs your reports in one currency: the first pay of your trainings fills it, a forged one loses it."""

    object = fields.object_field("stake")
    amount = fields.MoneyOutput()


class WithdrawInput(fields.Input):
    """Which currency's stake to take out."""

    currency = serializers.RegexField(r"^[A-Z]{3,5}$")


class StakesView(base.ApiView):
    """An owner's stakes."""

    scopes = auth.WORKER

    @extend_schema(
        operation_id="stakes_list",
        responses=inline_serializer("StakeList", {"object": fields.object_field("list"), "data": StakeOutput(many=True)}),
    )
    def get(self, request: Request) -> Response:
        """List your stakes, one a currency."""
        worker = auth.worker_of(request)
        found = sorted(queries.earnings_of(worker, mode=worker.mode).items())
        rows = [stake_json(earned.stake_minor, currency) for currency, earned in found]
        return Response({"object": "list", "data": [fields.shown(StakeOutput, row) for row in rows]})


class StakeWithdrawView(base.ApiView):
    """Taking a stake out."""

    scopes = auth.WORKER
    is_vital = True

    @extend_schema(operation_id="stakes_withdraw", request=WithdrawInput, responses=StakeOutput)
    @once.once
    def post(self, request: Request) -> Response:
        """Take your whole stake out once all your trainings are final: it is payable at once."""
        wanted, worker = once.read(WithdrawInput, request), auth.worker_of(request)
        withdrawal = staking.withdraw(owner=auth.key_of(request).user, mode=worker.mode, currency=wanted["currency"], now=clock.now())
        return Response(fields.shown(StakeOutput, stake_json(withdrawal.amount_minor, wanted["currency"])))


def stake_json(amount_minor: int, currency: str) -> dict[str, object]:
    """Write a stake as `StakeOutput` shows it."""
    return {"object": "stake", "amount": fields.money(amount_minor, currency)}
