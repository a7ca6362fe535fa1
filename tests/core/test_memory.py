"""Freed memory goes back to the system."""

import platform
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
