"""The stored results of ``benchmarks/coded_damage.py``."""

from __future__ import annotations

from course_lib import assets

TABLES = assets.results("coded_damage")["tables"]
FILES = TABLES["damage"]


def test_ten_thousand_mutations_hit_every_encoding_with_both_coders():
    encodings = {"uniform", "packed", "packed_columns", "codebook", "bitmask"}
    assert {(row["encoding"], row["coder"]) for row in FILES} == {
        (encoding, coder) for encoding in encodings for coder in ("arithmetic", "huffman")
    }
    [summary] = TABLES["summary"]
    assert summary["mutations"] == sum(row["mutations"] for row in FILES) >= 9_900  # a few change nothing
    assert summary["refused"] + summary["loaded"] == summary["mutations"]


def test_nothing_but_a_format_error_was_raised_and_the_checksum_notices_every_damage():
    assert [row["other_errors"] for row in FILES] == [[]] * len(FILES)
    assert [row["loaded_against_checksum"] for row in FILES] == [0] * len(FILES)


def test_time_and_memory_were_bounded():
    assert max(row["longest_s"] for row in FILES) < 10
    assert max(row["memory_mb"] for row in FILES) < 500
