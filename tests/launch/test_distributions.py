"""Which installed packages are complete."""

from __future__ import annotations

import pytest

from course_lib.launch import distributions

COMPLETE = "{name}/__init__.py,sha256=a,1\n{name}-1.0.dist-info/INSTALLER,,\n{name}-1.0.dist-info/RECORD,,\n"


@pytest.fixture
def packages(tmp_path):
    """Two complete packages."""
    for name in ("first", "second"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (info / "INSTALLER").write_text("pip")
        (info / "RECORD").write_text(COMPLETE.format(name=name) + f"{name}/__pycache__/a.pyc,,\n")
    return tmp_path


def test_complete_packages_stay(packages):
    assert distributions.unfinished(packages) == distributions.incomplete(packages) == []
    assert distributions.remove_incomplete(packages) == []


@pytest.mark.parametrize(
    ("damage", "was_cut"),
    [
        (lambda info: (info / "RECORD").unlink(), True),
        (lambda info: (info / "RECORD").write_text("first/__init__.py,,\n"), True),
        (lambda info: (info / "RECORD").write_bytes(b"\xff\x00"), True),
        (lambda info: (info.parent / "first" / "__init__.py").unlink(), False),
    ],
    ids=["no record", "the record of the wheel", "a damaged record", "a missing file"],
)
def test_a_package_that_was_cut_loses_its_metadata(packages, damage, was_cut):
    damage(packages / "first-1.0.dist-info")
    (packages / "~econd").mkdir()
    assert bool(distributions.unfinished(packages)) is was_cut
    assert distributions.remove_incomplete(packages) == ["first-1.0"]
    assert sorted(path.name for path in packages.iterdir()) == ["first", "second", "second-1.0.dist-info"]
