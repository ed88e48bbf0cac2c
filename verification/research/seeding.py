"""The secret seeds of a candidate's pairs: drawn when the candidate is fixed, shared with the tip's runs, worn out after some uses.

Most pairs are on seeds that the tip has been trained with before, by others' pairs or by those that made it the tip; the second pair,
and every third from there, is on a seed that nobody has seen. So most candidates cost no baseline, and none is accepted by what owners
could have told its maker (docs/decisions/0010).
"""

import hashlib
import hmac
from collections.abc import Sequence

from django.conf import settings
from django.db.models import Count, Q

from verification.replay import seeds
from verification.research import agreement, rules
from verification.research.models import Candidate, ResearchTask, Run, Tip

# One secret to keep, and a key of its own for each use.
_DOMAIN = b"atoms.research.seeds.1"


def key() -> bytes:
    """Return the 32 bytes that seeds are drawn with; they follow from the secret that signs receipts."""
    return hmac.digest(settings.RECEIPT_SEED, _DOMAIN, hashlib.sha256)


def draw(*, candidate: Candidate, tip: Tip, class_text: str, count: int) -> list[int]:
    """Return the indices of ``count`` seeds of the task's pool in a class, in the order of the pairs.

    `seeds.is_fresh` says which of them nobody has seen; the others have a baseline and have served fewer than `rules.SEED_USES`
    candidates, as long as there are such. Call it once, when nothing of the candidate can change any more: its tree's digest draws them.
    """
    uses = _uses(candidate.task, class_text)
    seen = sorted(index for index in agreement.baselines(tip=tip, class_text=class_text) if uses.get(index, 0) < rules.SEED_USES)
    # Numbers that were passed over stay unused: there are enough.
    unseen = range(max(uses, default=-1) + 1, max(uses, default=-1) + 1 + rules.SEED_POOL)
    fresh, known = (_shuffled(candidate, tip, class_text, pool, count) for pool in (unseen, seen))
    return [fresh.pop(0) if seeds.is_fresh(place) or not known else known.pop(0) for place in range(count)]


def seed(*, task: ResearchTask, class_text: str, index: int) -> int:
    """Return the seed itself, 0 to 2**63 - 1."""
    return seeds.pool_seed(key(), task.pk.hex, class_text, index)


def _shuffled(candidate: Candidate, tip: Tip, class_text: str, pool: Sequence[int], count: int) -> list[int]:
    assert candidate.tree_id is not None
    places = seeds.case_seeds(key(), candidate.tree_id, tip.tree_id, class_text, min(count, len(pool)), pool=len(pool))
    return [pool[place] for place in places]


def _uses(task: ResearchTask, class_text: str) -> dict[int, int]:
    """Return how many candidates each seed that was ever trained with has served."""
    trained = Run.objects.filter(task=task, class_text=class_text)
    served = Count("candidate", distinct=True, filter=Q(kind=Run.Kind.CANDIDATE))
    return dict(trained.values("seed_index").annotate(served=served).values_list("seed_index", "served"))
