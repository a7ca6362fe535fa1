"""Questions that users of a compressed model ask, answered by measurements on this model.

review(model, splits)                      # the ten best practices, and pipelines to begin with
why_not_faster(before, after, inputs)      # the main cause, with the time of each node
locate(original, compressed, data)         # which layers cause the error, and which to leave wide
"""

from course_lib.advisor.finding import Finding
from course_lib.advisor.locating import LayerError, Localization, locate
from course_lib.advisor.proposals import ProposedPipeline
from course_lib.advisor.reviewing import RULES, Review, review
from course_lib.advisor.speed import SpeedDiagnosis, why_not_faster
from course_lib.advisor.speed_causes import CAUSES
from course_lib.advisor.widening import Proposal

__all__ = [
    "CAUSES", "RULES", "Finding", "LayerError", "Localization", "Proposal", "ProposedPipeline", "Review",
    "SpeedDiagnosis", "locate", "review", "why_not_faster",
]  # fmt: skip
