"""Describe this machine and the installed versions, and what they mean for the lessons (``course doctor``)."""

from __future__ import annotations

import html
import itertools
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_lib.profiling import Machine

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
SHOWN_PACKAGES = ("torch", "torchvision", "transformers", "onnxruntime", "jupyterlab", "ipywidgets")
LESSON_MEMORY_GB = 2.0
LESSON_CORES = 2


@dataclass(frozen=True)
class Finding:
    """One fact about this machine.

    Args:
        topic: what was checked.
        value: the result.
        meaning: what it means for the lessons; for a problem, the remedy.
        ok: False if the course will not work properly.
    """

    topic: str
    value: str
    meaning: str = ""
    ok: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """All findings; prints as a table in a terminal and in a notebook."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the lessons will work."""
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        width = max(len(finding.topic) for finding in self.findings)
        lines = []
        for finding in self.findings:
            mark = " " if finding.ok else "!"
            meaning = f"\n  {'':<{width}}  {finding.meaning}" if finding.meaning else ""
            lines.append(f"{mark} {finding.topic:<{width}}  {finding.value}{meaning}")
        return "\n".join([*lines, "", self.verdict])

    @property
    def verdict(self) -> str:
        """One sentence: the topics with a problem, or that there is none."""
        problems = [finding.topic for finding in self.findings if not finding.ok]
        return f"Look at: {', '.join(problems)}." if problems else "Everything is in place."

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(finding.topic)}</th>"
            f"<td style='text-align:left'>{'' if finding.ok else '<b>look here:</b> '}{html.escape(finding.value)}</td>"
            f"<td style='text-align:left'>{html.escape(finding.meaning)}</td></tr>"
            for finding in self.findings
        )
        return f"<table><tbody>{rows}</tbody></table><p><b>{html.escape(self.verdict)}</b></p>"


def examine(*, try_grading: bool = False) -> Diagnosis:
    """Check the processor, memory, package versions, shipped files and environment of this Python.

    Args:
        try_grading: also grade the solution of an exercise in the sandbox, which takes some seconds.
    """
    rest = (python_finding(), *package_findings(), asset_finding(), grading_finding(try_it=try_grading))
    try:
        from course_lib import profiling
    except ImportError as error:
        return Diagnosis((Finding("processor", "not checked", f"{error}; see below", ok=False), *rest))
    return Diagnosis((*machine_findings(profiling.machine()), *rest))


def machine_findings(machine: Machine) -> list[Finding]:
    """Processor and memory, with their effect on the timings of the lessons."""
    enough = machine.memory_gb >= 2 * LESSON_MEMORY_GB
    memory = f"a lesson needs up to {LESSON_MEMORY_GB:g} GB"
    return [
        Finding("processor", machine.cpu or "unknown"),
        Finding("cores", str(machine.cores), cores_meaning(machine.cores)),
        Finding(
            "memory", f"{machine.memory_gb:.0f} GB",
            memory if enough else f"{memory}; close other programs, and run one lesson at a time", enough,
        ),
        Finding("vector units", vector_units(machine), vector_meaning(machine)),
        Finding(
            "GPU", str(machine.gpu or "none"),
            "training in the lessons uses it; timings stay on the processor" if machine.gpu else "none is needed",
        ),
    ]  # fmt: skip


def cores_meaning(cores: int) -> str:
    """Effect of the number of cores on the timings."""
    if cores < LESSON_CORES:
        return f"timings use {LESSON_CORES} threads; with one core a lesson takes about twice as long"
    return f"timings use {LESSON_CORES} threads, so they can be compared with those of other machines"


def vector_units(machine: Machine) -> str:
    """Names of the instruction sets that decide the speed of int8 and bf16, or ``none``."""
    names = ("AVX2", "AVX-512", "VNNI", "AMX", "bf16")
    present = (machine.avx2, machine.avx512, machine.vnni, machine.amx, machine.bf16)
    return ", ".join(itertools.compress(names, present)) or "none"


def vector_meaning(machine: Machine) -> str:
    """Speed of int8 that these instruction sets allow."""
    if machine.amx:
        return "int8 and bf16 have matrix units: int8 will be clearly faster than fp32"
    if machine.vnni:
        return "int8 has its own instruction: int8 will be faster than fp32"
    if machine.avx2:
        return "no VNNI: int8 will be little faster than fp32, and products of 8-bit numbers can saturate"
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "not an x86 processor: timings will differ from the stored ones, sizes and accuracies will not"
    return "no AVX2: lessons may take several times longer; sizes and accuracies are the same"


def python_finding() -> Finding:
    """The running Python, and whether it is the one that ``start.py`` set up."""
    expected = ROOT / ".venv"
    is_own = Path(sys.prefix).resolve() == expected.resolve()
    value = f"{platform.python_version()} in {expected.name if is_own else sys.prefix}"
    if is_own or not expected.is_dir():
        return Finding("Python", value)
    problem = f"this is not the course's environment {expected}; in Jupyter choose Kernel > Change Kernel > Python 3"
    return Finding("Python", value, f"{problem}, in a terminal start with: python3 start.py")


def package_findings(lock: Path = LOCK) -> list[Finding]:
    """Versions of the packages that numbers depend on, compared with the lock file if there is one."""
    pinned = locked_versions(lock.read_text(encoding="utf-8").splitlines()) if lock.is_file() else {}
    return [_package_finding(name, pinned.get(name)) for name in SHOWN_PACKAGES]


def locked_versions(lines: Iterable[str]) -> dict[str, str]:
    """Package → version, from the lines of a lock file."""
    requirements = [line.split(";")[0].strip() for line in lines if "==" in line and not line.startswith("#")]
    return dict(requirement.split("==", 1) for requirement in requirements)


def asset_finding() -> Finding:
    """Whether every shipped file matches the manifest."""
    from course_lib import assets

    try:
        problems = assets.verify()
    except (assets.AssetError, ValueError) as error:
        problems = [str(error)]
    if problems:
        return Finding("shipped files", f"{len(problems)} missing or damaged", problems[0], ok=False)
    return Finding("shipped files", f"{len(assets.manifest())} verified")


def grading_finding(*, try_it: bool = False) -> Finding:
    """Whether a class can be graded here, and in which sandbox; lessons and ``course check`` need neither.

    Args:
        try_it: grade the solution of an exercise; anything but full marks is a problem.
    """
    from course_lib.core import extras

    if absent := extras.missing("classroom"):
        needed = f"needed only to grade a class, install it with: {extras.remedy('classroom')}"
        return Finding("grading", f"extra [classroom] not installed ({', '.join(absent)} missing)", needed)
    from course_lib.grading import sandbox, trial

    level, why = sandbox.report()
    if level == sandbox.LEVELS[-1]:
        return Finding("grading", "no sandbox", f"needed only to grade a class: {why}")
    if try_it and (reason := trial.problem(level)):
        return Finding("grading", f"sandbox {level} does not work", f"needed only to grade a class: {reason}", ok=False)
    return Finding("grading", f"sandbox {level}", f"course grade isolates submissions from this machine; {why}")


def _package_finding(name: str, pinned: str | None) -> Finding:
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Finding(name, "not installed", "set the course up with: python3 start.py", ok=False)
    # a build tag such as +cpu does not change the checked outputs of the lessons
    if pinned and installed.split("+")[0] != pinned:
        return Finding(name, installed, f"stored outputs were made with {pinned}; last digits may differ")
    return Finding(name, installed)
