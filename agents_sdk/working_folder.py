"""Trees of source files on this machine: a tip saved into a folder, and the candidate that a changed folder is. No calls are made."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agents_sdk import errors, models, research_models

# The market takes no larger tree, see `verification.replay.trees`.
LARGEST_TREE_BYTES = 1_000_000
LARGEST_DATA_BYTES = 64 * 1024 * 1024
# Beside the saved files: what they are. No path of a tree begins with a dot.
NOTE_NAME = ".atoms-tip.json"

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}){0,5}")


class _Note(models.Model):
    bounty: models.Code
    number: research_models.Whole
    digest: models.Digest
    editable: tuple[research_models.Path, ...]


@dataclass(frozen=True)
class Tip:
    """The files of one tip of a research bounty. They are strangers' programs: run them in a sandbox, if at all."""

    bounty: str
    number: int
    digest: str
    # Paths that a candidate may change.
    editable: tuple[str, ...]
    untrusted: research_models.TreeWords = field(repr=False)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the files into a folder, replacing those of an older tip, and return it. Other files in it stay.

        Raises:
            ConfigurationError: a path leads out of the folder through a link.
        """
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        for path, text in self.untrusted.files.items():
            place = home / path
            _refuse_links(home, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            # As bytes: line ends must stay what they are.
            place.write_bytes(text.encode())
        note = _Note(bounty=self.bounty, number=self.number, digest=self.digest, editable=self.editable)
        _refuse_links(home, NOTE_NAME)
        (home / NOTE_NAME).write_text(note.model_dump_json(), encoding="utf-8")
        return home


@dataclass(frozen=True)
class Candidate:
    """A commit to hand in: the full text of each file that it changes, on the tip with the digest ``parent``.

    ``reported_gain`` and ``note`` are your word for it, shown to others as such; the market believes neither.
    """

    parent: str
    files: Mapping[str, str] = field(repr=False)
    reported_gain: float | None = None
    note: str = ""

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, reported_gain: float | None = None, note: str = "") -> "Candidate":
        """Read the allow-listed files of a folder that `Tip.save` wrote, and nothing else in it.

        Raises:
            ConfigurationError: it is no such folder, or a file is a link, too large or not UTF-8.
        """
        home = Path(folder)
        tip = _note_of(home)
        files = {path: _text_of(home, path) for path in tip.editable if os.path.lexists(home / path)}
        return cls(parent=tip.digest, files=files, reported_gain=reported_gain, note=note)

    @property
    def name(self) -> str:
        """A name that this candidate alone has, the same one after a crash: good as an ``idempotency_key``."""
        head = f"{self.parent} {self.reported_gain!r} {self.note}\n".encode()
        return "candidate-" + hashlib.sha256(head + canonical_bytes(self.files)).hexdigest()

    def seal(self, base: Mapping[str, str], salt: str) -> str:
        """Return what announces this candidate without showing it; ``base`` are the files of the tip that it is made on."""
        return hashlib.sha256(f"atoms.research.seal.1:{salt}:{digest_of({**base, **self.files})}".encode()).hexdigest()


def bounty_of(folder: str | os.PathLike[str]) -> str:
    """Return the id of the research bounty whose tip `Tip.save` wrote into a folder.

    Raises:
        ConfigurationError: it is no such folder.
    """
    return _note_of(Path(folder)).bounty


def canonical_bytes(files: Mapping[str, str]) -> bytes:
    """Write a tree in its one spelling: JSON of {path: text}, sorted, without spaces, in UTF-8. Its SHA-256 is the tree's digest.

    Raises:
        ConfigurationError: half of a surrogate pair.
    """
    try:
        return json.dumps(dict(files), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise errors.ConfigurationError("A file holds half of a surrogate pair.", next_step="Write it as UTF-8.") from None


def digest_of(files: Mapping[str, str]) -> str:
    """Return a tree's digest, in hexadecimal digits."""
    return hashlib.sha256(canonical_bytes(files)).hexdigest()


def read_tree(tree: str | os.PathLike[str] | Mapping[str, str]) -> dict[str, str]:
    """Return the files of a base tree: a mapping as it is, or every file below a folder but those of dot names and caches.

    Raises:
        ConfigurationError: no folder, a link, a name or a text that no tree may have, or too many bytes.
    """
    if isinstance(tree, Mapping):
        return dict(tree)
    home = Path(tree)
    if not home.is_dir():
        raise errors.ConfigurationError(f"{str(home)!r} is no folder.", next_step="Pass the folder of the training repository.")
    paths = [file.relative_to(home).as_posix() for file in sorted(home.rglob("*")) if not file.is_dir() or file.is_symlink()]
    wanted = [path for path in paths if not any(part.startswith(".") or part == "__pycache__" for part in path.split("/"))]
    files = {path: _text_of(home, path) for path in wanted}
    if sum(len(text.encode()) for text in files.values()) > LARGEST_TREE_BYTES:
        raise errors.ConfigurationError("The tree has more than 1,000,000 bytes.", next_step="Send data with data=, not in the tree.")
    return files


def read_data(content: bytes | str | os.PathLike[str]) -> bytes:
    """Return the bytes of a data file, given as such or by its path.

    Raises:
        ConfigurationError: there is none, it is empty or larger than 64 MiB.
    """
    try:
        found = content if isinstance(content, bytes) else Path(content).read_bytes()
    except OSError as error:
        raise errors.ConfigurationError(f"{str(content)!r} can't be read.", next_step="Pass the path of a data file.") from error
    if not 0 < len(found) <= LARGEST_DATA_BYTES:
        raise errors.ConfigurationError(f"A data file of {len(found)} bytes is not taken.", next_step="Send 1 byte to 64 MiB.")
    return found


def save_file(folder: str | os.PathLike[str], name: str, content: bytes) -> Path:
    """Write a file into a folder and return its path.

    Raises:
        ConfigurationError: the name leads elsewhere.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    if not _PATH.fullmatch(name):
        raise errors.ConfigurationError(f"{name[:40]!r} is no name of a file.")
    _refuse_links(home, name)
    (home / name).write_bytes(content)
    return home / name


def _note_of(home: Path) -> _Note:
    try:
        return _Note.model_validate_json((home / NOTE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        next_step = "Download the tip into it first: market.research.tip(bounty_id, into=folder)."
        raise errors.ConfigurationError(f"{str(home)!r} is not the folder of a tip.", next_step=next_step) from None


def _text_of(home: Path, path: str) -> str:
    if not _PATH.fullmatch(path):
        raise errors.ConfigurationError(f"{path[:80]!r} can't be in a tree.", next_step="Use ASCII letters, digits and _ . - only.")
    _refuse_links(home, path)
    place = home / path
    try:
        # Looked at before it is opened: a pipe would block.
        if not stat.S_ISREG(place.stat().st_mode) or place.stat().st_size > LARGEST_TREE_BYTES:
            raise errors.ConfigurationError(f"{path} is no file of at most 1,000,000 bytes.")
        return place.read_bytes().decode()
    except UnicodeDecodeError:
        raise errors.ConfigurationError(f"{path} is not UTF-8.", next_step="A tree has texts alone.") from None
    except OSError as error:
        raise errors.ConfigurationError(f"{path} can't be read.") from error


def _refuse_links(home: Path, path: str) -> None:
    """Follow no link: neither a stranger's program nor a tip may lead reading or writing out of the folder."""
    place = home
    for part in path.split("/"):
        place = place / part
        if place.is_symlink():
            raise errors.ConfigurationError(f"{path} is, or is below, a symbolic link.", next_step="Put a plain file in its place.")
