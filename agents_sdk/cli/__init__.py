"""The `atoms` command: what the SDK does, for shells. Data goes to stdout, everything else to stderr."""

from agents_sdk.cli.program import main

__all__ = ["main"]
