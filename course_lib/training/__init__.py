"""How models are trained and evaluated: one loop for every lesson."""

from course_lib.training.evaluation import Evaluation, evaluate, judge, predict_logits
from course_lib.training.fitting import Loss, StepHook, cross_entropy, fit, seed_everything
from course_lib.training.record import History

__all__ = [
    "Evaluation", "History", "Loss", "StepHook", "cross_entropy", "evaluate", "fit", "judge", "predict_logits",
    "seed_everything",
]  # fmt: skip
