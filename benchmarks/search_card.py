"""The card of the shipped supernet, with the figures of the results file; a part that was not measured has none."""

from __future__ import annotations

from typing import Any

import common

from course_lib import search


def write(results: dict[str, Any]) -> None:
    """Write the card."""
    largest, smallest = results["supernet"]["rows"]
    sections = [section(results[name]["rows"]) for name, section in SECTIONS.items() if name in results]
    common.write_card(
        "resnet18_supernet", largest=largest, smallest=smallest, subnets=search.RESNET18_SPACE.size,
        sections="\n\n".join(sections),
    )  # fmt: skip


def gain(row: common.Row, digits: int) -> str:
    """Points gained, with their interval."""
    return "{points:+.{d}f} ({points_low:+.{d}f} to {points_high:+.{d}f})".format(**row, d=digits)


def memory(rows: list[common.Row]) -> str:
    """How far the formula of peak activation memory is off."""
    worst = max(abs(row["error"]) for row in rows)
    return f"Peak activation memory by formula is off by at most {worst:.1%} on {len(rows)} subnets."


def latency(rows: list[common.Row]) -> str:
    """How far the latency table is off."""
    errors, sums = (sorted(abs(row[key]) for row in rows) for key in ("error", "sum_error"))
    within = sum(error <= 0.1 for error in errors)
    return (
        f"The latency table is off by {errors[len(errors) // 2]:.1%} in the median and {errors[-1]:.1%} at most of\n"
        f"{len(rows)} nets that its fit has not seen; {within} of them lie within 10 %. The plain sum of the parts is\n"
        f"off by {sums[len(sums) // 2]:.1%} in the median."
    )


def predictor(rows: list[common.Row]) -> str:
    """Rank correlation of the predictor and of MACs alone."""
    best, macs = max(rows, key=lambda row: row["measured"]), min(rows, key=lambda row: row["measured"])
    return (
        f"The predictor of {best['measured']} measured subnets reaches Kendall's τ of {best['tau']:.2f}\n"
        f"({best['tau_low']:.2f} to {best['tau_high']:.2f}) on {best['held_out']} held-out ones; MACs alone "
        f"{macs['tau']:.2f} ({macs['tau_low']:.2f} to {macs['tau_high']:.2f})."
    )


def evolution(rows: list[common.Row]) -> str:
    """Evolution against random search."""
    lines = [
        (row["setting"], f"{row['feasible']:.2%}", f"{row['wins']} of {row['seeds']}", str(row["losses"]), gain(row, 3))
        for row in rows
    ]
    return (
        "Evolution against random search, at the same number of evaluations (accuracy as predicted, in points, with\n"
        "the 95 % interval of the mean):\n\n"
        "| limits and evaluations | random subnets within them | wins of evolution | losses | points gained |\n"
        f"|---|---|---|---|---|\n{common.table_lines(lines)}"
    )


def uniform(rows: list[common.Row]) -> str:
    """Searched subnets against uniformly scaled widths."""
    lines = [
        (
            f"{row['uniform_ms']:.3f} ms", row["weights"], f"{row['uniform_accuracy']:.2%}",
            f"{row['searched_accuracy']:.2%}", gain(row, 2),
        )
        for row in rows
    ]  # fmt: skip
    return (
        "Searched subnets against uniformly scaled widths at equal measured latency (test split, read once for each\n"
        "net; points with the 95 % interval of the paired bootstrap):\n\n"
        "| latency | weights | uniform | searched | points gained |\n"
        f"|---|---|---|---|---|\n{common.table_lines(lines)}"
    )


def inherited(rows: list[common.Row]) -> str:
    """Inherited weights, fine-tuned, and from scratch."""
    lines = [
        (
            f"{row['macs']:,}", f"{row['inherited']:.2%}", f"{row['fine_tuned']:.2%}", f"{row['scratch']:.2%}",
            gain(row, 2),
        )
        for row in rows
    ]  # fmt: skip
    return (
        "Inherited weights, fine-tuned for one pass, and the same net from scratch on the same images for as many\n"
        "passes as supernet and fine-tuning had together (those of the `resnet18` from which the supernet started are\n"
        "not counted; test split):\n\n"
        "| MACs | inherited | fine-tuned | from scratch | fine-tuned over scratch, points |\n"
        f"|---|---|---|---|---|\n{common.table_lines(lines)}"
    )


def proxies(rows: list[common.Row]) -> str:
    """Rank correlation of zero-cost proxies."""
    found = ", ".join(
        f"{row['proxy']} {row['tau']:.2f} ({row['tau_low']:.2f} to {row['tau_high']:.2f})" for row in rows
    )
    return f"Kendall's τ of zero-cost proxies with the accuracy of {rows[0]['subnets']} subnets: {found}."


SECTIONS = {
    "memory": memory, "latency": latency, "predictor": predictor, "proxies": proxies, "evolution": evolution,
    "uniform": uniform, "inherited": inherited,
}  # fmt: skip
