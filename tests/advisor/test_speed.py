"""``why_not_faster``: planted causes on small networks; the larger ones are in benchmarks/advisor.py."""

from __future__ import annotations

import pytest
from advisor_speed_cases import CASES

from course_lib import advisor
from course_lib.advisor import speed_causes
from course_lib.advisor.node_times import NodeTime, Profile, Weight
from course_lib.advisor.speed_causes import CAUSES, Surroundings, book, ranked
from course_lib.profiling import Roofline, machine

SMALL = [name for name, planted in CASES.items() if planted.small and planted.cause != "threads"]


@pytest.mark.parametrize("name", SMALL)
def test_a_planted_cause_is_found(tmp_path, name):
    planted = CASES[name]
    before, after, inputs = planted.make(tmp_path)
    found = advisor.why_not_faster(before, after, inputs, threads=1, runs=5)
    assert found.cause == planted.cause, str(found)


def test_a_diagnosis_shows_the_nodes_and_is_data(tmp_path):
    before, after, inputs = CASES["2:4 zeros"].make(tmp_path)
    found = advisor.why_not_faster(before, after, inputs, threads=1, runs=5)
    assert {"node", "operator", "ms", "share", "cause"} == set(found.frame.columns)
    assert found.frame["share"].sum() == pytest.approx(1)
    assert "remove whole channels" in found.remedy and "Main cause: zeros in dense kernels" in str(found)
    assert found.to_dict()["cause"] == found.cause and "<pre>" in found._repr_html_()
    assert list(found.lost_ms.values()) == sorted(found.lost_ms.values(), reverse=True)


def test_sixteen_cases_cover_every_cause():
    assert len(CASES) == 16 and {planted.cause for planted in CASES.values()} == set(CAUSES)


def weighted(name, op="Gemm", ms=1.0, sparsity=0.0, digest="old", **options):
    return NodeTime(name, op, ms, Weight(name, "FLOAT", 100, sparsity, digest), **options)


def booked(*nodes, before=(), ridge=10.0, **options):
    known = Surroundings(machine(), Roofline(ridge, 1.0, 1), 2**20, Profile(list(before)), **options)
    return dict(ranked(book(Profile(list(nodes)), known)))


def test_the_share_of_the_zeros_is_booked():
    assert booked(weighted("a", ms=2.0, sparsity=0.9, digest="new")) == {"zeros in dense kernels": pytest.approx(1.8)}


def test_a_head_is_the_last_layer_with_weights():
    before = [weighted("a", digest="a"), weighted("z", digest="z")]
    after = [weighted("a", "MatMulNBits", 0.1, digest="q"), weighted("z", ms=3.0, digest="z")]
    assert next(iter(booked(*after, before=before))) == "unquantized head"


def test_few_bits_are_judged_by_the_rows():
    few, many = (weighted("a", "MatMulNBits", rows=rows) for rows in (1, 64))
    assert list(booked(few)) == ["weights fit the cache"]
    assert list(booked(many)) == ["compute-bound batch"]


def test_integers_without_vnni_lack_an_instruction_set(monkeypatch):
    class Old:
        vnni = False

    monkeypatch.setattr(speed_causes, "Machine", Old)
    known = Surroundings(Old(), Roofline(10, 1, 1), 2**20, Profile([]))
    assert list(book(Profile([weighted("a", "QLinearConv")]), known)) == ["missing kernel or instruction set"]
