"""The secret seeds of a candidate's pairs: drawn when the candidate is fixed, shared with the tip's runs, worn out after some uses."""

import hashlib
import hmac

from django.conf import settings
from django.db.models import Count

from verification.replay import seeds
from verification.research import rules
from verification.research.models import Candidate, Run, Tip

# One secret to keep, and a key of its own for each use.
_DOMAIN = b"atoms.research.seeds.1"


def key() -> bytes:
    """Return the 32 bytes that seeds are drawn with; they follow from the secret that signs receipts."""
    return hmac.digest(settings.RECEIPT_SEED, _DOMAIN, hashlib.sha256)


def draw(*, candidate: Candidate, tip: Tip, class_text: str, count: int) -> list[int]:
    """Return the indices of ``count`` seeds of the pool of (tip, class), none of which has served `rules.SEED_USES` candidates.

    Call it once, when nothing of the candidate can change any more: the digest of its tree draws them.
    """
    worn = _worn_out(tip, class_text)
    left = [index for index in range(rules.SEED_POOL + len(worn)) if index not in worn]
    assert candidate.tree_id is not None
    places = seeds.case_seeds(key(), candidate.tree_id, tip.tree_id, class_text, count, pool=len(left))
    return [left[place] for place in places]


def seed(*, tip: Tip, class_text: str, index: int) -> int:
    """Return the seed itself, 0 to 2**63 - 1."""
    return seeds.pool_seed(key(), tip.tree_id, class_text, index)


def _worn_out(tip: Tip, class_text: str) -> set[int]:
    of_candidates = Run.objects.filter(kind=Run.Kind.CANDIDATE, tip=tip, class_text=class_text)
    uses = of_candidates.values("seed_index").annotate(candidates=Count("candidate", distinct=True))
    return {row["seed_index"] for row in uses if row["candidates"] >= rules.SEED_USES}
