"""Find the submissions in files, folders, nbgrader's ``submitted/`` layout and the zip files of learning systems.

Only regular files are read, within limits of number and size. A notebook that is not accepted stays in the list with
the reason, so that every student who submitted something gets a result.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from course_lib.grading.submission import NOTEBOOK_BYTES, Refused

MAX_FILES = 20_000
MAX_RATIO = 200
SUFFIX = ".ipynb"
MOODLE = "_assignsubmission"
SKIPPED_FOLDERS = {"__MACOSX", ".ipynb_checkpoints"}


@dataclass(frozen=True)
class Submission:
    """One submitted notebook.

    Args:
        student: a name from the folder or file; text of the learner.
        path: the notebook, or the zip file that contains it.
        member: its name within the zip file.
        problem: why it is not accepted.
        packed: the student made the zip file, so the times of its entries are not trusted.
    """

    student: str
    path: str
    member: str = ""
    problem: str = ""
    packed: bool = False

    def read(self) -> bytes:
        """The content, at most one byte more than is allowed.

        Raises:
            Refused: if it is not accepted, or no longer a regular file.
        """
        if self.problem:
            raise Refused(self.problem)
        if not self.member:
            return _read_regular(Path(self.path))
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                return stream.read(NOTEBOOK_BYTES + 1)
        except Exception as error:  # zlib and lzma add their own classes to those of zipfile
            raise Refused(f"it cannot be unpacked ({type(error).__name__})") from error


def collect(paths: Iterable[str | Path]) -> list[Submission]:
    """All submissions below ``paths``, each student's name made unique, in a fixed order.

    Raises:
        FileNotFoundError: if one of the paths does not exist.
    """
    found: list[Submission] = []
    for path in map(Path, paths):
        if not os.path.lexists(path):
            raise FileNotFoundError(f"there is no {path}")
        found += list(_below(path))
    return _unique(found)


def _below(path: Path) -> Iterator[Submission]:
    if path.is_dir() and not path.is_symlink():
        yield from _folder(path)
    elif path.suffix.lower() == ".zip":
        yield from _archive(path)
    else:
        yield Submission(path.stem, str(path), problem=_file_problem(path))


def _folder(root: Path) -> Iterator[Submission]:
    count = 0
    for folder, names, files in os.walk(root, followlinks=False):
        names[:] = sorted(name for name in names if name not in SKIPPED_FOLDERS)
        linked = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *linked]):
            count += 1
            if count > MAX_FILES:
                raise ValueError(f"{root} holds more than {MAX_FILES:,} files")
            path = Path(folder) / name
            parts = path.relative_to(root).parts
            if len(parts) == 2 and parts[0] == path.stem:  # the root is a student's folder in nbgrader's layout
                parts = (root.resolve().name, *parts)
            student = _student(parts)
            if path.suffix == SUFFIX or (name in linked):
                yield Submission(student, str(path), problem=_file_problem(path))
            elif path.suffix.lower() == ".zip":
                yield from (replace(one, student=student, packed=True) for one in _archive(path))


def _archive(path: Path) -> Iterator[Submission]:
    if problem := _file_problem(path, limit=None):
        yield Submission(path.stem, str(path), problem=problem)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield Submission(path.stem, str(path), problem=f"it is not a readable zip file ({type(error).__name__})")
        return
    if len(entries) > MAX_FILES:
        yield Submission(path.stem, str(path), problem=f"it holds {len(entries):,} files; {MAX_FILES:,} are allowed")
        return
    names = [entry.filename for entry in entries]
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if entry.is_dir() or not entry.filename.endswith(SUFFIX) or SKIPPED_FOLDERS & set(parts):
            continue
        student = _student(parts) if len(parts) > 1 else Path(parts[0]).stem
        yield Submission(student, str(path), entry.filename, _entry_problem(entry, names))


def _student(parts: tuple[str, ...]) -> str:
    """The name of the first folder (below ``submitted`` in nbgrader's layout), else the name of the file."""
    folders = [part for part in parts[:-1] if part not in ("submitted", ".", "..", "/")]
    name = folders[0] if folders else Path(parts[-1]).stem
    return name.split(MOODLE)[0]


def _entry_problem(entry: zipfile.ZipInfo, names: list[str]) -> str:
    name = entry.filename
    mode = entry.external_attr >> 16
    if name.startswith(("/", "\\")) or ":" in name or "\\" in name or ".." in PurePosixPath(name).parts:
        return "its name in the zip file leads out of the folder"
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "it is not a regular file in the zip file"
    if names.count(name) > 1:
        return "its name stands twice in the zip file"
    if entry.flag_bits & 1:
        return "it is encrypted"
    if entry.file_size > NOTEBOOK_BYTES:
        return f"it has {entry.file_size:,} bytes unpacked; {NOTEBOOK_BYTES:,} are allowed"
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return f"it is packed more than {MAX_RATIO} times smaller than it is"
    return ""


def _file_problem(path: Path, limit: int | None = NOTEBOOK_BYTES) -> str:
    try:
        status = path.lstat()
    except OSError as error:
        return f"it cannot be read ({type(error).__name__})"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_nlink > 1:
        return "it is a hard link"
    if limit is not None and status.st_size > limit:
        return f"it has {status.st_size:,} bytes; {limit:,} are allowed"
    return ""


def _read_regular(path: Path) -> bytes:
    """Read a file that is checked after it was opened, so that it cannot be replaced between check and reading."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Refused(f"it cannot be opened ({type(error).__name__})") from error
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("it is not a regular file")
        return stream.read(NOTEBOOK_BYTES + 1)


def _unique(found: list[Submission]) -> list[Submission]:
    """A repeated name gets a number that no other student's name has; nothing is dropped."""
    taken = {one.student for one in found}
    seen: set[str] = set()
    result = []
    for one in sorted(found, key=lambda one: (one.student, one.path, one.member)):
        name, number = one.student, 1
        while name in seen or (number > 1 and name in taken):
            number += 1
            name = f"{one.student} ({number})"
        seen.add(name)
        result.append(replace(one, student=name))
    return result
