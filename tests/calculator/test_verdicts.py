"""Verdicts on claims, by estimates and by measurements."""

import pytest

from course_lib.calculator import Figure, Outcome, estimate, judged, verdicts


def test_verdicts_of_the_headline():
    kinds = {name: verdict.kind for name, verdict in verdicts(estimate("pruning")).items()}
    assert kinds == {
        "ratio": "does not hold", "memory": "does not hold", "speedup": "does not hold", "quality": "not measured"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "claimed", "kind"),
    [(10.2, 10, "holds"), (9.5, 10, "holds"), (9.4, 10, "does not hold"), (0.7, 0.7, "holds"), (0, 1, "does not hold")],
)
def test_a_figure_is_judged_by_what_was_claimed(found, claimed, kind):
    assert judged(found, claimed) == kind


def test_a_claim_that_needs_another_baseline_holds_under_conditions():
    said = verdicts(estimate("quantization", 7e9, 8, "h100", "fp16"))
    assert said["ratio"].kind == "under conditions" and "fp32" in said["ratio"].reason
    assert verdicts(estimate("quantization", 7e9, 8))["ratio"].kind == "holds"


def test_what_was_measured_outweighs_what_was_estimated():
    result = estimate("pruning", 11e6, 0.9)

    def figure(value: float, text: str) -> Figure:
        return Figure(value, "", text, "measured")

    one, name = figure(1.0, "1x: no faster"), figure(0.0, "ResNet18")
    seen = Outcome(name, name, figure(7.6, "7.6x smaller"), figure(0.99, "99 %"), one, figure(6e6, "6 MB"), name)
    assert verdicts(result, seen)["quality"].kind == "holds"
    assert (
        str(verdicts(result, seen)["speedup"])
        == "does not hold: 1x: no faster, measured; zeros still cost a multiplication"
    )
