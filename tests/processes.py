"""Real processes of ours that a test may kill; they use the test's own database."""

import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

PREAMBLE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
import django
django.setup()
def tell(word):
    print(word, flush=True)
"""


def database_url() -> str:
    """Return the address of the database that the running test uses."""
    known = connection.settings_dict
    quoted = {name: urllib.parse.quote(str(known[name]), safe="") for name in ("USER", "PASSWORD", "HOST", "NAME")}
    password = f":{quoted['PASSWORD']}" if quoted["PASSWORD"] else ""
    port = f":{known['PORT']}" if known["PORT"] else ""
    return f"postgresql://{quoted['USER']}{password}@{quoted['HOST']}{port}/{quoted['NAME']}"


@contextmanager
def python(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` after ``django.setup()`` in a child; it says words with ``tell`` and dies (SIGKILL) at the end."""
    environment = {**os.environ, "DATABASE_URL": database_url(), "ATOMS_MEDIA_DIR": str(settings.MEDIA_ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.stdout.close()


def wait_for_word(child: subprocess.Popen[str], word: str) -> None:
    """Block until the child says ``word``; fail if it ends first."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"The child ended with status {child.wait()} before it said {word!r}.")
