"""The files of a piece of work: which ones it may read, and where their bytes are."""

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal

from verification.replay.spec import Role, Spec
from verification.research import files, trees
from verification.research.models import Artefact, Run, Tree, TrustedJob

Source = Literal["tree", "data", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Input:
    """One file: what it is to the work ("tree", "train:NAME", "checkpoint:4"), its SHA-256, and where it is kept."""

    role: str
    sha256: str
    source: Source


def of_run(run: Run) -> list[Input]:
    """Return what an owner's machine trains on. Validation and hold-out files never go there."""
    return [_tree(run.tree_id), *_data(Spec.from_json(run.spec), "train", "asset")]


def of_job(job: TrustedJob) -> list[Input]:
    """Return what a trusted job reads: of an evaluation, the hold-out too; of an audit, every checkpoint that was handed in."""
    if job.kind == TrustedJob.Kind.SMOKE:
        # Of the tree that it was asked for: the candidate may have been rebased since.
        return [_tree(str(job.params["tree_digest"])), *_data(Spec.from_json(job.params["spec"]), "train", "asset")]
    assert job.run is not None
    spec = Spec.from_json(job.run.spec)
    handed_in = Artefact.objects.filter(run=job.run).order_by("checkpoint")
    if job.kind == TrustedJob.Kind.EVALUATE:
        last = [_checkpoint(file) for file in handed_in if file.checkpoint == spec.segments]
        return [_tree(job.run.tree_id), *last, *_data(spec, "validation", "holdout", "asset")]
    return [_tree(job.run.tree_id), *map(_checkpoint, handed_in), *_data(spec, "train", "asset")]


def open_input(wanted: Input) -> BinaryIO:
    """Open an input of a lease that lasts.

    Raises:
        FileNotFoundError: it is not stored.
        Tree.DoesNotExist: there is no such tree.
    """
    if wanted.source == "tree":
        return io.BytesIO(trees.content(Tree.objects.get(pk=wanted.sha256)))
    return files.open_data(wanted.sha256) if wanted.source == "data" else files.open_checkpoint(wanted.sha256)


def _tree(digest: str) -> Input:
    return Input("tree", digest, "tree")


def _checkpoint(file: Artefact) -> Input:
    return Input(f"checkpoint:{file.checkpoint}", file.sha256, "checkpoint")


def _data(spec: Spec, *roles: Role) -> list[Input]:
    return [Input(f"{role}:{file.name}", file.sha256, "data") for role in roles for file in spec.files(role)]
