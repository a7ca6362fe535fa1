"""The secret of the seeds is private."""

import os
import stat

from course_lib.grading import building, probes
from course_lib.grading.assignment import Assignment


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = probes.secret(tmp_path / "state")
    assert probes.secret(tmp_path / "state") == first and len(first) == 64
    assert (tmp_path / "state" / "secret").stat().st_mode & 0o077 == 0


def test_the_references_are_private_whatever_the_umask(tmp_path, monkeypatch):
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    one = {"01.1": {"seed": 1, "line": "1", "floors": []}}
    monkeypatch.setattr(probes, "_compute", lambda assignment, key, pool: [one] * pool)
    before = os.umask(0)
    try:
        probes.references(Assignment(solution), b"key", tmp_path / "state", pool=2)
    finally:
        os.umask(before)
    (file,) = (tmp_path / "state" / "references").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
