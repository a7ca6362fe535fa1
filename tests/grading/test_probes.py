"""The secret of the seeds is private."""

from course_lib.grading import probes


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = probes.secret(tmp_path / "state")
    assert probes.secret(tmp_path / "state") == first and len(first) == 64
    assert (tmp_path / "state" / "secret").stat().st_mode & 0o077 == 0
