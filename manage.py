#!/usr/bin/env python3
"""The one command line. `market`, `tests`, `services` and `install` need Python alone; all others are Django's."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - what it says must be said by an older one
    sys.exit("The market needs Python 3.11 or newer, this is {}.{} ({}).".format(*sys.version_info[:2], sys.executable))

from market.config import install


def main() -> None:
    """Install if needed, then run the command that was asked for."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in install.EXTRAS:
        install.ensure(command=command)
        from market.config.supervisor import commands  # not importable before the installation

        sys.exit(commands.run(command=command, arguments=sys.argv[2:]))
    install.prefer_own_environment()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
    from django.core.management import execute_from_command_line  # likewise

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
