"""The constraint explorer against measured rows and the functions of ``search``."""

from __future__ import annotations

import random

import pytest

from course_lib import search
from course_lib.widgets import subnet_panel
from course_lib.widgets.subnets import LIMITS, within_limits

SPACE = search.RESNET18_SPACE


def made_rows(count: int = 40) -> list[dict]:
    """Subnets with counted costs, and accuracies that grow with the work."""
    generator, rows = random.Random(0), []
    for subnet in (SPACE.sample(generator) for _ in range(count)):
        macs = search.macs(subnet)
        rows.append({
            "genes": list(SPACE.genes(subnet)), "accuracy": 0.8 + 0.1 * macs / 2e7 + 0.01 * generator.random(),
            "latency_ms": 0.1 + macs / 4e7 + 0.02 * generator.random(), "stored_bytes": search.stored_bytes(subnet),
            "peak_activation_bytes": search.peak_activation_bytes(subnet),
        })  # fmt: skip
    return rows


ROWS = made_rows()


def test_the_chosen_net_is_the_most_accurate_that_keeps_all_limits():
    result = subnet_panel(ROWS).result
    kept = [
        row for row in ROWS
        if all(row[column] <= factor * result.limits[name] for name, (column, factor, *_) in LIMITS.items())
    ]  # fmt: skip
    assert 0 < len(kept) < len(ROWS) and len(result.kept) == len(kept)
    assert result.best["accuracy"] == max(row["accuracy"] for row in kept)


def test_the_front_is_that_of_the_library():
    limits = dict.fromkeys(LIMITS, 1000000000.0)
    result = within_limits(ROWS, limits)
    front = search.pareto_front([(row["latency_ms"], -row["accuracy"]) for row in ROWS])
    assert sorted(row["latency_ms"] for row in result.front) == sorted(ROWS[place]["latency_ms"] for place in front)


def test_a_tighter_limit_leaves_fewer_subnets_and_no_better_one():
    panel = subnet_panel(ROWS)
    before = panel.result
    panel.controls["memory"].value = 0.8 * before.limits["memory"]
    assert len(panel.result.kept) < len(before.kept)
    assert panel.result.best is None or panel.result.best["accuracy"] <= before.best["accuracy"]


def test_every_slider_moves_the_picture_and_the_numbers(moves):
    panel = subnet_panel(ROWS)
    for name in LIMITS:
        for end in ("low", "high"):
            assert moves(panel, name, getattr(panel.controls[name], end))
        panel.controls[name].value = panel.controls[name].high


def test_where_nothing_is_left_the_panel_says_what_the_nearest_needs():
    panel = subnet_panel(ROWS)
    panel.controls["latency"].value = panel.controls["latency"].low
    assert panel.result.best is None
    assert "The nearest needs latency (ms)" in panel.notice.value


def test_a_panel_without_rows_is_refused():
    with pytest.raises(ValueError, match="rows must hold measured subnets"):
        subnet_panel([])
