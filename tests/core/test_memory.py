"""Freed memory goes back to the system, and the peak of a process is read from the system."""

import platform
import subprocess
import sys

import psutil
import pytest
import torch

from course_lib.core import memory

SMALL = 25_000  # numbers of a tensor that glibc takes from its heap, and does not map by itself


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_what_was_freed_is_not_resident_any_more():
    assert memory.return_freed()
    tensors = [torch.ones(SMALL) for _ in range(1000)]
    last = torch.ones(SMALL)  # above them, so that the heap cannot shrink from its end
    tensors.clear()
    before = psutil.Process().memory_info().rss
    memory.return_freed()
    assert before - psutil.Process().memory_info().rss > 50e6
    assert last.sum() == SMALL


def test_without_such_a_call_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    memory._malloc_trim.cache_clear()
    assert not memory.return_freed()
    memory._malloc_trim.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets a peak")
def test_the_peak_remembers_what_was_freed_until_it_is_reset():
    memory.reset_peak()
    start = memory.peak_bytes()
    ballast = bytearray(200_000_000)
    del ballast
    assert memory.peak_bytes() > start + 150e6
    memory.reset_peak()
    assert memory.peak_bytes() < start + 100e6


def test_the_peak_of_another_process_can_be_read_and_that_of_none_is_zero():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert memory.peak_bytes(process.pid) > 0
    assert memory.peak_bytes(process.pid) == 0
