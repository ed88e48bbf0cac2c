"""The owner's limits ..."""

import datetime
from decimal import Decimal
from typing import Any

import pytest

from gpu_workers.owner import limits, sensors

NOW = datetime.datetime(2030, 1, 7, 12, 0, tzinfo=datetime.UTC)
GIB = 1024**3
ALL = """
max_watts = 250
max_temp_c = 75
vram_keep_gib = 2.5
disk_keep_gib = 10
gpus = [1]
threads = 2
on_battery = true
pause_when = ["steam", "blender"]
min_pay_per_hour = "0.20 USD"
price_per_kwh = "0.32 USD"
assumed_watts = 90

[[schedule]]
days = ["mon", "tue"]
start = "22:00"
end = "07:00"

[[schedule]]
start = "12:30"
end = "13:30"

[causes]
serve = ["rsb_00000000000000000000000000000001"]
refuse = ["rsb_00000000000000000000000000000002"]
"""


def card(**readings: Any) -> sensors.Card:
    quiet: dict[str, Any] = {"temperature_c": 50.0, "power_w": 100.0, "power_cap_w": 400.0, "free_bytes": 20 * GIB, "total_bytes": 24 * GIB}
    return sensors.Card(0, "Simulated", **(quiet | readings))


def reading(*cards: sensors.Card, **more: Any) -> sensors.Reading:
    return sensors.Reading(cards=cards, **({"disk_free_bytes": 100 * GIB} | more))


def codes(owner: limits.Limits, seen: sensors.Reading, now: datetime.datetime = NOW, **more: Any) -> list[str]:
    return [obstacle.code for obstacle in limits.obstacles(owner, seen, now, **more)]


def test_every_key_is_read() -> None:
    read = limits.parse(ALL)
    assert (read.max_watts, read.max_temp_c, read.vram_keep_gib, read.disk_keep_gib, read.gpus, read.threads) == (250, 75, 2.5, 10, (1,), 2)
    assert (read.on_battery, read.pause_when, len(read.schedule), read.assumed_watts) == (True, ("steam", "blender"), 2, 90)
    assert read.min_pay_per_hour == limits.Price(Decimal("0.20"), "USD")
    assert read.serves("rsb_00000000000000000000000000000001")
    assert not read.serves("rsb_00000000000000000000000000000002")
    assert not read.serves("rsb_00000000000000000000000000000003")


def test_an_empty_file_limits_little() -> None:
    assert limits.parse("") == limits.Limits()
    assert codes(limits.Limits(), reading()) == []
    assert limits.Limits().serves("rsb_00000000000000000000000000000003")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_watts = ", "not TOML"),
        ("max_wats = 250", "'max_wats' is not a key of the limits file. Keys are: max_watts"),
        ("max_watts = '250'", "max_watts must be a number from 10 to 5000; it is '250'"),
        ("max_watts = true", "max_watts must be a number"),
        ("max_temp_c = nan", "max_temp_c must be a number"),
        ("gpus = ['0']", r"gpus must be a list of card numbers, for example \[0\]"),
        ("gpus = []", "gpus must be a list"),
        ("threads = 1.5", "threads must be a whole number"),
        ("on_battery = 1", "on_battery must be true or false; it is 1"),
        ("pause_when = 'steam'", "pause_when must be a list of program names"),
        ("min_pay_per_hour = 0.2", 'min_pay_per_hour must be an amount and a currency, for example "0.32 EUR"; it is 0.2'),
        ("schedule = '22:00'", r"schedule must be written as \[\[schedule\]\]"),
        ("[[schedule]]\nstart = '22:00'", r"\[\[schedule\]\] start or end is missing"),
        ("[[schedule]]\nstart = '22:00'\nend = '7:00'", "'7:00' is not a time of day"),
        ("[[schedule]]\nstart = '22:00'\nend = '07:00'\nday = 'mon'", "'day' is not a key of it"),
        ("[[schedule]]\nstart = '22:00'\nend = '07:00'\ndays = ['Mon']", "days must be some of mon, tue"),
        ("[causes]\nserve = ['cancer']", "causes.serve: 'cancer' is not the id of a research bounty"),
        ("[causes]\nlike = []", r"\[causes\] may have the keys serve and refuse"),
    ],
)
def test_a_wrong_file_says_which_key_what_and_what_to_write(text: str, message: str) -> None:
    with pytest.raises(limits.MalformedLimits, match=message):
        limits.parse(text)


@pytest.mark.parametrize(
    ("text", "seen", "found"),
    [
        ("max_temp_c = 75", reading(card(temperature_c=75.0)), []),
        ("max_temp_c = 75", reading(card(temperature_c=76.0)), ["too_hot"]),
        ("max_temp_c = 75", reading(card(temperature_c=None)), []),
        ("max_watts = 250", reading(card(power_w=251.0)), ["too_many_watts"]),
        # A card that is capped at the limit works at that power; it is not stopped for a short overshoot.
        ("max_watts = 250", reading(card(power_w=253.0, power_cap_w=250.0)), []),
        ("vram_keep_gib = 4", reading(card(free_bytes=3 * GIB)), ["vram_short"]),
        ("vram_keep_gib = 4", reading(card(free_bytes=5 * GIB)), []),
        ("gpus = [1]", reading(card(temperature_c=90.0)), ["gpu_missing"]),
        ("", reading(is_on_battery=True), ["on_battery"]),
        ("on_battery = true", reading(is_on_battery=True), []),
        ("pause_when = ['Steam']", reading(programs=frozenset({"steam", "bash"})), ["app_running"]),
        ("pause_when = ['steam']", reading(programs=frozenset({"steamwebhelper"})), []),
        ("disk_keep_gib = 10", reading(disk_free_bytes=9 * GIB), ["disk_full"]),
        ("[[schedule]]\nstart = '22:00'\nend = '07:00'", reading(), ["schedule_closed"]),
        ("[[schedule]]\nstart = '11:00'\nend = '13:00'", reading(), []),
        (
            "max_temp_c = 75\npause_when = ['steam']",
            reading(card(temperature_c=80.0), programs=frozenset({"steam"})),
            ["app_running", "too_hot"],
        ),
    ],
)
def test_what_stands_in_the_way(text: str, seen: sensors.Reading, found: list[str]) -> None:
    assert codes(limits.parse(text), seen) == found


def test_a_hot_card_must_cool_down_before_work_begins_again() -> None:
    owner = limits.parse("max_temp_c = 75")
    assert codes(owner, reading(card(temperature_c=72.0)), held_up_by={"too_hot"}) == ["too_hot"]
    assert codes(owner, reading(card(temperature_c=70.0)), held_up_by={"too_hot"}) == []


def test_a_closed_schedule_says_when_it_opens() -> None:
    (closed,) = limits.obstacles(limits.parse("[[schedule]]\nstart = '22:00'\nend = '07:00'"), reading(), NOW)
    assert closed.until == datetime.datetime(2030, 1, 7, 22, 0, tzinfo=datetime.UTC).timestamp()
    assert closed.change == "It opens Monday 22:00; or change [[schedule]]."


def test_every_obstacle_says_what_would_change_it() -> None:
    owner = limits.parse(ALL + "")
    seen = reading(
        sensors.Card(1, "Simulated", temperature_c=90.0, power_w=300.0, free_bytes=GIB), disk_free_bytes=GIB, programs=frozenset({"steam"})
    )
    found = limits.obstacles(owner, seen, NOW)
    assert {obstacle.code for obstacle in found} == {
        "schedule_closed",
        "app_running",
        "too_hot",
        "too_many_watts",
        "vram_short",
        "disk_full",
    }
    assert all(obstacle.what.endswith(".") and obstacle.change for obstacle in found)
