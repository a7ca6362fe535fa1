"""A file is replaced as a whole or not at all."""

import os

import pytest

from course_lib.core.atomic_write import write_atomically


def test_text_and_bytes_are_written_into_new_folders(tmp_path):
    path = write_atomically(tmp_path / "a" / "b.txt", "naïve")
    assert path.read_bytes() == "naïve".encode()
    assert write_atomically(path, b"new").read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
