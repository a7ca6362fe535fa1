"""Which sandbox level is chosen, what it must hide, and how its limits are read."""

from __future__ import annotations

import pytest

from course_lib.grading import bubblewrap, building, containers, sandbox
from course_lib.grading.sandbox_view import Limits


class TestChoosing:
    """Which level a class is graded at."""

    @pytest.fixture
    def without(self, monkeypatch):
        def take(*levels):
            for module, name in ((bubblewrap, "bwrap"), (containers, "container")):
                reason = f"no {name}" if name in levels else None
                monkeypatch.setattr(module, "problem", lambda reason=reason: reason)

        return take

    @pytest.mark.parametrize(("missing", "chosen"), [((), "bwrap"), (("bwrap",), "container")])
    def test_the_strongest_that_works(self, without, missing, chosen):
        without(*missing)
        assert sandbox.choose("auto") == chosen
        assert sandbox.report()[0] == chosen

    def test_nothing_runs_where_no_level_protects(self, without):
        without("bwrap", "container")
        with pytest.raises(sandbox.SandboxError, match="no bwrap; no container; hostile code would reach"):
            sandbox.choose("auto")
        assert sandbox.choose("auto", allow_unsandboxed=True) == "process"
        assert sandbox.report() == ("process", "bwrap: no bwrap; container: no container")

    def test_a_level_that_is_asked_for_is_not_replaced(self, without):
        without("bwrap")
        with pytest.raises(sandbox.SandboxError, match="no bwrap"):
            sandbox.choose("bwrap", allow_unsandboxed=True)
        with pytest.raises(ValueError, match="level must be one of 'bwrap', 'container', 'process'; got 'vm'"):
            sandbox.choose("vm")


def test_folders_of_the_grader_may_not_lie_where_the_sandbox_looks(tmp_path):
    sandbox.require_hidden("bwrap", out=tmp_path, solutions=building.SOLUTIONS)
    with pytest.raises(sandbox.SandboxError, match="state folder /usr/share/x lies where the sandbox shows"):
        sandbox.require_hidden("bwrap", state="/usr/share/x")
    sandbox.require_hidden("process", state="/usr/share/x")


def test_limits_are_read_from_texts():
    assert sandbox.limits(["memory_mb=4096", "question_seconds=2.5"]) == Limits(memory_mb=4096, question_seconds=2.5)
    for text in ("memory=1", "memory_mb", "memory_mb=much"):
        with pytest.raises(ValueError, match="a limit must be NAME=NUMBER with one of question_seconds"):
            sandbox.limits([text])
