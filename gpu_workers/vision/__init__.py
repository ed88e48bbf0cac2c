"""Models that look at photographs: one interface (`base`), the default that works offline (`conse`). No verdicts."""
