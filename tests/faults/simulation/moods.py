"""What a seed may be told instead of drawing it, so that rare things are common while a planted bug is looked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mood:
    """Parts of a world that are not left to chance; None and the empty mapping leave them to it."""

    # Name of a habit -> how many times as common.
    habits: Mapping[str, float] = field(default_factory=dict)
    # Name of a kind of person -> how many times as often he thinks.
    haste: Mapping[str, float] = field(default_factory=dict)
    # What is done with a claim and what is photographed -> how many times as common.
    work: Mapping[str, float] = field(default_factory=dict)
    outage_share: float | None = None
    outage_hours: float | None = None
    trouble_at_banks: float | None = None
    poster_window_s: int | None = None
    maturity_hours: float | None = None
    # Whether every bell is heard and the network loses nothing.
    is_fair: bool = False


ANY = Mood()
FAIR = Mood(is_fair=True, outage_share=0.0)
