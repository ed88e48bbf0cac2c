"""The child process that opens files, run as the server runs it."""

import ast
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks import evidence, intake
from tests.tasks import hostile
from tests.verification import photographs

CHILD = [sys.executable, "-I", "-B", str(Path(intake.__file__))]

# A small process of its own: the peak of a child counts its parent's memory at the fork.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[2:], stdin=open(sys.argv[1], "rb"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_mb(raw: bytes, folder: Path) -> float:
    """Return the most memory the child held while it opened ``raw``, in MiB."""
    (folder / "file").write_bytes(raw)
    measured = subprocess.run([sys.executable, "-c", _MEASURE, str(folder / "file"), *CHILD], capture_output=True, check=True)
    return int(measured.stdout) / 1024


def plain(width_px: int, height_px: int, kind: str, **how: int) -> bytes:
    """Return a picture of one colour: quick to make, and as large as any other once it is decoded."""
    raw = io.BytesIO()
    Image.new("RGB", (width_px, height_px), (90, 120, 60)).save(raw, kind, **how)
    return raw.getvalue()


def header_of(raw: bytes) -> dict[str, object]:
    answer = subprocess.run(CHILD, input=raw, capture_output=True, check=True).stdout
    header: dict[str, object] = json.loads(answer[12 : 12 + int.from_bytes(answer[:4], "big")])
    return header


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: hostile.png(12_000, 12_000), id="bomb"),
        pytest.param(lambda: hostile.png(7_000, 7_000, bits=8, colour=2), id="49 megapixels of png"),
        pytest.param(lambda: hostile.png(7_000, 7_000, bits=16), id="49 megapixels of 16 bit"),
        pytest.param(lambda: plain(8_000, 6_000, "JPEG"), id="48 megapixels of jpeg"),
        pytest.param(lambda: plain(8_000, 6_000, "WEBP", method=0), id="48 megapixels of webp"),
    ],
)
def test_stays_below_512_mb(make: Callable[[], bytes], tmp_path: Path) -> None:
    assert peak_mb(make(), tmp_path) <= 512


def test_answers_that_a_photo_needs_too_much_memory() -> None:
    """A WebP of 48 megapixels is laid out three times by its decoder: the limit stops it, and the worker learns what to do."""
    assert header_of(plain(8_000, 6_000, "WEBP", method=0)) == {"reason": "too_large_to_decode"}


def test_has_given_up_its_rights_before_it_reads() -> None:
    probe = (
        "import sys, runpy, io, resource, builtins\n"
        "class Stdin:\n"
        "    class buffer:\n"
        "        @staticmethod\n"
        "        def read():\n"
        "            limits = [resource.getrlimit(what)[1] for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU,"
        " resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)]\n"
        "            sys.stderr.write(repr(limits))\n"
        "            return b''\n"
        "sys.stdin = Stdin\n"
        f"runpy.run_path({intake.__file__!r}, run_name='__main__')\n"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, check=True)
    assert json.loads(answer.stderr) == [intake.ADDRESS_SPACE_BYTES, intake.CPU_S, intake.OPEN_FILES, 0, 0]


# A decoder that was taken over, as any user but root: it starts a session of its own, and says what came of it.
_ESCAPE = f"""
import os, runpy, sys
intake = runpy.run_path({intake.__file__!r})
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
intake["limit_self"]()
intake["limit_processes"](sys.stdin.buffer.read())
privileges = [line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")]
try:
    if os.fork() == 0:
        os.setsid()
        os._exit(0)
    os.wait()
    print("started", *privileges)
except BlockingIOError:
    print("refused", *privileges)
"""


@pytest.mark.parametrize(
    ("head", "outcome"),
    [
        (b"\xff\xd8\xff", "refused"),
        (b"RIFF\0\0\0\0WEBP", "refused"),
        (b"\0\0\0\x18ftypheic", "started"),
        # A JPEG whose first segment has the length 0x6674 and reads like HEIF's.
        (b"\xff\xd8\xff\xe0ftypheic", "refused"),
    ],
)
def test_starts_no_process_that_could_outlive_it(head: bytes, outcome: str) -> None:
    """HEIF's decoder needs a thread: the kernel has no limit for processes alone."""
    escaped = subprocess.run([sys.executable, "-I", "-c", _ESCAPE], input=head, capture_output=True, check=True)
    assert escaped.stdout.split() == [outcome.encode(), b"1"]


def test_ends_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed leaves no child behind that waits for it."""
    (tmp_path / "waits.py").write_text(
        "import runpy, sys, time\n"
        f"runpy.run_path({intake.__file__!r})['limit_self']()\n"
        "sys.stdout.write('ready'), sys.stdout.flush()\n"
        "time.sleep(30)\n"
        "sys.stdout.write('outlived')\n"
    )
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, {str(tmp_path / 'waits.py')!r}], start_new_session=True)"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.read(5) == b"ready"
        killed.kill()
        # The child holds the other end: this returns when it is gone.
        assert killed.stdout.read() == b""


def test_inherits_neither_environment_nor_descriptors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server's child is replaced by one that tells what it sees."""
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import os, sys\nopen(sys.argv[0] + '.seen', 'w').write(repr((sorted(os.environ), sorted(os.listdir('/proc/self/fd')))))\n"
    )
    monkeypatch.setenv("ATOMS_SECRET_KEY", "never tell")
    monkeypatch.setattr(evidence, "_INTAKE", spy)
    with (tmp_path / "open").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        with pytest.raises(evidence.Unreadable):
            evidence.take_in(photographs.snap("coffee"))
    environment, descriptors = ast.literal_eval((tmp_path / "spy.py.seen").read_text())
    assert set(environment) <= {"LC_ALL", "MALLOC_ARENA_MAX", "LC_CTYPE"}
    # Its three streams, the file it writes to and the folder it lists.
    assert len(descriptors) <= 5


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import os\nos.kill(os.getpid(), 11)", id="crashes"),
        pytest.param("print('nonsense')", id="answers nonsense"),
        pytest.param("import sys\nsys.stdout.buffer.write(b'\\0\\0\\0\\2\\0\\0\\0\\1\\0\\0\\0\\1{}xx')", id="answers no facts"),
        pytest.param("import sys\nwhile True: sys.stdout.buffer.write(bytes(1 << 20))", id="never stops writing"),
        pytest.param("while True: pass", id="never answers"),
    ],
)
def test_costs_one_photo_when_it_is_taken_over(program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "taken.py").write_text(program)
    monkeypatch.setattr(evidence, "_INTAKE", tmp_path / "taken.py")
    monkeypatch.setattr(evidence, "TIMEOUT_S", 1.0)
    with pytest.raises(evidence.Unreadable) as refused:
        evidence.take_in(photographs.snap("coffee"))
    assert refused.value.reason_code == "not_decoded"


_SMALL = photographs.jpeg(photographs.photo("coffee"), long_side_px=96, quality=50)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(2, len(_SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_answers_or_refuses_whatever_the_bytes(changes: list[tuple[int, int]]) -> None:
    """In this process, because thousands of children take long; nothing but a refusal may come out."""
    raw = bytearray(_SMALL)
    for position, value in changes:
        raw[position] = value
    refusal = ""
    try:
        header, display, preview = intake.answer(bytes(raw))
    except intake.Refused as refused:
        refusal = str(refused)
    if refusal:
        assert refusal in evidence.MESSAGES
        return
    assert json.dumps(header, allow_nan=False)
    assert (display[:2], preview[:2]) == (b"\xff\xd8", b"\xff\xd8")
