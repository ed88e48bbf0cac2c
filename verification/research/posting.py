"""Research tasks: made with their base, listed while they take candidates, closed for good."""

import datetime
from collections.abc import Mapping

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from verification.replay import trees as shapes
from verification.replay.spec import Spec
from verification.research import rules, tips, trees
from verification.research.models import DataFile, ResearchTask


class OtherBase(ValueError):
    """The spec names the digest of another base tree than the one that was sent."""


class MissingData(ValueError):
    """The spec names data files that its poster has not handed in; ``names`` are those of the spec."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"Send these data files first, with the SHA-256 and size that the spec names: {', '.join(names)}.")
        self.names = names


class NotDraft(Exception):
    """The task was listed or closed before."""


def create(
    *,
    mode: str,
    owner: AbstractBaseUser,
    title: str,
    description: str,
    spec_json: object,
    base_files: Mapping[str, str],
    closes_at: datetime.datetime,
    now: datetime.datetime,
    audit_share: float = rules.AUDIT_SHARE,
    audited_segments: int = rules.AUDITED_SEGMENTS,
) -> ResearchTask:
    """Make a draft with its base as tip 0. The data files are those that ``owner`` handed in (see `files.keep`).

    ``audit_share`` is the least share of runs that are audited, between 0 and 1, and ``audited_segments`` how many segments of
    each, at random; both follow from prices, which are not known here.

    Raises:
        spec.MalformedSpec: with the field.
        trees.MalformedTree: the base is no tree.
        OtherBase: the spec means another base.
        MissingData: data files of the spec are not here.
    """
    spec = Spec.from_json(spec_json)
    if shapes.tree_digest(base_files) != spec.base_tree:
        raise OtherBase(f"base_tree must be {shapes.tree_digest(base_files)}, the digest of the files that were sent.")
    # A path of the spec that the base lacks may be added by a candidate.
    _require_data(owner, spec)
    with transaction.atomic():
        task = ResearchTask.objects.create(
            mode=mode,
            owner_id=owner.pk,
            title=title,
            description=description,
            spec=spec.to_json(),
            spec_digest=spec.digest,
            audit_share=audit_share,
            audited_segments=audited_segments,
            closes_at=closes_at,
            created_at=now,
        )
        tips.begin(task=task, tree=trees.keep(base_files))
    return task


def list_task(*, task: ResearchTask) -> None:
    """Let a draft take candidates.

    Raises:
        NotDraft
    """
    if not ResearchTask.objects.filter(pk=task.pk, status=ResearchTask.Status.DRAFT).update(status=ResearchTask.Status.LISTED):
        raise NotDraft(f"Task {task} is not a draft any more.")
    task.status = ResearchTask.Status.LISTED


def close_task(*, task: ResearchTask) -> bool:
    """Let a task take no more candidates; those it has are judged. Return whether it was open."""
    is_moved = bool(
        ResearchTask.objects.filter(pk=task.pk).exclude(status=ResearchTask.Status.CLOSED).update(status=ResearchTask.Status.CLOSED)
    )
    task.status = ResearchTask.Status.CLOSED
    return is_moved


def _require_data(owner: AbstractBaseUser, spec: Spec) -> None:
    wanted = {file.sha256: file for file in spec.data}
    here = dict(DataFile.objects.filter(owner=owner.pk, sha256__in=wanted).values_list("sha256", "byte_count"))
    missing = [file.name for file in spec.data if here.get(file.sha256) != file.byte_count]
    if missing:
        raise MissingData(missing)
