"""The stored results of ``benchmarks/installation_kills.py``."""

from __future__ import annotations

from course_lib import assets

TABLES = assets.results("installation_kills")["tables"]
KILLS = TABLES["kills"]


def test_twenty_kills_hit_both_kinds_of_installation_alone_and_with_pip():
    assert len(KILLS) == 20
    kinds = {(row["installation"], row["processes"]) for row in KILLS}
    assert kinds == {(kind, hit) for kind in ("first", "update") for hit in ("all", "start.py")}
    assert any(row["incomplete_beside"] for row in KILLS), "no kill hit a package while its files were written"


def test_an_environment_that_is_updated_works_after_every_kill_also_without_network():
    updates = [row for row in KILLS if row["installation"] == "update"]
    assert len(updates) == 10
    assert all(row["works_after_kill"] and row["starts_offline"] for row in updates)


def test_the_next_start_completes_every_installation():
    assert all(row["completed"] for row in KILLS)
    [summary] = TABLES["summary"]
    assert summary == {
        "kills": 20, "of_updates": 10, "updates_that_still_worked": 10, "updates_that_started_offline": 10,
        "completed_by_next_start": 20,
    }  # fmt: skip
