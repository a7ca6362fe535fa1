"""Find the submissions in files, folders, nbgrader's ``submitted/`` layout and the zip files of learning systems.

Every student with a folder or an entry of an export gets a submission: a notebook, or the reason why there is none.
Only regular files are read, within limits of number and size.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from course_lib.grading import attempts, student_names
from course_lib.grading.handed_in import MAX_RATIO, NESTED_BYTES, NOTEBOOK_BYTES, Submission, open_member
from course_lib.grading.student_names import Name, Parts, is_notebook

MAX_FILES = 20_000
MAX_DEPTH = 3
SKIPPED_FOLDERS = {"__MACOSX"}
NO_SUBMISSIONS = ("readme", "timestamp.txt", "thumbs.db", "desktop.ini")
PACKED = (".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class _Item:
    """A file, or a folder (its last part is empty), below a root."""

    parts: Parts
    found: Submission

    @property
    def is_hidden(self) -> bool:
        return any((part.startswith(".") and part != "..") or part in SKIPPED_FOLDERS for part in self.parts)

    @property
    def is_candidate(self) -> bool:
        return not self.is_hidden and (is_notebook(self.parts[-1]) or bool(self.found.problem))


def collect(paths: Iterable[str | Path], limit: int = NOTEBOOK_BYTES) -> list[Submission]:
    """One submission for each student and exercise below ``paths``, in the order of the names.

    Args:
        limit: bytes that a notebook may have.

    Raises:
        FileNotFoundError: if one of the paths does not exist.
        RuntimeError: if a student with a folder or an entry has no submission.
    """
    found: list[Submission] = []
    for path in dict.fromkeys(map(Path, paths)):
        if not os.path.lexists(path):
            raise FileNotFoundError(f"there is no {path}")
        found += _below(path, limit)
    chosen = attempts.choose(found, limit)
    if lost := {one.student for one in found} - {one.student for one in chosen}:
        raise RuntimeError(f"no result for {len(lost)} students: {', '.join(sorted(lost)[:5])}")
    return chosen


def _below(path: Path, limit: int) -> list[Submission]:
    if path.is_dir() and not path.is_symlink():
        items = list(_folder(path, limit)) or [_Item(("",), Submission("", str(path)))]
        return _submissions(path.resolve().name, items)
    if path.suffix.lower() == ".zip":
        return _submissions(path.stem, list(_archive(path, limit)))
    root = path.absolute().parent
    while student_names.EXERCISE.match(root.name):
        root = root.parent
    return _submissions(root.name, [_Item((path.name,), _file(path, limit))])


def _submissions(root: str, items: Sequence[_Item]) -> list[Submission]:
    """The notebooks of each student; for one without any, the reason."""
    items = [one for one in items if not _is_no_submission(one.parts)]
    names = student_names.students(root, [one.parts for one in items])
    by_student: dict[str, list[tuple[_Item, Name]]] = {}
    for item, name in zip(items, names, strict=True):
        by_student.setdefault(name.student, []).append((item, name))
    found = []
    for student, own in by_student.items():
        notebooks = [(item, name) for item, name in own if item.is_candidate]
        found += [_named(item, name) for item, name in notebooks]
        if not notebooks:
            found.append(replace(own[0][0].found, student=student, problem=_without_notebook([one for one, _ in own])))
    return found


def _named(item: _Item, name: Name) -> Submission:
    return replace(
        item.found, student=name.student, upload=name.upload, received=name.time,
        lesson=student_names.lesson_in(item.parts), name="/".join(item.parts),
    )  # fmt: skip


def _without_notebook(items: Sequence[_Item]) -> str:
    files = sorted({one.parts[-1] for one in items if one.parts[-1]})
    shown = sorted({one.parts[-1] for one in items if one.parts[-1] and not one.is_hidden})
    if not files:
        return "the folder is empty"
    if not shown:
        return f"it holds only hidden files such as {files[0]}"
    names = ", ".join(shown[:3])
    if packed := [name for name in shown if name.lower().endswith(PACKED)]:
        return f"{packed[0]} is not unpacked here, and there is no notebook beside it"
    return f"no notebook was handed in, only {names}"


def _is_no_submission(parts: Parts) -> bool:
    """Files beside the students' folders, and hidden folders there, that belong to no student."""
    if (parts[0].startswith(".") and parts[0] != "..") or parts[0] in SKIPPED_FOLDERS:
        return True
    name = parts[0].lower()
    return len(parts) == 1 and not is_notebook(name) and (name.startswith(NO_SUBMISSIONS) or name.endswith(".csv"))


def _folder(root: Path, limit: int) -> Iterator[_Item]:
    count = 0
    exports = _exports(root)
    for folder, names, files in os.walk(root, followlinks=False):
        names.sort()
        inside = Path(folder).relative_to(root).parts
        if inside and not names and not files:
            yield _Item((*inside, ""), Submission("", folder))
        linked = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *linked]):
            count += 1
            if count > MAX_FILES:
                raise ValueError(f"{root} holds more than {MAX_FILES:,} files")
            path, parts = Path(folder) / name, (*inside, name)
            if path in exports:
                yield from _archive(path, limit)
            elif name.lower().endswith(".zip") and not path.is_symlink():
                yield from _packed(parts, _archive(path, limit), by_student=True)
            elif is_notebook(name) or name in linked:
                yield _Item(parts, _file(path, limit))
            else:
                yield _Item(parts, Submission("", str(path)))


def _packed(parts: Parts, items: Iterator[_Item], *, by_student: bool = False) -> Iterator[_Item]:
    """The items of a zip file that a student made: she chose the names in it.

    Args:
        by_student: it lies in a folder, and not in a learning system's zip file, which knows the time of its entries.
    """
    yield _Item(parts, Submission("", "/".join(parts)))
    for item in items:
        inside = parts if item.parts == (parts[-1],) else (*parts[:-1], _stem(parts), *item.parts)
        yield _Item(inside, replace(item.found, packed=by_student))


def _stem(parts: Parts) -> str:
    """What stands for the zip file in a path: its full name if a learning system made it, for it names a student."""
    return parts[-1] if student_names.from_learning_system(parts[-1]) else student_names.stem(parts[-1])


def _exports(root: Path) -> set[Path]:
    """The zip files of a learning system, if a folder holds nothing else."""
    files = [one for one in root.iterdir() if not one.name.startswith(".")]
    return set(files) if files and all(map(_is_export, files)) else set()


def _is_export(path: Path) -> bool:
    if path.suffix.lower() != ".zip" or path.is_symlink():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            tops = {_parts(name)[0] for name in archive.namelist() if _parts(name)}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(tops) and all(student_names.from_learning_system(name) for name in tops)


def _archive(path: Path, limit: int, members: tuple[str, ...] = ()) -> Iterator[_Item]:
    """The files of a zip file, and of the zip files in it."""
    here = Submission("", str(path), members=members)
    last = (PurePosixPath(members[-1].replace("\\", "/")).name if members else path.name,)
    if not members and (problem := _file_problem(path, None)):
        yield _Item(last, replace(here, problem=problem))
        return
    try:
        with _opened(path, members) as stream, zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except Exception as error:  # zlib and lzma add their own classes to those of zipfile
        yield _Item(last, replace(here, problem=f"it is not a readable zip file ({type(error).__name__})"))
        return
    if len(entries) > MAX_FILES:
        yield _Item(last, replace(here, problem=f"it holds {len(entries):,} files; {MAX_FILES:,} are allowed"))
        return
    names = Counter(entry.filename for entry in entries)
    filled = {parts[:count] for name in names if (parts := _parts(name)) for count in range(1, len(parts))}
    for entry in entries:
        parts = _parts(entry.filename)
        if not parts or (entry.is_dir() and parts in filled):
            continue
        one = replace(here, members=(*members, entry.filename))
        if entry.is_dir():
            yield _Item((*parts, ""), one)
        elif is_notebook(parts[-1]):
            yield _Item(parts, replace(one, problem=_entry_problem(entry, names, limit)))
        elif parts[-1].lower().endswith(".zip") and len(members) + 1 < MAX_DEPTH:
            if problem := _entry_problem(entry, names, NESTED_BYTES):
                yield _Item(parts, replace(one, problem=problem))
            else:
                yield from _packed(parts, _archive(path, limit, one.members))
        else:
            yield _Item(parts, one)


def _opened(path: Path, members: tuple[str, ...]) -> IO[bytes]:
    return io.BytesIO(open_member(path, members, NESTED_BYTES)) if members else path.open("rb")


def _parts(name: str) -> Parts:
    """The parts of a name in a zip file, whose separator may be that of Windows."""
    return tuple(part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "/")


def _entry_problem(entry: zipfile.ZipInfo, names: Mapping[str, int], limit: int) -> str:
    name = entry.filename
    mode = entry.external_attr >> 16
    if name.startswith(("/", "\\")) or name[1:3] in (":/", ":\\") or ".." in _parts(name):
        return "its name in the zip file leads out of the folder"
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "it is not a regular file in the zip file"
    if names[name] > 1:
        return "its name stands twice in the zip file"
    if entry.flag_bits & 1:
        return "it is encrypted"
    if entry.file_size > limit:
        return f"it has {entry.file_size:,} bytes unpacked; {limit:,} are allowed"
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return f"it is packed more than {MAX_RATIO} times smaller than it is"
    return ""


def _file(path: Path, limit: int) -> Submission:
    return Submission("", str(path), problem=_file_problem(path, limit))


def _file_problem(path: Path, limit: int | None) -> str:
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
