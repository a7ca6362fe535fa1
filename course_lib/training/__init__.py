"""Training, evaluation and losses, for every technique."""

from course_lib.training.checkpoint import History
from course_lib.training.evaluation import Evaluation, evaluate, judge, predict_logits
from course_lib.training.fitting import Loss, StepHook, TrainingOptions, cross_entropy, fit, seed_everything
from course_lib.training.language_modeling import complete, next_token_loss, perplexity

__all__ = [
    "Evaluation", "History", "Loss", "StepHook", "TrainingOptions", "complete", "cross_entropy", "evaluate", "fit",
    "judge", "next_token_loss", "perplexity", "predict_logits", "seed_everything",
]  # fmt: skip
