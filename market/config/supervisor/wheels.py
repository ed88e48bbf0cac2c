"""Where packages that carry binaries lie. Their Python parts are never imported: they add users, change modes and warn."""

import importlib.util
from pathlib import Path

from market.config.supervisor import refusal


def folder_of(package: str) -> Path:
    """Return a package's folder without running a line of it.

    Raises:
        Refused: it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise refusal.Refused(f"The package {package} is not installed. Run `python3 manage.py install`.")
    return Path(found.origin).parent
