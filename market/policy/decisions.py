"""The answer of a policy rule: allowed or not, with codes and the version of the rules; never free text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule set decided. ``codes`` are the reasons of a refusal, sorted; empty when it allows."""

    is_allowed: bool
    codes: tuple[str, ...]
    version: str


def decide(*, codes: set[str], version: str) -> Decision:
    """Return the decision that these reasons make: any reason refuses."""
    return Decision(is_allowed=not codes, codes=tuple(sorted(codes)), version=version)
