"""Every test has a cache folder of its own."""

import importlib

import pytest

ROOFLINE = importlib.import_module("course_lib.profiling.roofline")  # the package attribute is the function


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fast_roofline(monkeypatch):
    monkeypatch.setattr(ROOFLINE, "MATMUL_SIZE", 64)
    monkeypatch.setattr(ROOFLINE, "STREAM_ELEMENTS", 4096)
