"""Background work of judging: each job is one use-case call."""
