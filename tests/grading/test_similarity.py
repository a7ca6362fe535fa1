"""Copies with other names are reported as similar; answers that were written independently are not."""

from course_lib.grading import similarity
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission

ANSWER = """
def f(weights, share):
    total = sum(len(row) for row in weights)
    order = sorted(range(total), key=lambda place: abs(weights[place]))
    return [place not in order[: round(share * total)] for place in range(total)]
"""


def test_renamed_copies_are_found_and_different_answers_are_not():
    renamed = ANSWER.replace("weights", "w").replace("order", "ranking").replace("place", "i").replace("f(", "g(")
    other = """
def f(weights, share):
    limit = torch.quantile(weights.abs(), share)
    mask = weights.abs() > limit
    while mask.sum() < 3:
        limit = limit * 0.9
        mask = weights.abs() > limit
    return mask
"""
    asked = (GradedQuestion("03.1", 5.0, 5.0, Status.PASSED),)
    results = [
        GradedSubmission(name, "bwrap", "k", questions=asked, answers={"03.1": source})
        for name, source in (("anna", ANSWER), ("ben", renamed), ("cleo", other), ("dora", "x = 1"))
    ]
    (pair,) = similarity.report(results)
    assert (pair.first, pair.second, pair.similarity) == ("anna", "ben", 1.0)
