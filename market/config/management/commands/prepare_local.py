"""`manage.py prepare_local`: everything a local market needs between its services and its processes, in one process."""

import json
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Migrates, collects static files where they changed, and makes the local accounts."""

    help = "Migrate, collect changed static files and make the local accounts. `manage.py market` runs it at every start."

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002 - Django's signature
        """Run the three steps, each harmless the second time."""
        call_command("migrate", interactive=False, verbosity=1)
        self._collect_static()
        call_command("bootstrap_local")

    def _collect_static(self) -> None:
        """Collect only after a change: hashing and compressing takes seconds, looking takes none."""
        mark = Path(settings.STATIC_ROOT) / "collected.json"
        wanted = json.dumps(_static_sources())
        if mark.exists() and mark.read_text() == wanted:
            return
        mark.unlink(missing_ok=True)
        call_command("collectstatic", interactive=False, clear=True, verbosity=0)
        mark.write_text(wanted)


def _static_sources() -> list[tuple[str, int, int]]:
    """Name each static file with its size and time of change."""
    found = []
    for finder in finders.get_finders():
        for path, storage in finder.list([]):
            state = Path(storage.path(path)).stat()
            found.append((path, state.st_size, state.st_mtime_ns))
    return sorted(found)
