"""GPU owners' machines: a host ..."""

import pytest

from market.accounts.models import User
from tasks import clock
from tests import people
from tests.verification.research import scenes
from verification.replay.classes import MalformedClassKey
from verification.replay.spec import Spec
from verification.research import demand, hosts, inputs, rules, runs
from verification.research.models import Host, Run

pytestmark = pytest.mark.django_db


def register(owner: User, **changes: object) -> Host:
    sent = {"mode": "test", "name": "garage", "class_text": scenes.CLASS, "reported_level": "bwrap-cpu", "facts": {}, "now": clock.now()}
    return hosts.register(owner=owner, **{**sent, **changes})  # type: ignore[arg-type]


def test_is_registered_once_and_asks_one_calibration() -> None:
    owner = people.open_user("owner")
    first = register(owner, name="gar\u202eage", facts={"gpu\u0000": "H100\u200b", "watts": 300, "is_shared": False})
    again = register(owner, facts={"watts": 200})
    assert (first.pk, again.untrusted_name, again.untrusted_facts) == (again.pk, "garage", {"watts": 200})
    assert first.untrusted_facts == {"gpu": "H100", "watts": 300, "is_shared": False}
    [run] = Run.objects.all()
    assert (run.kind, run.host_id, run.task_id, hosts.status(first)) == (Run.Kind.CALIBRATION, first.pk, None, "CALIBRATING")
    spec = Spec.from_json(run.spec)
    assert spec.base_tree == run.tree_id
    for one in inputs.of_run(run):
        with inputs.open_input(one) as content:
            assert content.read(1)


def test_needs_no_calibration_where_its_owner_has_shown_that_class() -> None:
    owner = people.open_user("owner")
    scenes.open_host(owner)
    second = register(owner, name="cellar")
    assert hosts.status(second) == "READY"
    assert Run.objects.count() == 0
    assert hosts.status(register(owner, class_text=scenes.SECOND_CLASS)) == "CALIBRATING"


def test_is_paid_for_few_calibrations_whatever_its_names() -> None:
    owner = people.open_user("owner")
    for number in range(rules.MAX_CALIBRATIONS_PER_OWNER + 3):
        register(owner, name=f"machine {number}")
    assert Run.objects.count() == rules.MAX_CALIBRATIONS_PER_OWNER
    register(people.open_user("other"))
    assert Run.objects.count() == rules.MAX_CALIBRATIONS_PER_OWNER + 1


def test_is_calibrated_anew_after_one_that_was_cancelled() -> None:
    owner = people.open_user("owner")
    register(owner)
    runs.cancel(run=Run.objects.get(), reason_code="vanished", now=clock.now())
    register(owner)
    register(owner)
    assert list(Run.objects.order_by("pk").values_list("stage", flat=True)) == ["CANCELLED", "OPEN"]


def test_is_audited_in_all_segments_the_first_time() -> None:
    host = register(people.open_user("owner"))
    [run] = scenes.lease(host)
    scenes.seal(run)
    assert scenes.reveal(run).audited_segments == list(range(5))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"class_text": "cpu"}, MalformedClassKey),
        ({"class_text": scenes.CLASS + ";x=1"}, MalformedClassKey),
        ({"reported_level": "none"}, hosts.MalformedFacts),
        ({"facts": {"a": [1]}}, hosts.MalformedFacts),
        ({"facts": {"a": float("nan")}}, hosts.MalformedFacts),
        ({"facts": {str(number): 1 for number in range(41)}}, hosts.MalformedFacts),
    ],
)
def test_is_refused_with_what_is_malformed(changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        register(people.open_user("owner"), **changes)
    assert (Host.objects.count(), Run.objects.count()) == (0, 0)


def test_is_one_of_so_many_of_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_HOSTS_PER_OWNER", 2)
    owner = people.open_user("owner")
    register(owner, name="a")
    register(owner, name="b")
    with pytest.raises(hosts.TooManyHosts):
        register(owner, name="c")
    register(owner, name="b")


def test_sees_what_is_asked_of_its_class_and_how_long_it_takes() -> None:
    machines = [scenes.open_host() for _ in range(3)]
    assert demand.of_class(scenes.CLASS) == demand.Demand(open_runs=0, seconds_p50=None, n=0)
    candidate = scenes.begin(scenes.post())
    assert demand.of_class(scenes.CLASS) == demand.Demand(open_runs=3, seconds_p50=None, n=0)
    assert demand.of_class(scenes.SECOND_CLASS).open_runs == 0
    scenes.play(candidate, machines)
    # A ringer may have been drawn, which is none of what is asked for.
    valid = Run.objects.filter(stage=Run.Stage.VALID).exclude(kind=Run.Kind.RINGER)
    assert demand.of_class(scenes.CLASS) == demand.Demand(open_runs=0, seconds_p50=12.0, n=valid.count())


def test_is_told_the_demand_where_a_report_of_old_lacks_its_time() -> None:
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.play(scenes.begin(scenes.post()), machines)
    valid = Run.objects.filter(stage=Run.Stage.VALID, candidate=candidate).exclude(kind=Run.Kind.RINGER)
    counted = valid.count()
    Run.objects.filter(pk=valid.order_by("pk")[0].pk).update(report={"root": "00" * 32})
    found = demand.of_class(scenes.CLASS)
    assert (found.seconds_p50, found.n) == (12.0, counted - 1)
