"""Answers to exercise 09 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers

SOFT = Answers(
    name="soft_targets",
    wrong={
        "multiplies by the temperature": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    return torch.softmax(logits * temperature, dim=1)
""",
        "columns instead of rows": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    return torch.softmax(logits / temperature, dim=0)
""",
        "no temperature": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    return torch.softmax(logits, dim=1)
""",
        "divides the probabilities": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    return torch.softmax(logits, dim=1) / temperature
""",
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
        "only zero is refused": """
def soft_targets(logits, temperature):
    if temperature == 0:
        raise ValueError("temperature")
    return torch.softmax(logits / temperature, dim=1)
""",
        "changes its input": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    logits /= temperature
    return torch.softmax(logits * 1.1, dim=1)
""",
        "logarithms": """
def soft_targets(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    return torch.log_softmax(logits / temperature, dim=1)
""",
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

LOSS = Answers(
    name="distillation_loss",
    wrong={
        "reduction mean": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.kl_div(F.log_softmax(student_logits / temperature, dim=1), p, reduction="mean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "no T squared": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.kl_div(F.log_softmax(student_logits / temperature, dim=1), p, reduction="batchmean")
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "alpha on the labels": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.kl_div(F.log_softmax(student_logits / temperature, dim=1), p, reduction="batchmean") * temperature**2
    return (1 - alpha) * soft + alpha * F.cross_entropy(student_logits, labels)
""",
        "divergence the other way round": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    q = soft_targets(student_logits, temperature)
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(log_p, q, reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "task at the temperature": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, p, reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits / temperature, labels)
""",
        "trains the teacher": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits, temperature)
    soft = F.kl_div(F.log_softmax(student_logits / temperature, dim=1), p, reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "cross entropy with soft targets instead of the divergence": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.cross_entropy(student_logits / temperature, p) * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "probabilities where logarithms belong": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.kl_div(soft_targets(student_logits, temperature), p, reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
""",
        "a plain number": """
def distillation_loss(student_logits, teacher_logits, labels, alpha, temperature):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.kl_div(F.log_softmax(student_logits / temperature, dim=1), p, reduction="batchmean") * temperature**2
    return (alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)).item()
""",
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

LIMIT = Answers(
    name="limit_gradient",
    wrong={
        "not centred": """
def limit_gradient(student_logits, teacher_logits):
    return (student_logits - teacher_logits) / student_logits.numel()
""",
        "no division by the classes": """
def limit_gradient(student_logits, teacher_logits):
    difference = student_logits - teacher_logits
    return (difference - difference.mean(dim=1, keepdim=True)) / len(student_logits)
""",
        "no division by the examples": """
def limit_gradient(student_logits, teacher_logits):
    difference = student_logits - teacher_logits
    return (difference - difference.mean(dim=1, keepdim=True)) / student_logits.shape[1]
""",
        "the sign": """
def limit_gradient(student_logits, teacher_logits):
    difference = teacher_logits - student_logits
    return (difference - difference.mean(dim=1, keepdim=True)) / student_logits.numel()
""",
        "centred over the examples": """
def limit_gradient(student_logits, teacher_logits):
    difference = student_logits - teacher_logits
    return (difference - difference.mean(dim=0, keepdim=True)) / student_logits.numel()
""",
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
        "padding counts": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width)

    def forward(self, student, teacher, mask):
        return (self.projection(student) - teacher.detach()).square().mean()
""",
        "padding counts in the divisor": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width)

    def forward(self, student, teacher, mask):
        distance = (self.projection(student) - teacher.detach()).square().mean(dim=-1)
        return (distance * mask).mean()
""",
        "sum over the width": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width)

    def forward(self, student, teacher, mask):
        distance = (self.projection(student) - teacher.detach()).square().sum(dim=-1)
        return (distance * mask).sum() / mask.sum()
""",
        "trains the teacher": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width)

    def forward(self, student, teacher, mask):
        distance = (self.projection(student) - teacher).square().mean(dim=-1)
        return (distance * mask).sum() / mask.sum()
""",
        "projects the teacher": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(teacher_width, student_width)

    def forward(self, student, teacher, mask):
        distance = (student - self.projection(teacher.detach())).square().mean(dim=-1)
        return (distance * mask).sum() / mask.sum()
""",
        "no bias": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width, bias=False)

    def forward(self, student, teacher, mask):
        distance = (self.projection(student) - teacher.detach()).square().mean(dim=-1)
        return (distance * mask).sum() / mask.sum()
""",
        "the student gets no gradient": """
class FeatureLoss(nn.Module):
    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width)

    def forward(self, student, teacher, mask):
        distance = (self.projection(student.detach()) - teacher.detach()).square().mean(dim=-1)
        return (distance * mask).sum() / mask.sum()
""",
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

LOOP_START = """
def train_epoch(teacher, student, batches, optimizer, alpha, temperature):
    if not batches:
        raise ValueError("no batches")
"""


def loop(modes: str, targets: str, step: str, result: str = "sum(losses) / len(losses)") -> str:
    """A training loop whose parts can be wrong one at a time."""
    return f"""{LOOP_START}    {modes}
    losses = []
    for inputs, labels in batches:
{targets}
        loss = distillation_loss(student(inputs), targets, labels, alpha, temperature)
{step}
        losses.append(loss.item())
    return {result}
"""


MODES = "teacher.eval(); student.train()"
QUIET = "        with torch.no_grad():\n            targets = teacher(inputs)"
STEP = "        optimizer.zero_grad()\n        loss.backward()\n        optimizer.step()"
EPOCH = Answers(
    name="train_epoch",
    wrong={
        "teacher in training mode": loop("student.train()", QUIET, STEP),
        "student in eval mode": loop("teacher.eval()", QUIET, STEP),
        "gradients pile up": loop(MODES, QUIET, "        loss.backward()\n        optimizer.step()"),
        "gradients are cleared before the step": loop(
            MODES, QUIET, "        loss.backward()\n        optimizer.zero_grad()\n        optimizer.step()"
        ),
        "never steps": loop(MODES, QUIET, "        optimizer.zero_grad()\n        loss.backward()"),
        "returns the last loss": loop(MODES, QUIET, STEP, "losses[-1]"),
        "returns the sum": loop(MODES, QUIET, STEP, "sum(losses)"),
        "student and teacher swapped": loop(
            MODES, "        with torch.no_grad():\n            targets = student(inputs)", STEP
        ),
        "goes over the data twice": loop(MODES, QUIET, STEP).replace("in batches:", "in batches + batches:"),
        "empty batches give zero": loop(MODES, QUIET, STEP).replace('raise ValueError("no batches")', "return 0.0"),
    },
    right={
        "detached targets and a running mean": loop(
            "teacher.train(False); student.train()", "        targets = teacher(inputs).detach()", STEP
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
