"""Known mistakes of exercise 09: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_LOG = "F.log_softmax(student_logits / temperature, dim=1)"
_KL = 'F.kl_div(log_student, targets, reduction="batchmean")'
_MEAN = "sum(losses) / len(losses)"
_STEP = "        optimizer.step()\n"
_CLEAR = "        optimizer.zero_grad()\n"

MISTAKES = {
    "09.1": Mistakes(
        "soft_targets",
        {
            "the temperature divides the logits, not the probabilities": [
                ("softmax(logits / temperature, dim=1)", "softmax(logits, dim=1) / temperature")
            ],
            "probabilities are asked, not their logarithms": [("torch.softmax", "torch.log_softmax")],
        },
    ),
    "09.2": Mistakes(
        "distillation_loss",
        {
            "the labels are compared without temperature": [
                ("cross_entropy(student_logits,", "cross_entropy(student_logits / temperature,")
            ],
            "the KL divergence is the cross entropy minus the entropy of the targets": [
                (_KL, "F.cross_entropy(student_logits / temperature, targets)")
            ],
            "kl_div takes the logarithm of the student's probabilities: use log_softmax": [
                (_LOG, "soft_targets(student_logits, temperature)")
            ],
            "a small probability becomes 0, and its logarithm or p / q is not finite: use log_softmax": [
                (_LOG, "soft_targets(student_logits, temperature).log()")
            ],
        },
    ),
    "09.3": Mistakes(
        "limit_gradient",
        {
            "subtract the mean of each row, over the classes, not that of a column": [("dim=1", "dim=0")],
            "the limit is asked: no temperature is large enough to use here": """
def limit_gradient(student_logits, teacher_logits):
    q, p = torch.softmax(student_logits / 4.0, dim=1), torch.softmax(teacher_logits / 4.0, dim=1)
    return 4.0 * (q - p) / len(q)
""",
            "the limit for high temperatures is asked, not the gradient at temperature 1": """
def limit_gradient(student_logits, teacher_logits):
    return (torch.softmax(student_logits, dim=1) - torch.softmax(teacher_logits, dim=1)) / len(student_logits)
""",
        },
    ),
    "09.4": Mistakes(
        "FeatureLoss",
        {
            "padding counts in the mean: multiply by the mask and divide by its sum": [
                ("(distance * mask).sum() / mask.sum()", "distance.mean()")
            ],
            "divide by the number of real tokens, not by that of all positions": [(".sum() / mask.sum()", ".mean()")],
            "the mean over the width is asked, not the sum": [(".mean(dim=-1)", ".sum(dim=-1)")],
            "the student is projected, not the teacher": [
                ("nn.Linear(student_width, teacher_width)", "nn.Linear(teacher_width, student_width)"),
                ("self.projection(student) - teacher.detach()", "student - self.projection(teacher.detach())"),
            ],
            "the projection has a bias": [
                ("Linear(student_width, teacher_width)", "Linear(student_width, teacher_width, bias=False)")
            ],
            "a projection that is made in forward is random in each step: make it in __init__": [
                (
                    "        self.projection = nn.Linear(student_width, teacher_width)",
                    "        self.widths = student_width, teacher_width",
                ),
                ("self.projection(student)", "nn.Linear(*self.widths)(student)"),
            ],
            "the student learns through the projection: do not detach it": [
                ("self.projection(student)", "self.projection(student.detach())")
            ],
        },
    ),
    "09.5": Mistakes(
        "train_epoch",
        {
            "clear the gradients before each backward: they add up": [(_CLEAR, "")],
            "the weights have not moved: is there an optimizer.step(), with gradients cleared before backward?": [
                (_CLEAR, ""),
                (_STEP, _CLEAR + _STEP),
            ],
            "the student may come with gradients: clear them before the first backward, not after the step": [
                (_CLEAR, ""),
                (_STEP, _STEP + _CLEAR),
            ],
            "the targets come from the teacher": [("targets = teacher(inputs)", "targets = student(inputs)")],
            "one epoch uses each batch once": [("in batches:", "in batches + batches:")],
            "return the mean over the batches, not the last loss": [(_MEAN, "losses[-1]")],
            "return the mean over the batches, not the sum": [(_MEAN, "sum(losses)")],
            "each batch counts once in the mean, however many examples it has": [
                (
                    _MEAN,
                    "sum(loss * len(labels) for loss, (_, labels) in zip(losses, batches)) / "
                    "sum(len(labels) for _, labels in batches)",
                )
            ],
        },
    ),
}
