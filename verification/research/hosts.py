"""GPU owners' machines: registered, calibrated by a first run, and their record of valid and invalid results."""

import datetime
from collections.abc import Mapping

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import F, Max, Q, QuerySet

from tasks import text
from verification.replay.classes import ClassKey
from verification.replay.spec import SANDBOX_LEVELS
from verification.research import calibration, reasons, rules
from verification.research.models import Appeal, Host, Run

MAX_FACTS = 40


class TooManyHosts(Exception):
    """This owner has as many hosts as he may: use the names that are there."""


class NoHost(LookupError):
    """This owner has no such host."""


class MalformedFacts(ValueError):
    """Facts are at most `MAX_FACTS` short texts, numbers or truths by short names; the message says which is not."""


def register(
    *,
    owner: AbstractBaseUser,
    mode: str,
    name: str,
    class_text: str,
    reported_level: str,
    facts: Mapping[str, object],
    now: datetime.datetime,
) -> Host:
    """Register a machine, and ask its calibration run once; the same name and class are the same host, with its facts renewed.

    Raises:
        classes.MalformedClassKey: ``class_text`` is no class key.
        MalformedFacts: facts, or a level that is none.
        TooManyHosts: the owner has `rules.MAX_HOSTS_PER_OWNER`.
    """
    key = ClassKey.parse(class_text)
    if reported_level not in SANDBOX_LEVELS:
        raise MalformedFacts(f"sandbox_level must be one of {', '.join(SANDBOX_LEVELS)}.")
    values = {"reported_level": reported_level, "untrusted_facts": _plain(facts), "last_seen_at": now}
    plain_name = text.strip_to_plain(name, max_length=80) or "host"
    with transaction.atomic():
        lock(owner)
        mine = Host.objects.filter(owner=owner.pk, mode=mode)
        same = mine.filter(untrusted_name=plain_name, class_text=key.text)
        if not same.update(**values):
            if mine.count() >= rules.MAX_HOSTS_PER_OWNER:
                raise TooManyHosts(f"You have {rules.MAX_HOSTS_PER_OWNER} hosts. Use the name of one of them.")
            Host.objects.create(
                owner_id=owner.pk,
                mode=mode,
                untrusted_name=plain_name,
                class_text=key.text,
                hardware=key.hardware,
                created_at=now,
                **values,
            )
        host = same.get()
        _calibrate(host, mine, now)
    return host


def lock(owner: AbstractBaseUser) -> None:
    """Let nothing else be handed to, or registered for, this owner until the transaction ends."""
    # Not his hosts: he may have none yet. No key: rows that point at him may be written meanwhile.
    type(owner)._default_manager.select_for_update(no_key=True).get(pk=owner.pk)


def of_owner(*, owner: AbstractBaseUser, modes: tuple[str, ...]) -> QuerySet[Host]:
    """Return an owner's hosts, the newest first."""
    return Host.objects.filter(owner=owner.pk, mode__in=modes).order_by("-id")


def status(host: Host) -> str:
    """Return a host's status as a code: SUSPENDED, CALIBRATING or READY."""
    if host.is_suspended:
        return "SUSPENDED"
    return "READY" if host.calibrated_at else "CALIBRATING"


def note_valid(*, run: Run, now: datetime.datetime) -> None:
    """Count a valid result for the host it came from; its first one calibrates it."""
    host = Host.objects.filter(runs=run)
    host.update(valid_count=F("valid_count") + 1)
    host.filter(calibrated_at__isnull=True).update(calibrated_at=now)


def note_invalid(*, run: Run) -> None:
    """Count an invalid result: the host is new again, and after `rules.SUSPENDED_AFTER_INVALID` it gets no more runs."""
    host = Host.objects.filter(runs=run)
    host.update(valid_count=0, invalid_count=F("invalid_count") + 1)
    host.filter(invalid_count__gte=rules.SUSPENDED_AFTER_INVALID).update(is_suspended=True)


def note_overturned(*, run: Run, now: datetime.datetime) -> None:
    """Take back what an invalid result did to its host's record, once its appeal is OVERTURNED: it counts as the valid one that it was."""
    if run.host_id is None:
        return
    host = Host.objects.select_for_update(no_key=True).get(pk=run.host_id)
    was_suspended_by_count = host.invalid_count >= rules.SUSPENDED_AFTER_INVALID
    host.invalid_count = max(0, host.invalid_count - 1)
    host.valid_count = max(host.valid_count, _valid_in_a_row(host))
    if was_suspended_by_count and host.invalid_count < rules.SUSPENDED_AFTER_INVALID:
        # Whom an operator suspended for another reason stays so.
        host.is_suspended = False
    host.calibrated_at = host.calibrated_at or now
    host.save(update_fields=["invalid_count", "valid_count", "is_suspended", "calibrated_at"])


def _valid_in_a_row(host: Host) -> int:
    """Count the host's valid results since the last one that made it new again."""
    mine = Run.objects.filter(host=host)
    overturned = Q(stage=Run.Stage.INVALID, appeal__status=Appeal.Status.OVERTURNED)
    invalid = mine.filter(stage=Run.Stage.INVALID).exclude(appeal__status=Appeal.Status.OVERTURNED)
    left = mine.filter(stage=Run.Stage.CANCELLED, reason_code__in=(reasons.VANISHED, reasons.GAVE_UP))
    ends = [end for each in (invalid, left) if (end := each.aggregate(newest=Max("judged_at"))["newest"]) is not None]
    right = mine.filter(Q(stage=Run.Stage.VALID) | overturned)
    return (right.filter(judged_at__gt=max(ends)) if ends else right).count()


def note_deserted(*, run: Run) -> None:
    """Note that an owner left a sealed run: the host is new again, because leaving must not spare it the audit it would have failed."""
    Host.objects.filter(runs=run).update(valid_count=0)


def _calibrate(host: Host, mine: QuerySet[Host], now: datetime.datetime) -> None:
    # One that was cancelled is asked anew: the machine may have been switched off.
    asked = Run.objects.filter(kind=Run.Kind.CALIBRATION).exclude(stage=Run.Stage.CANCELLED)
    if host.calibrated_at is not None or asked.filter(host=host).exists():
        return
    # A machine of a class that another one of this owner has shown to work needs no paid run of its own.
    if mine.filter(class_text=host.class_text, calibrated_at__isnull=False).exists():
        Host.objects.filter(pk=host.pk).update(calibrated_at=now)
        host.calibrated_at = now
    elif asked.filter(host__owner=host.owner_id).count() < rules.MAX_CALIBRATIONS_PER_OWNER:
        calibration.ask(host=host)


def _plain(facts: Mapping[str, object]) -> dict[str, str | float | bool]:
    if len(facts) > MAX_FACTS:
        raise MalformedFacts(f"Send at most {MAX_FACTS} facts.")
    plain: dict[str, str | float | bool] = {}
    for name, value in facts.items():
        if not isinstance(value, str | int | float) or (isinstance(value, int | float) and not abs(value) < 1e18):
            raise MalformedFacts("A fact must be a text, a finite number or a truth.")
        plain[text.strip_to_plain(name, max_length=40)] = text.strip_to_plain(value, max_length=200) if isinstance(value, str) else value
    return plain
