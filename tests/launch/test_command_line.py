"""The options of start.py."""

from __future__ import annotations

from course_lib import launch


def test_pips_own_options_and_another_index_pass_through():
    options = launch.parse(["run", "03", "--wheels", "https://a.example/cpu", "--", "--proxy", "b:1"])
    assert (options.command, options.lessons) == ("run", ["03"])
    assert options.pip == ["--extra-index-url", "https://a.example/cpu", "--proxy", "b:1"]
