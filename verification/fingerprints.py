"""Copies: what each picture looks like is kept here, and pictures that look like one from before are found.

Who came first must be certain, or two copies sent at once could each miss the other. Rows of one table are therefore
inserted under one advisory lock and committed before the search: ids become visible in their own order, every row
before mine is there when I look, and only rows before mine count. The search is brute force in memory (46 CPU-ms a
million PDQ hashes); each process reads the rows it has not seen yet, which the same order makes safe.
"""

import threading
import uuid
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from django.db import connection, models, transaction
from django.db.models import Q
from numpy.typing import NDArray

from tasks.models import Evidence, Mode
from verification import copy_grids, pdq, pictures
from verification.models import CopyDescriptor, Fingerprint

# Keys of pg_advisory_xact_lock: any two numbers nothing else in this database uses.
_FINGERPRINT_LOCK = 0x61746F6D_0001
_DESCRIPTOR_LOCK = 0x61746F6D_0002
_MAX_FOUND = 16

_Row = TypeVar("_Row", Fingerprint, CopyDescriptor)
_Scalar = TypeVar("_Scalar", bound=np.generic)


class Copy(NamedTuple):
    """An earlier picture of another claim that looks like the one in question."""

    evidence_id: uuid.UUID
    submission_id: uuid.UUID
    # False where the other one came to the search first but reached us later: which is the copy is not certain.
    was_received_earlier: bool
    # Bits that differ (PDQ), or the cosine (learned descriptor); 0 or 1 for exact ones.
    measure: float


def keep(*, evidence: Evidence, picture: pictures.Picture) -> Fingerprint:
    """Store what ``evidence`` looks like, once, and commit it: call it outside transactions, before `exact_copies`."""

    def make() -> Fingerprint:
        submission = evidence.submission
        return Fingerprint(
            evidence=evidence,
            worker_id=submission.worker_id,
            mode=submission.task.mode,
            sha256=evidence.sha256,
            pixel_sha256=picture.pixel_sha256,
            pdq=picture.pdq.hashes[0],
            pdq_quality=picture.pdq.quality,
        )

    return _insert_in_order(Fingerprint, evidence, make, _FINGERPRINT_LOCK)


def keep_descriptor(*, evidence: Evidence, model_hash: str, vector: bytes) -> CopyDescriptor:
    """Store a learned descriptor (little-endian float16, unit length) in the way of `keep`."""

    def make() -> CopyDescriptor:
        submission = evidence.submission
        return CopyDescriptor(
            evidence=evidence,
            worker_id=submission.worker_id,
            mode=submission.task.mode,
            model_hash=model_hash,
            dimension=len(vector) // 2,
            vector=vector,
        )

    return _insert_in_order(CopyDescriptor, evidence, make, _DESCRIPTOR_LOCK)


def exact_copies(fingerprint: Fingerprint) -> list[Copy]:
    """Return earlier pictures with the same bytes or the same pixels."""
    same = Q(sha256=fingerprint.sha256) | Q(pixel_sha256=fingerprint.pixel_sha256)
    rows = _earlier(Fingerprint, fingerprint).filter(same).order_by("pk")[:_MAX_FOUND]
    return [_copy(row, fingerprint, 0.0) for row in rows]


def near_copies(fingerprint: Fingerprint, picture: pictures.Picture) -> list[Copy]:
    """Return earlier pictures within `pdq.MAX_DISTANCE` of this one or of its rotations and mirrors, nearest first."""
    if picture.pdq.quality < pdq.MIN_QUALITY:
        return []
    ids, hashes = _PDQ_INDEX.up_to(fingerprint.pk, mode=fingerprint.mode)
    if not len(ids):
        return []
    distances = pdq.distances(picture.pdq.hashes, hashes)
    return _confirmed(Fingerprint, fingerprint, ids, distances.astype(np.float64), distances <= pdq.MAX_DISTANCE, is_small_near=True)


def alike(descriptor: CopyDescriptor, *, min_cosine: float) -> list[Copy]:
    """Return earlier pictures whose learned descriptor of the same model is at least ``min_cosine`` alike, nearest first."""
    ids, vectors = _DESCRIPTOR_INDEX.up_to(
        descriptor.pk, mode=descriptor.mode, model_hash=descriptor.model_hash, dimension=descriptor.dimension
    )
    if not len(ids):
        return []
    asked = np.frombuffer(descriptor.vector, dtype="<f2").astype(np.float32)
    # Grids are laid over each other; a model that gives another kind of vector is compared as it is.
    is_grid = descriptor.dimension == copy_grids.DIMENSION
    cosines = copy_grids.likeness(asked, vectors) if is_grid else vectors.astype(np.float32) @ asked
    return _confirmed(CopyDescriptor, descriptor, ids, cosines.astype(np.float64), cosines >= min_cosine, is_small_near=False)


def _insert_in_order(model: type[_Row], evidence: Evidence, make: Callable[[], _Row], lock: int) -> _Row:
    found = model._default_manager.filter(evidence=evidence).first()
    if found is not None:
        return found
    row = make()
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            # Before the id is drawn and until the commit: ids become visible in their own order.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
        found = model._default_manager.filter(evidence=evidence).first()
        if found is not None:
            return found
        row.save(force_insert=True)
    return row


def _earlier(model: type[_Row], row: _Row) -> models.QuerySet[_Row]:
    """Return rows before ``row`` that it could be a copy of: of the same mode and of other claims.

    A worker's retake under the same claim may repeat itself. In test mode nothing is gained by sending one's own
    picture again, and the simulated worker has a small album: there only other workers' pictures count.
    """
    rows = model._default_manager.filter(pk__lt=row.pk, mode=row.mode)
    rows = rows.exclude(evidence__submission__claim_id=row.evidence.submission.claim_id)
    if row.mode == Mode.TEST:
        rows = rows.exclude(worker_id=row.worker_id)
    return rows.select_related("evidence__submission")


def _copy(other: Fingerprint | CopyDescriptor, mine: Fingerprint | CopyDescriptor, measure: float) -> Copy:
    theirs = other.evidence.submission
    return Copy(other.evidence_id, theirs.pk, theirs.received_at <= mine.evidence.submission.received_at, measure)


def _confirmed(
    model: type[_Row],
    row: _Row,
    ids: NDArray[np.int64],
    measures: NDArray[np.float64],
    is_near: NDArray[np.bool_],
    *,
    is_small_near: bool,
) -> list[Copy]:
    """Return the near ones among ``ids`` that the database knows and that count, nearest first."""
    near = dict(zip(ids[is_near].tolist(), measures[is_near].tolist(), strict=True))
    ordered = sorted(near, key=lambda pk: (near[pk] if is_small_near else -near[pk], pk))
    found = {other.pk: other for other in _earlier(model, row).filter(pk__in=ordered[:1000])}
    return [_copy(found[pk], row, near[pk]) for pk in ordered if pk in found][:_MAX_FOUND]


class _Index(Generic[_Scalar]):
    """Rows of one table as matrices in this process's memory, one for each set of filters, every row read once."""

    def __init__(self, rows: Callable[[], models.QuerySet[Any]], column: str, dtype: str) -> None:
        self._rows, self._column, self._dtype = rows, column, np.dtype(dtype)
        self._lock = threading.Lock()
        self._known: dict[tuple[object, ...], tuple[NDArray[np.int64], NDArray[_Scalar]]] = {}

    def up_to(self, pk: int, **filters: str | int) -> tuple[NDArray[np.int64], NDArray[_Scalar]]:
        """Return ids below ``pk``, in order, and their rows; every one of them is committed (see the module)."""
        # The database is named too: tests change it under a living process.
        key = (connection.settings_dict["NAME"], *sorted(filters.items()))
        with self._lock:
            ids, matrix = self._known.get(key, (np.empty(0, dtype=np.int64), np.empty((0, 1), dtype=self._dtype)))
            last = int(ids[-1]) if len(ids) else 0
            fresh = self._rows().filter(pk__gt=last, pk__lt=pk, **filters).order_by("pk").values_list("pk", self._column)
            new_ids, contents = [], []
            for found, content in fresh.iterator(chunk_size=10_000):
                new_ids.append(found)
                contents.append(bytes(content))
            if new_ids:
                more = np.frombuffer(b"".join(contents), dtype=self._dtype).reshape(len(new_ids), -1)
                ids = np.concatenate([ids, np.array(new_ids, dtype=np.int64)])
                matrix = np.concatenate([matrix, more]) if last else more
                self._known[key] = ids, matrix
        below = int(np.searchsorted(ids, pk))
        return ids[:below], matrix[:below]


_PDQ_INDEX: _Index[np.uint64] = _Index(lambda: Fingerprint.objects.filter(pdq_quality__gte=pdq.MIN_QUALITY), "pdq", "=u8")
_DESCRIPTOR_INDEX: _Index[np.float16] = _Index(lambda: CopyDescriptor.objects.all(), "vector", "<f2")
