"""Copies of environments, and absolute paths in them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from course_lib.launch import relocation
from course_lib.launch.environment import Environment


@pytest.fixture
def source(project):
    """An environment with a package, a script and a setting."""
    made = Environment(project)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder], check=True)
    (made.site_packages / "package.py").write_text("value = 1\n")
    script = made.folder / "bin" / "script"
    script.write_text(f"#!{made.python}\n# {made.folder}s is another folder\n")
    script.chmod(0o755)
    return made


def copy(source, root):
    target = Environment(root, root / ".venvs" / "1")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", target.folder], check=True)
    relocation.copy_packages(source, target)
    return target


def test_a_copy_shares_its_files_and_has_its_own_paths(source):
    target = copy(source, source.root)
    assert (target.site_packages / "package.py").samefile(source.site_packages / "package.py")
    script = target.folder / "bin" / "script"
    assert script.read_text() == f"#!{target.python}\n# {source.folder}s is another folder\n"
    assert script.stat().st_mode & 0o777 == 0o755
    assert (source.folder / "bin" / "script").read_text().startswith(f"#!{source.python}\n")


def test_a_copy_of_an_environment_that_was_moved_has_its_own_paths(source, tmp_path):
    source.root.rename(tmp_path / "moved")
    target = copy(Environment(tmp_path / "moved"), tmp_path / "moved")
    assert (target.folder / "bin" / "script").read_text().startswith(f"#!{target.python}\n")


def test_a_file_system_without_hard_links_is_an_error(source, monkeypatch):
    def refused(*_):
        raise OSError("no links")

    monkeypatch.setattr("os.link", refused)
    with pytest.raises(OSError, match="no links"):
        copy(source, source.root)
