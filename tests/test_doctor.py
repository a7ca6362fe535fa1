"""course doctor: every finding has a meaning for the lessons, and every problem has a remedy."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib import assets, doctor
from course_lib.core import extras
from course_lib.profiling import Machine

LAPTOP = Machine("A CPU", 4, 16.0, avx2=True, avx512=False, vnni=False, amx=False, bf16=False)


def values(findings):
    return {finding.topic: finding for finding in findings}


def test_this_machine_is_examined_completely():
    findings = values(doctor.examine().findings)
    expected = {
        "processor",
        "cores",
        "memory",
        "vector units",
        "GPU",
        "Python",
        "shipped files",
        "grading",
        *doctor.SHOWN_PACKAGES,
    }
    assert set(findings) == expected
    assert findings["torch"].value and int(findings["cores"].value) >= 1


@pytest.mark.parametrize(
    ("change", "units", "meaning"),
    [
        ({}, "AVX2", "no VNNI: int8 will be little faster"),
        ({"avx512": True, "vnni": True}, "AVX2, AVX-512, VNNI", "int8 will be faster"),
        ({"vnni": True, "amx": True, "bf16": True}, "AVX2, VNNI, AMX, bf16", "matrix units"),
    ],
)
def test_vector_units_say_what_to_expect_of_int8(change, units, meaning):
    finding = values(doctor.machine_findings(replace(LAPTOP, **change)))["vector units"]
    assert finding.value == units and meaning in finding.meaning


@pytest.mark.parametrize(("kind", "meaning"), [("arm64", "not an x86"), ("x86_64", "several times")])
def test_a_processor_without_avx2_is_told_apart_from_an_arm(monkeypatch, kind, meaning):
    monkeypatch.setattr("platform.machine", lambda: kind)
    assert meaning in doctor.vector_meaning(replace(LAPTOP, avx2=False))


def test_little_memory_is_a_problem_with_a_remedy():
    finding = values(doctor.machine_findings(replace(LAPTOP, memory_gb=3.0)))["memory"]
    assert not finding.ok and "close other programs" in finding.meaning
    assert values(doctor.machine_findings(LAPTOP))["memory"].ok


def test_one_core_and_a_gpu_are_explained():
    findings = values(doctor.machine_findings(replace(LAPTOP, cores=1, gpu="A GPU")))
    assert "twice as long" in findings["cores"].meaning
    assert findings["GPU"].value == "A GPU" and "timings stay on the processor" in findings["GPU"].meaning


def test_a_version_other_than_the_locked_one_is_reported(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("# exact\ntorch==0.1 ; sys_platform == 'linux'\n")
    findings = values(doctor.package_findings(lock))
    assert findings["torch"].ok and "made with 0.1" in findings["torch"].meaning
    assert findings["transformers"].meaning == ""


def test_a_missing_package_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "SHOWN_PACKAGES", ("torch-of-nowhere",))
    diagnosis = doctor.Diagnosis(tuple(doctor.package_findings()))
    assert not diagnosis.ok and "python3 start.py" in str(diagnosis)
    assert diagnosis.verdict == "Look at: torch-of-nowhere."


def test_a_damaged_file_is_a_problem(monkeypatch):
    monkeypatch.setattr(assets, "verify", lambda: ["asset x is damaged"])
    finding = doctor.asset_finding()
    assert (finding.ok, finding.meaning) == (False, "asset x is damaged")


def test_a_missing_classroom_extra_is_one_line_with_the_command_and_no_problem(monkeypatch):
    monkeypatch.setattr(extras, "missing", lambda extra: ["nbgrader"])
    finding = doctor.grading_finding()
    assert finding.ok and finding.value == "extra [classroom] not installed (nbgrader missing)"
    assert finding.meaning.endswith('.venv/bin/python -m pip install -e ".[classroom]" -c requirements.lock')


def test_a_python_outside_the_courses_environment_is_reported(tmp_path, monkeypatch):
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert "Change Kernel" in doctor.python_finding().meaning
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert doctor.python_finding().meaning == ""


def test_the_environment_behind_the_link_is_the_courses(tmp_path, monkeypatch):
    (tmp_path / ".venvs" / "1").mkdir(parents=True)
    (tmp_path / ".venv").symlink_to(Path(".venvs", "1"))
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venvs" / "1"))
    assert doctor.python_finding().meaning == ""


def test_without_torch_the_processor_is_a_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "course_lib.profiling", None)
    monkeypatch.delattr("course_lib.profiling")
    assert doctor.examine().findings[0].ok is False


def test_the_notebook_table_escapes_the_findings():
    table = doctor.Diagnosis((doctor.Finding("GPU", "<script>", "a & b", ok=False),))._repr_html_()
    assert "&lt;script&gt;" in table and "a &amp; b" in table and "look here" in table
