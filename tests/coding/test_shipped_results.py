"""The tables of lesson 12 say what the shipped results say."""

from __future__ import annotations

import pytest

from course_lib import assets, coding


def test_every_point_of_nncodec_is_in_the_table_with_its_interval():
    table = coding.nncodec_table()
    rows = assets.results("coding")["points"]["rows"]
    assert len(table) == len(rows)
    for row in rows:
        shown = table.loc[row["point"]]
        assert shown["bytes"] == f"{row['stored_bytes'] / row['nncodec_bytes']:.2f}×"
        low, high = (float(part) for part in shown["retained here"].split("(")[1].rstrip(")").split("–"))
        assert low / 100 == pytest.approx(row["retained_low"], abs=6e-4)
        assert high / 100 == pytest.approx(row["retained_high"], abs=6e-4)


def test_the_stages_are_relative_to_the_fp32_file_of_resnet18():
    table = coding.stages_table()
    assert table.loc["pruned, Deep Compression", "smaller"] == "67.6×"
    (trained,) = coding.shipped_rows("trained")
    shown = float(table.loc["the same, trained through the coder", "smaller"].rstrip("×"))
    assert shown == pytest.approx(trained["times_smaller"], rel=1e-3)


def test_no_coder_is_below_the_entropy_of_what_it_knows():
    table = coding.coders_table()
    assert all(loss.startswith("+") for loss in table["Huffman's loss"])
    files = {row["point"]: row["stored_bytes"] for row in coding.shipped_rows("points")}
    measured = [row["point"] for row in coding.shipped_rows("coders") if row["arithmetic_file"] == files[row["point"]]]
    assert list(table.index) == measured and len(measured) >= 8


def test_an_unknown_table_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        coding.shipped_rows("nothing")
