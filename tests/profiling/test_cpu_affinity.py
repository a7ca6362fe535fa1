"""Threads of a session are placed on cores of their own, and the caller's freedom comes back."""

from __future__ import annotations

import os

import pytest

from course_lib.profiling import cpu_affinity

linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are placed on Linux only")


@pytest.fixture
def processors(monkeypatch, tmp_path):
    """A laptop whose processors 0 and 1 share a core, and whose processor 4 is the fastest."""
    siblings = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3", 4: "4"}
    for processor, shared in siblings.items():
        folder = tmp_path / f"cpu{processor}"
        (folder / "topology").mkdir(parents=True)
        (folder / "topology/thread_siblings_list").write_text(f"{shared}\n")
        (folder / "cpufreq").mkdir()
        (folder / "cpufreq/cpuinfo_max_freq").write_text("5000000\n" if processor == 4 else "3000000\n")
    monkeypatch.setattr(cpu_affinity, "TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(siblings), raising=False)


@pytest.mark.parametrize(("threads", "cores"), [(1, []), (2, [4, 0]), (3, [4, 0, 2]), (4, [])])
def test_threads_get_physical_cores_of_their_own_the_fastest_first(processors, threads, cores):
    assert cpu_affinity.separate_cores(threads) == cores


def test_without_a_description_every_processor_counts_as_a_core(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_affinity, "TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cpu_affinity.separate_cores(2) == [3, 5]


def test_the_pool_gets_what_the_caller_leaves_counted_from_one():
    assert cpu_affinity.worker_affinities([4, 0, 2]) == "1;3"


@linux
def test_the_caller_is_placed_only_meanwhile():
    before = os.sched_getaffinity(0)
    core = max(before)
    with cpu_affinity.on_core([core]):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


@linux
def test_the_caller_is_freed_after_an_error():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), cpu_affinity.on_core([min(before)]):
        raise KeyError
    assert os.sched_getaffinity(0) == before


@linux
def test_without_cores_nothing_is_placed():
    before = os.sched_getaffinity(0)
    with cpu_affinity.on_core([]):
        assert os.sched_getaffinity(0) == before
