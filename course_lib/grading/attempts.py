"""Which of a student's notebooks is graded: for each exercise the latest attempt; all others are listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from course_lib.grading import late, student_names, submission
from course_lib.grading.handed_in import Submission

TOGETHER = timedelta(seconds=60)
"""Files whose times differ by less were copied together: their times do not say which is the later attempt."""


def choose(found: Iterable[Submission], limit: int) -> list[Submission]:
    """One submission for each student and lesson, in the order of the names.

    A notebook of no exercise, or a file that cannot be read, is chosen only if the student has nothing better.
    """
    by_student: dict[str, dict[tuple[str, ...], Submission]] = defaultdict(dict)
    for one in found:
        by_student[one.student][(one.path, *one.members)] = one
    chosen = []
    for own in by_student.values():
        chosen += _of_student([*own.values()], limit)
    return sorted(chosen, key=lambda one: (one.student, one.lesson))


def _of_student(own: Sequence[Submission], limit: int) -> list[Submission]:
    by_lesson: dict[str, list[Submission]] = defaultdict(list)
    rest: dict[str, list[tuple[Submission, str]]] = defaultdict(list)
    for one in own:
        try:
            lesson = submission.lesson(submission.parse(one.read(limit), limit)) or ""
        except submission.Refused as problem:
            rest[one.lesson].append((one, str(problem)))
            continue
        if lesson:
            by_lesson[lesson].append(replace(one, lesson=lesson))
        else:
            rest[""].append((replace(one, lesson=""), "no exercise"))
    chosen = [_latest(several, rest.pop(lesson, [])) for lesson, several in by_lesson.items()]
    chosen += [_refused(several) for lesson, several in rest.items() if lesson]
    return _with_strays(chosen, rest.pop("", []))


def _latest(several: Sequence[Submission], broken: Sequence[tuple[Submission, str]]) -> Submission:
    """The latest attempt: by a system's number, by time, and for files copied together by the number of the copy."""
    uploaded = max(one.upload for one in several)
    times = {one: late.handed_in(one) for one in several if one.upload == uploaded}
    last = max(times.values())
    close = [one for one, time in times.items() if last - time < TOGETHER]
    chosen = max(close, key=lambda one: _order(one, times[one]))
    others = [f"{one.name}: an earlier attempt, not graded" for one in several if one != chosen]
    return _listed(chosen, [*others, *_reasons(broken)])


def _order(one: Submission, time: datetime) -> tuple[int, datetime, str]:
    name = (one.members or (one.path,))[-1].replace("\\", "/").rpartition("/")[2]
    return student_names.copy_number(name), time, one.name


def _refused(several: Sequence[tuple[Submission, str]]) -> Submission:
    first, *rest = several
    return _listed(first[0], _reasons(rest))


def _with_strays(chosen: list[Submission], strays: Sequence[tuple[Submission, str]]) -> list[Submission]:
    if strays and not chosen:
        return [_refused(strays)]
    if strays:
        chosen[0] = _listed(chosen[0], _reasons(strays))
    return chosen


def _reasons(several: Iterable[tuple[Submission, str]]) -> list[str]:
    return [f"{one.name}: not graded, {reason}" for one, reason in several]


def _listed(one: Submission, more: Iterable[str]) -> Submission:
    return replace(one, others=(*one.others, *more))
