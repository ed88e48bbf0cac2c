"""Was it handed in inside the claim and the task's window? The server's own clock decides."""

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "time_window", 1
CRITERION = "in_time"


def check(facts: CaseFacts) -> CheckResult:
    """Fail where the submission reached the server outside the claim's or the task's time."""
    if facts.received_at > min(facts.claim_expires_at, facts.closes_at):
        return CheckResult(CRITERION, Outcome.FAIL, "too_late")
    if facts.received_at < facts.terms.opens_at:
        return CheckResult(CRITERION, Outcome.FAIL, "too_early")
    return CheckResult(CRITERION, Outcome.PASS)
