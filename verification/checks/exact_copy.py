"""Is it the very file, or the very picture, of an earlier submission under another claim?"""

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "exact_copy", 1
CRITERION = "original"


def check(facts: CaseFacts) -> CheckResult:
    """Fail where an equal picture was received before; leave open where it is not certain which came first."""
    copies = facts.copies
    if copies.exact_earlier:
        return CheckResult(CRITERION, Outcome.FAIL, "copy_of_earlier_photo", facts={"copies": copies.exact_earlier})
    if copies.exact_unordered:
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "same_photo_sent_twice", facts={"copies": copies.exact_unordered})
    return CheckResult(CRITERION, Outcome.PASS)
