"""The shipped measurements of ``benchmarks/coding.py`` as the tables that lesson 12 shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from course_lib import assets
from course_lib.core.formatting import byte_size
from course_lib.report.tables import percent, times

if TYPE_CHECKING:
    import pandas


def shipped_rows(table: str) -> list[dict[str, Any]]:
    """Rows of a table of the results file.

    Raises:
        KeyError: if there is no such table.
    """
    return assets.results("coding")[table]["rows"]


def nncodec_table() -> pandas.DataFrame:
    """Each model and operating point: file and retained accuracy of nncodec, and of the coded file chosen for it."""
    rows = {
        row["point"]: {
            "nncodec": byte_size(row["nncodec_bytes"]), "retained": percent(row["nncodec_retained"], 2),
            "coded here": byte_size(row["stored_bytes"]), "retained here": _retained(row),
            "bytes": f"{row['ratio']:.2f}×",
        }
        for row in shipped_rows("points")
    }  # fmt: skip
    return _frame(rows)


def stages_table() -> pandas.DataFrame:
    """ResNet18 by Deep Compression (counted bytes), by the grid coder without training, and trained through it."""
    (deep,), (trained,) = shipped_rows("deep_compression"), shipped_rows("trained")
    coded = {row["point"]: row for row in shipped_rows("points")}
    baseline = deep["times_smaller"] * deep["counted_bytes"]
    rows = {
        "pruned, Deep Compression": (deep["counted_bytes"], deep),
        "pruned, grid coder": (coded["resnet18_pruned_95 1"]["stored_bytes"], coded["resnet18_pruned_95 1"]),
        "channels removed, grid coder": (coded["resnet18_structured_11 1"]["stored_bytes"],
                                         coded["resnet18_structured_11 1"]),
        "the same, trained through the coder": (trained["stored_bytes"], trained),
    }  # fmt: skip
    return _frame({
        name: {"bytes": byte_size(size), "smaller": times(baseline / size), "retained": _retained(row)}
        for name, (size, row) in rows.items()
    })  # fmt: skip


def coders_table() -> pandas.DataFrame:
    """Levels of coded files by Huffman codes, at their entropy, and by adaptive tables with contexts; true files.

    A row that was measured on another file than the one that was chosen in the end is left out.
    """
    chosen = {row["point"]: row["stored_bytes"] for row in shipped_rows("points")}
    rows = {
        row["point"]: {
            "Huffman": byte_size(row["huffman_bytes"]), "entropy": byte_size(row["order_0_bytes"]),
            "contexts": byte_size(row["adaptive_bytes"]), "file": byte_size(row["arithmetic_file"]),
            "Huffman's loss": f"{row['huffman_bytes'] / row['order_0_bytes'] - 1:+.0%}".replace("%", " %"),
        }
        for row in shipped_rows("coders")
        if row["arithmetic_file"] == chosen[row["point"]]
    }  # fmt: skip
    return _frame(rows)


def _retained(row: Mapping[str, Any]) -> str:
    low, high = 100 * row["retained_low"], 100 * row["retained_high"]
    return f"{percent(row['retained'])} ({low:.1f}–{high:.1f})"


def _frame(rows: Mapping[str, Mapping[str, str]]) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(list(rows.values()), index=list(rows))
