"""``python -m agents_sdk.cli`` is the `atoms` command."""

import sys

from agents_sdk.cli import program

sys.exit(program.main())
