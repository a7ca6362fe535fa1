"""Answers to exercise 09 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers, changed, solution

_SOFT = solution("09.1")
SOFT = Answers(
    name="soft_targets",
    wrong={
        "multiplies by the temperature": changed(_SOFT, ("logits / temperature", "logits * temperature")),
        "columns instead of rows": changed(_SOFT, ("dim=1", "dim=0")),
        "no temperature": changed(_SOFT, ("logits / temperature", "logits")),
        "divides the probabilities": changed(
            _SOFT, ("softmax(logits / temperature, dim=1)", "softmax(logits, dim=1) / temperature")
        ),
        "overflows": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    powers = torch.exp(logits / temperature)
    return powers / powers.sum(dim=1, keepdim=True)
""",
        "takes any temperature": """
def soft_targets(logits, temperature):
    return torch.softmax(logits / temperature, dim=1)
""",
        "only zero is refused": changed(_SOFT, ("temperature <= 0", "temperature == 0")),
        "changes its input": changed(
            _SOFT,
            (
                "return torch.softmax(logits / temperature, dim=1)",
                "return torch.softmax(logits.div_(temperature), dim=1)",
            ),
        ),
        "logarithms": changed(_SOFT, ("torch.softmax", "torch.log_softmax")),
    },
    advice={
        "multiplies by the temperature": "you multiply",
        "columns instead of rows": "columns add up to 1",
        "no temperature": "no effect yet",
        "divides the probabilities": "not the probabilities",
        "overflows": "overflows",
        "takes any temperature": "raise ValueError",
        "only zero is refused": "raise ValueError",
        "changes its input": "changed its input",
        "logarithms": "not their logarithms",
    },
    right={
        "a quotient of exponentials, safely": """
def soft_targets(logits, temperature):
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    scaled = logits / temperature
    powers = torch.exp(scaled - scaled.amax(dim=1, keepdim=True))
    return powers / powers.sum(dim=1, keepdim=True)
""",
        "through logarithms": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature must be positive")
    scaled = logits / temperature
    return torch.exp(scaled - torch.logsumexp(scaled, dim=-1, keepdim=True))
""",
    },
)

_LOSS = solution("09.2")
LOSS = Answers(
    name="distillation_loss",
    wrong={
        "reduction mean": changed(_LOSS, ('"batchmean"', '"mean"')),
        "no T squared": changed(_LOSS, (" * temperature**2\n", "\n")),
        "alpha on the labels": changed(_LOSS, ("alpha * soft + (1 - alpha) *", "(1 - alpha) * soft + alpha *")),
        "divergence the other way round": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    q = soft_targets(student_logits, temperature)
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(log_p, q, reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "task at the temperature": changed(
            _LOSS, ("cross_entropy(student_logits,", "cross_entropy(student_logits / temperature,")
        ),
        "trains the teacher": changed(_LOSS, (".detach()", "")),
        "cross entropy with soft targets instead of the divergence": changed(
            _LOSS,
            (
                'F.kl_div(log_student, targets, reduction="batchmean")',
                "F.cross_entropy(student_logits / temperature, targets)",
            ),
        ),
        "probabilities where logarithms belong": changed(
            _LOSS, ("F.log_softmax(student_logits / temperature, dim=1)", "soft_targets(student_logits, temperature)")
        ),
        "the logarithm of a softmax": changed(
            _LOSS,
            ("F.log_softmax(student_logits / temperature, dim=1)", "soft_targets(student_logits, temperature).log()"),
        ),
        "a plain number": changed(
            _LOSS,
            (
                "return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)",
                "return (alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)).item()",
            ),
        ),
        "a quotient and its logarithm": changed(
            _LOSS,
            (
                'F.kl_div(log_student, targets, reduction="batchmean")',
                "(targets * (targets / soft_targets(student_logits, temperature)).log()).sum(dim=1).mean()",
            ),
        ),
    },
    advice={
        "reduction mean": "not by the classes",
        "no T squared": "lacks T²",
        "alpha on the labels": "belongs to the teacher",
        "divergence the other way round": "swapped in the divergence",
        "task at the temperature": "without temperature",
        "trains the teacher": "teacher_logits.detach()",
        "cross entropy with soft targets instead of the divergence": "minus the entropy",
        "probabilities where logarithms belong": "use log_softmax",
        "the logarithm of a softmax": "its logarithm or p / q",
        "a plain number": "Return a scalar tensor",
        "a quotient and its logarithm": "its logarithm or p / q",
    },
    right={
        "summed by hand": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    log_p = torch.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = torch.log_softmax(student_logits / temperature, dim=1)
    soft = temperature**2 * (log_p.exp() * (log_p - log_q)).sum() / len(labels)
    rows = torch.arange(len(labels))
    task = -torch.log_softmax(student_logits, dim=1)[rows, labels].mean()
    return alpha * soft + (1 - alpha) * task
""",
        "log targets": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    with torch.no_grad():
        log_p = F.log_softmax(teacher_logits / temperature, dim=-1)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    soft = F.kl_div(log_q, log_p, log_target=True, reduction="sum") / student_logits.shape[0]
    return torch.lerp(F.cross_entropy(student_logits, labels), soft * temperature**2, alpha)
""",
    },
)

_LIMIT = solution("09.3")
LIMIT = Answers(
    name="limit_gradient",
    wrong={
        "not centred": changed(_LIMIT, ("(difference - difference.mean(dim=1, keepdim=True))", "difference")),
        "no division by the classes": changed(_LIMIT, ("difference.numel()", "len(difference)")),
        "no division by the examples": changed(_LIMIT, ("difference.numel()", "difference.shape[1]")),
        "the sign": changed(_LIMIT, ("student_logits - teacher_logits", "teacher_logits - student_logits")),
        "centred over the examples": changed(_LIMIT, ("dim=1", "dim=0")),
        "a finite temperature": """
def limit_gradient(student_logits, teacher_logits):
    T = 4.0
    q, p = torch.softmax(student_logits / T, dim=1), torch.softmax(teacher_logits / T, dim=1)
    return T * (q - p) / len(q)
""",
        "the gradient at temperature 1": """
def limit_gradient(student_logits, teacher_logits):
    return (torch.softmax(student_logits, dim=1) - torch.softmax(teacher_logits, dim=1)) / len(student_logits)
""",
    },
    advice={
        "not centred": "Subtract each row's mean",
        "no division by the classes": "number of classes as well",
        "no division by the examples": "number of examples as well",
        "the sign": "The sign is wrong",
        "centred over the examples": "not that of a column",
        "a finite temperature": "no temperature is large enough",
        "the gradient at temperature 1": "not the gradient at temperature 1",
    },
    right={
        "centred one by one": """
def limit_gradient(student_logits, teacher_logits):
    rows = []
    for z, v in zip(student_logits, teacher_logits):
        rows.append(((z - z.mean()) - (v - v.mean())) / len(z) / len(student_logits))
    return torch.stack(rows)
""",
        "a very large temperature, in double precision": """
def limit_gradient(student_logits, teacher_logits):
    z, T = student_logits.double().requires_grad_(), 1e7
    p = torch.softmax(teacher_logits.double() / T, dim=1)
    (F.kl_div(torch.log_softmax(z / T, dim=1), p, reduction="batchmean") * T**2).backward()
    return z.grad.float()
""",
    },
)

_FEATURES = solution("09.4")
FEATURES = Answers(
    name="FeatureLoss",
    wrong={
        "a new projection at every step": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.widths = student_width, teacher_width

    def forward(self, student, teacher, mask):
        projection = nn.Linear(*self.widths)
        distance = (projection(student) - teacher.detach()).square().mean(dim=-1)
        return (distance * mask).sum() / mask.sum()
""",
        "padding counts": changed(_FEATURES, ("(distance * mask).sum() / mask.sum()", "distance.mean()")),
        "padding counts in the divisor": changed(_FEATURES, (".sum() / mask.sum()", ".mean()")),
        "sum over the width": changed(_FEATURES, (".mean(dim=-1)", ".sum(dim=-1)")),
        "trains the teacher": changed(_FEATURES, (".detach()", "")),
        "projects the teacher": changed(
            _FEATURES,
            ("nn.Linear(student_width, teacher_width)", "nn.Linear(teacher_width, student_width)"),
            ("self.projection(student) - teacher.detach()", "student - self.projection(teacher.detach())"),
        ),
        "no bias": changed(_FEATURES, ("teacher_width)\n        ###", "teacher_width, bias=False)\n        ###")),
        "the student gets no gradient": changed(
            _FEATURES, ("self.projection(student)", "self.projection(student.detach())")
        ),
    },
    advice={
        "a new projection at every step": "random in each step",
        "padding counts": "Padding counts in the mean",
        "padding counts in the divisor": "not by that of all positions",
        "sum over the width": "not the sum",
        "trains the teacher": "teacher.detach()",
        "projects the teacher": "not the teacher",
        "no bias": "has a bias",
        "the student gets no gradient": "do not detach it",
    },
    right={
        "only the real tokens are picked": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.widen = nn.Linear(student_width, teacher_width)

    def forward(self, student, teacher, mask):
        real = mask.bool()
        return F.mse_loss(self.widen(student[real]), teacher[real].detach())
""",
        "weight and bias as parameters": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(teacher_width, student_width) / student_width**0.5)
        self.bias = nn.Parameter(torch.zeros(teacher_width))

    def forward(self, student, teacher, mask):
        error = student @ self.weight.T + self.bias - teacher.detach()
        weights = mask.unsqueeze(-1).to(error.dtype)
        return (error**2 * weights).sum() / (weights.sum() * error.shape[-1])
""",
    },
)

_EPOCH = solution("09.5")
_QUIET = "        with torch.no_grad():\n            targets = teacher(inputs)\n"
_CLEARED = "        optimizer.zero_grad()\n"
EPOCH = Answers(
    name="train_epoch",
    wrong={
        "teacher in training mode": changed(_EPOCH, ("    teacher.eval()\n", "")),
        "student in eval mode": changed(_EPOCH, ("    student.train()\n", "")),
        "gradients pile up": changed(_EPOCH, (_CLEARED, "")),
        "gradients are cleared before the step": changed(
            _EPOCH, (_CLEARED, ""), ("        optimizer.step()", _CLEARED + "        optimizer.step()")
        ),
        "never steps": changed(_EPOCH, ("        optimizer.step()\n", "")),
        "returns the last loss": changed(_EPOCH, ("sum(losses) / len(losses)", "losses[-1]")),
        "returns the sum": changed(_EPOCH, (" / len(losses)", "")),
        "student and teacher swapped": changed(_EPOCH, ("targets = teacher(inputs)", "targets = student(inputs)")),
        "goes over the data twice": changed(_EPOCH, ("in batches:", "in batches + batches:")),
        "empty batches give zero": changed(_EPOCH, ("raise ValueError(", "return 0.0  # ")),
        "the mean over examples": changed(
            _EPOCH,
            (
                "sum(losses) / len(losses)",
                "sum(one * len(pair[1]) for one, pair in zip(losses, batches)) / sum(len(pair[1]) for pair in batches)",
            ),
        ),
        "gradients are cleared after the step only": changed(
            _EPOCH, (_CLEARED, ""), ("        optimizer.step()\n", "        optimizer.step()\n" + _CLEARED)
        ),
    },
    advice={
        "teacher in training mode": "teacher.eval() first",
        "student in eval mode": "student.train()",
        "gradients pile up": "they add up",
        "gradients are cleared before the step": "cleared before backward",
        "never steps": "is there an optimizer.step()",
        "returns the last loss": "not the last loss",
        "returns the sum": "not the sum",
        "student and teacher swapped": "come from the teacher",
        "goes over the data twice": "each batch once",
        "empty batches give zero": "raise ValueError",
        "the mean over examples": "however many examples",
        "gradients are cleared after the step only": "not after the step",
    },
    right={
        "detached targets, and modes that train() sets": changed(
            _EPOCH,
            (_QUIET, "        targets = teacher(inputs).detach()\n"),
            ("teacher.eval()", "teacher.train(False)"),
        ),
        "inference mode for the teacher, a frozen copy": """
import copy
def train_epoch(teacher, student, batches, optimizer, alpha, temperature):
    if len(batches) == 0:
        raise ValueError("there are no batches")
    answering = copy.deepcopy(teacher).eval().requires_grad_(False)
    student.train()
    total = 0.0
    for inputs, labels in batches:
        loss = distillation_loss(student(inputs), answering(inputs), labels, alpha, temperature)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(batches)
""",
    },
)

ANSWERS = {"09.1": SOFT, "09.2": LOSS, "09.3": LIMIT, "09.4": FEATURES, "09.5": EPOCH}
