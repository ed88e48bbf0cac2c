"""/v1/tasks: open work near a place, as a worker sees it before the claim; and claiming it."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, claims, fields, once, paging, problems
from market.bounties import claiming, locks, queries
from tasks import clock, ids
from tasks.leases import LeaseState
from tasks.models import Mode, Task


class TaskOutput(serializers.Serializer[object]):
    """What is to be done, how it is judged and what it pays."""

    id = fields.id_field("tsk")
    object = fields.object_field("task")
    mode = serializers.CharField()
    kind = serializers.CharField()
    status = serializers.CharField()
    title = serializers.CharField()
    question = serializers.CharField()
    must_show = serializers.ListField(child=serializers.CharField())
    criteria = fields.CriterionOutput(many=True)
    place = fields.PlaceOutput()
    reward = fields.MoneyOutput()
    reward_per_hour = fields.MoneyOutput(help_text="At the task's own time, without the way.")
    negative_fee = fields.MoneyOutput(help_text='For a truthful "it can\'t be done".')
    opens_at = serializers.DateTimeField()
    closes_at = serializers.DateTimeField()
    task_time_s = serializers.IntegerField()
    min_short_side_px = serializers.IntegerField()
    poster_review_window_s = serializers.IntegerField()
    open_slots = serializers.IntegerField()
    distance_m = serializers.FloatField(allow_null=True)
    terms_hash = serializers.CharField()
    simulate = serializers.CharField(allow_blank=True, help_text="Test mode: how the simulated worker is asked to behave.")


class ClaimInput(fields.Input):
    """Where the worker is, for the travel time; only a coarse cell of it is kept."""

    latitude = fields.Number(min_value=-90, max_value=90, required=False)
    longitude = fields.Number(min_value=-180, max_value=180, required=False)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Require both halves of a position, or none."""
        if ("latitude" in attrs) != ("longitude" in attrs):
            raise serializers.ValidationError({"latitude": ["Send latitude and longitude together, or neither."]})
        return attrs


def task_json(listing: queries.Listing) -> dict[str, object]:
    """Write a listing as `TaskOutput` shows it."""
    task, terms = listing.task, listing.terms
    return {
        "id": str(task),
        "object": "task",
        "mode": task.mode,
        "kind": task.kind,
        "status": task.status,
        "title": task.title,
        "question": terms.question,
        "must_show": list(terms.must_show),
        "criteria": [criterion._asdict() for criterion in listing.criteria],
        "place": {"latitude": task.latitude, "longitude": task.longitude, "within_m": task.within_m},
        "reward": fields.money_of(listing.reward),
        "reward_per_hour": fields.money_of(listing.reward_per_hour),
        "negative_fee": fields.money_of(listing.negative_fee),
        "opens_at": task.opens_at,
        "closes_at": task.closes_at,
        "task_time_s": task.task_time_s,
        "min_short_side_px": terms.min_short_side_px,
        "poster_review_window_s": terms.poster_review_window_s,
        "open_slots": _open_slots(task),
        "distance_m": listing.distance_m,
        "terms_hash": listing.bounty.terms_hash,
        "simulate": terms.simulate or "",
    }


def _open_slots(task: Task) -> int:
    # Lists bring the number along; a single task is counted.
    counted = getattr(task, "free_slots", None)
    return counted if isinstance(counted, int) else task.slots.filter(lease_state=LeaseState.READY).count()


def near_of(request: Request) -> tuple[float, float] | None:
    """Read ``near=latitude,longitude``.

    Raises:
        BadParameter: not two numbers on Earth.
    """
    text = request.query_params.get("near", "")
    if not text:
        return None
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts) if len(text) <= 60 else (999.0, 999.0)
    except ValueError:
        latitude = longitude = 999.0
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise problems.BadParameter("near", "near is latitude,longitude in degrees, such as 52.5200,13.4050.")
    return latitude, longitude


def _last_of_page_before(request: Request, mode: str) -> Task | None:
    last_id = base.cursor_of(request, "tsk")
    if last_id is None:
        return None
    try:
        return queries.listing_of(task_id=last_id, mode=mode).task
    except locks.NoBounty:
        raise base.foreign_cursor() from None


class TasksView(base.ApiView):
    """Open tasks."""

    scopes = auth.WORKER

    @extend_schema(
        operation_id="tasks_list",
        parameters=[
            OpenApiParameter(
                "near",
                {"type": "string", "pattern": r"^-?[0-9]{1,3}(\.[0-9]{1,15})?,-?[0-9]{1,3}(\.[0-9]{1,15})?$"},
                description="latitude,longitude. A test key may leave it out.",
            ),
            *paging.page_parameters("tsk"),
        ],
        responses=paging.list_of("Task", TaskOutput),
    )
    def get(self, request: Request) -> Response:
        """List tasks you may claim now within 25 km of a place, the nearest first; without a place, those that close first."""
        worker, limit, place, now = auth.worker_of(request), base.limit_of(request), near_of(request), clock.now()
        after = _last_of_page_before(request, worker.mode)
        if place is not None:
            found = queries.open_near(worker=worker, latitude=place[0], longitude=place[1], limit=limit + 1, after=after, now=now)
        elif worker.mode == Mode.TEST:
            found = queries.open_for(worker=worker, limit=limit + 1, after=after, now=now)
        else:
            raise problems.BadParameter("near", "Say near which place: near=latitude,longitude.")
        next_cursor = str(found[limit - 1].task) if len(found) > limit else ""
        return base.listed(TaskOutput, [task_json(listing) for listing in found[:limit]], next_cursor)


class TaskView(base.ApiView):
    """One task."""

    scopes = auth.WORKER

    @extend_schema(operation_id="tasks_get", responses=TaskOutput)
    def get(self, request: Request, task_id: str) -> Response:
        """Read a task that is or was listed."""
        worker = auth.worker_of(request)
        return Response(fields.shown(TaskOutput, task_json(queries.listing_of(task_id=ids.decode("tsk", task_id), mode=worker.mode))))


class TaskClaimsView(base.ApiView):
    """Claiming."""

    scopes = auth.WORKER
    is_vital = True

    @extend_schema(operation_id="tasks_claim", request=ClaimInput, responses={201: claims.ClaimOutput})
    @once.once
    def post(self, request: Request, task_id: str) -> Response:
        """Claim a free slot for the way there and the work."""
        wanted = once.read(ClaimInput, request)
        claim = claiming.claim(
            task_id=ids.decode("tsk", task_id),
            worker=auth.worker_of(request),
            latitude=wanted.get("latitude"),
            longitude=wanted.get("longitude"),
            now=clock.now(),
        )
        return claims.answer(claim, status=201)
