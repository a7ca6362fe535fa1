"""Checks and probes of exercise 09, distillation: soft targets, the loss, its limit, features, a repaired loop."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.distillation import distillation_loss
from course_lib.learning.answer import Answer
from course_lib.learning.exercises.reference_09 import feature_loss, limit_gradient, soft_by_hand, train_epoch
from course_lib.learning.exercises.teacher_and_student import Scene
from course_lib.learning.expect import cases, expect, expect_close, expect_equal, expect_raises, expect_unchanged
from course_lib.learning.questions import probe, question


@question(
    "09.1",
    points=3,
    minutes=8,
    difficulty=1,
    title="Soft targets",
    hints=(
        "The temperature divides the logits, before anything is exponentiated.",
        "Each row is one example, so the probabilities of a row add up to 1, not those of a column.",
        "`torch.softmax` survives logits in the thousands. Your own quotient of exponentials does too, if the "
        "largest logit of each row is subtracted first.",
    ),
)
def check_soft_targets(answer: Answer) -> None:
    """Many temperatures, one class, large logits, and a temperature that makes no sense."""
    for logits, temperature in cases(shapes=[(4, 10), (1, 3), (7, 2), (2, 1), (0, 5)], temperatures=[0.5, 1.0, 4, 100]):
        _expect_soft(answer(logits, temperature), logits, temperature)
    large = torch.tensor([[1000.0, 998.0, -1000.0], [-500.0, -500.0, -500.0]])
    for temperature in (1.0, 3.0):
        _expect_soft(answer(large, temperature), large, temperature)
    expect_unchanged(answer, torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), 2.0)
    for temperature in (0, -1.0):
        advice = "a temperature of 0 or below has no meaning: raise ValueError"
        expect_raises(ValueError, answer, torch.zeros(2, 3), temperature, hint=advice)


@probe("09.1")
def probe_soft_targets(answer: Answer, generator: torch.Generator) -> Any:
    """Probabilities of random logits, small and large, the logits afterwards, and what happens at temperature 0."""
    values: list[Any] = []
    for shape, scale in [((3, 5), 2.0), ((2, 8), 600.0), ((4, 2), 0.3)]:
        logits = scale * torch.randn(shape, generator=generator)
        temperature = 0.5 + 6 * torch.rand((), generator=generator).item()
        values += [answer.in_place(logits, temperature), answer.in_place(logits, 1), logits]
    return [*values, *(answer.refuses(torch.zeros(2, 3), temperature) for temperature in (0, -2.0))]


@question(
    "09.2",
    points=5,
    minutes=15,
    difficulty=3,
    title="The combined loss",
    hints=(
        "Two terms. The soft one compares softened student with softened teacher; the task term knows no temperature.",
        "Kullback-Leibler per example: sum over the classes of p · (log p - log q), with p the teacher's. Then the "
        "mean over examples, and T² in front. `log_softmax` keeps the logarithm finite.",
        "With `F.kl_div` the student's *log*-probabilities come first, and reduction='mean' divides by the number of "
        "classes as well, so it is not the one you want.",
    ),
)
def check_distillation_loss(answer: Answer) -> None:
    """Values for many alphas and temperatures, and gradients that reach the student and not the teacher."""
    labels = torch.tensor([2, 0, 1, 3])
    for student, alpha, temperature in cases(shapes=[(4, 5)], alphas=[0.0, 0.7, 1.0], temperatures=[1.0, 2.0, 8]):
        teacher = 2 * torch.randn(4, 5, generator=torch.Generator().manual_seed(5))
        _expect_loss(answer, student, teacher, labels, alpha, temperature)
    sure = torch.tensor([[400.0, 0.0, -400.0]]), torch.tensor([[-300.0, 0.0, 300.0]])
    _expect_loss(answer, *sure, torch.tensor([0]), 0.5, 1.0)
    student = torch.randn(4, 5, generator=torch.Generator().manual_seed(7)).requires_grad_()
    teacher = torch.randn(4, 5, generator=torch.Generator().manual_seed(8)).requires_grad_()
    answer.in_place(student, teacher, labels, 0.5, 2.0).backward()
    advice = "keep the result a tensor, so that backward() can start from it"
    expect(student.grad is not None, "no gradient reaches the student's logits", hint=advice)
    advice = "the teacher is not trained: use teacher_logits.detach()"
    expect(teacher.grad is None, "a gradient reaches the teacher's logits", hint=advice)


@probe("09.2")
def probe_distillation_loss(answer: Answer, generator: torch.Generator) -> Any:
    """Losses of random logits, the last ones large, their gradients, and whether the teacher gets one."""
    values: list[Any] = []
    for rows, classes, scale in ((3, 4, 2.0), (6, 10, 2.0), (1, 2, 2.0), (4, 5, 2000.0)):
        student = (scale * torch.randn(rows, classes, generator=generator)).requires_grad_()
        teacher = (3 * torch.randn(rows, classes, generator=generator)).requires_grad_()
        labels = torch.randint(0, classes, (rows,), generator=generator)
        alpha, temperature = torch.rand(2, generator=generator).tolist()
        loss = answer.in_place(student, teacher, labels, alpha, 1 + 5 * temperature)
        loss.backward()
        values += [loss.item(), student.grad, teacher.grad is None]
    return values


@question(
    "09.3",
    points=4,
    minutes=20,
    difficulty=4,
    title="The gradient at T → ∞",
    hints=(
        "First any T: the gradient of T² · KL with respect to the student's logits is T · (q - p) / N, with q the "
        "student's and p the teacher's softened probabilities, and N the number of examples.",
        "For small x, exp(x) is nearly 1 + x. Put x = z / T into the softmax with C classes, and look at what is left "
        "of q when T is large.",
        "The mean of the logits of an example appears, because a softmax does not notice when all logits grow alike. "
        "The two T cancel. Check: the entries of each row add up to 0.",
    ),
)
def check_limit_gradient(answer: Answer) -> None:
    """Against the formula, and its row sums; a constant added to a row must not matter."""
    for student, classes in cases(shapes=[(4, 6), (1, 3), (5, 2), (3, 1)], classes=[0]):
        teacher = 3 * torch.randn(student.shape, generator=torch.Generator().manual_seed(classes + 3)) + 2
        _expect_limit(answer, student, teacher)
    shifted = torch.randn(3, 4, generator=torch.Generator().manual_seed(4)), torch.full((3, 4), 7.0)
    _expect_limit(answer, *shifted)


@probe("09.3")
def probe_limit_gradient(answer: Answer, generator: torch.Generator) -> Any:
    """Gradients for random logits."""
    shapes = ((2, 5), (6, 3), (4, 10))
    pairs = [[scale * torch.randn(shape, generator=generator) for scale in (1.5, 4.0)] for shape in shapes]
    return [answer(student, teacher + 1) for student, teacher in pairs]


@question(
    "09.4",
    points=4,
    minutes=15,
    difficulty=3,
    title="A feature loss with its projection",
    hints=(
        "What must survive from one training step to the next is made in `__init__`. `forward` only uses it.",
        "The mean over the last dimension gives one number per token, (B, L). Multiply with the mask, add up, and "
        "divide by how many tokens are real.",
        "`teacher.detach()` keeps gradients away from the teacher. The projection is one `nn.Linear` with its bias.",
    ),
)
def check_feature_loss(answer: Answer) -> None:
    """One trainable projection, padding that does not count, and gradients where they belong."""
    for widths in ((3, 5), (4, 4)):
        module = _feature_module(answer, widths)
        linear = _filled_like(module, widths)
        for mask in ([[1, 1, 1], [1, 1, 1]], [[1, 1, 0], [1, 0, 0]], [[1, 0, 1], [0, 0, 0]]):
            _expect_feature_loss(module, linear, widths, torch.tensor(mask))


@probe("09.4")
def probe_feature_loss(answer: Answer, generator: torch.Generator) -> Any:
    """Losses, gradients of the projection and of the student, and whether the teacher gets one."""
    values: list[Any] = []
    for widths in ((4, 6), (5, 2), (3, 3)):
        module = _feature_module(answer, widths)
        _filled_like(module, widths, int(torch.randint(0, 2**31, (), generator=generator)))
        student, teacher = (torch.randn(2, 4, width, generator=generator, requires_grad=True) for width in widths)
        mask = (torch.rand(2, 4, generator=generator) < 0.6).long()
        mask[:, 0] = 1
        first, second = (Answer(module).in_place(student, teacher, mask) for _ in range(2))
        first.backward()
        gradients = sorted((tuple(one.shape), one.grad) for one in module.parameters())
        values += [first.item(), second.item(), student.grad, teacher.grad is None, [grad for _, grad in gradients]]
    return values


@question(
    "09.5",
    points=4,
    minutes=20,
    difficulty=4,
    title="Repair the training loop",
    hints=(
        "Go through the loop line by line and ask of each: which network does it concern, in which mode is it, and "
        "whose gradients does it touch?",
        "Your `distillation_loss` of 09.2 is already right. What else can differ is the mode of both networks, where "
        "gradients are kept, when they are cleared, and what is returned.",
        "An empty list of batches leaves nothing to divide by: say so with ValueError before you train.",
    ),
)
def check_train_epoch(answer: Answer) -> None:
    """The student's weights afterwards, a teacher that is untouched, and the mean loss."""
    for seed, alpha, temperature in ((0, 0.7, 4.0), (1, 1.0, 2.0), (2, 0.0, 1.0)):
        _expect_epoch(answer, Scene.drawn(torch.Generator().manual_seed(seed)), alpha, temperature)
    scene = Scene.drawn(torch.Generator().manual_seed(3))
    advice = "there is nothing to learn from: raise ValueError"
    networks = scene.networks()
    expect_raises(ValueError, answer, *networks[:2], [], networks[2], 0.5, 2.0, hint=advice)


@probe("09.5")
def probe_train_epoch(answer: Answer, generator: torch.Generator) -> Any:
    """The mean loss, the student's state, and the teacher's, after an epoch over random batches."""
    values: list[Any] = []
    for _ in range(2):
        scene = Scene.drawn(generator)
        alpha, temperature = torch.rand(2, generator=generator).tolist()
        teacher, student, optimizer = scene.networks()
        loss = answer.in_place(teacher, student, scene.batches, optimizer, alpha, 1 + 4 * temperature)
        untouched = all(parameter.grad is None for parameter in teacher.parameters())
        values += [float(loss), untouched, student.training]
        values += [tensor for network in (student, teacher) for tensor in network.state_dict().values()]
    scene = Scene.drawn(generator)
    teacher, student, optimizer = scene.networks()
    return [*values, answer.refuses(teacher, student, [], optimizer, 0.5, 2.0)]


def _expect_soft(found: Any, logits: Tensor, temperature: float) -> None:
    expected = soft_by_hand(logits, temperature)
    advice = "softmax over the classes of logits / temperature"
    if isinstance(found, Tensor) and found.shape == logits.shape and found.numel():
        if not torch.isfinite(found).all():
            advice = "exp of a large logit overflows; subtract the largest logit of the row first, or use torch.softmax"
        elif torch.allclose(found, soft_by_hand(logits, 1.0), atol=1e-6):
            advice = "the temperature has no effect yet: it divides the logits"
        elif torch.allclose(found, soft_by_hand(logits, 1 / temperature), atol=1e-6):
            advice = "the temperature divides the logits; you multiply"
        elif torch.allclose(found.sum(dim=0), torch.ones(logits.shape[1]), atol=1e-4):
            advice = "your columns add up to 1; each row is an example, so its classes should"
    where = f"logits of shape {tuple(logits.shape)} at temperature {temperature:g}"
    expect_close("probabilities", found, expected, given=where, hint=advice)


def _expect_loss(
    answer: Answer, student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float
) -> None:
    total, soft, task = (one.item() for one in distillation_loss(student, teacher, labels, alpha, temperature))
    found = answer(student, teacher, labels, alpha, temperature)
    expect(isinstance(found, Tensor) and found.dim() == 0, "return one tensor without dimensions, ready for backward()")
    classes = student.shape[1]
    backwards = distillation_loss(teacher, student, labels, alpha, temperature)[1].item()
    mistakes = {
        "the soft part lacks T²": alpha * soft / temperature**2 + (1 - alpha) * task,
        "divide the soft part by the number of examples only, not by the classes too": (
            alpha * soft / classes + (1 - alpha) * task
        ),
        "alpha belongs to the teacher, 1 - alpha to the labels": alpha * task + (1 - alpha) * soft,
        "the sum over examples should be a mean": alpha * soft * len(labels) + (1 - alpha) * task,
        "teacher and student are swapped in the divergence": alpha * backwards + (1 - alpha) * task,
        "T² belongs to the soft part only": alpha * soft + (1 - alpha) * task * temperature**2,
    }
    where = f"{len(labels)} examples, {classes} classes, alpha {alpha:g}, temperature {temperature:g}"
    advice = "alpha · T² · KL(teacher ‖ student) at temperature T + (1 - alpha) · cross entropy at temperature 1"
    for text, value in mistakes.items():
        if math.isclose(found.item(), value, rel_tol=1e-4) and not math.isclose(found.item(), total, rel_tol=1e-4):
            advice = text
            break
    expect_close("loss", found.item(), total, given=where, hint=advice)


def _expect_limit(answer: Answer, student: Tensor, teacher: Tensor) -> None:
    found, expected = answer(student, teacher), limit_gradient(student, teacher)
    advice = "subtract from each row its mean, for student and teacher; then their difference over N · C"
    if isinstance(found, Tensor) and found.shape == student.shape:
        rows, classes = student.shape
        for text, value in {
            "divide by the number of classes as well": expected * classes,
            "divide by the number of examples as well: the loss is a mean over them": expected * rows,
            "the sign is turned: a student whose logit is too high must get a positive gradient": -expected,
            "subtract each row's mean: a softmax does not see a constant": (student - teacher) / student.numel(),
        }.items():
            if torch.allclose(found, value, atol=1e-6) and not torch.allclose(found, expected, atol=1e-6):
                advice = text
                break
    where = f"logits of shape {tuple(student.shape)}"
    expect_close("gradient", found, expected, atol=1e-5, rtol=1e-3, given=where, hint=advice)


def _feature_module(answer: Answer, widths: tuple[int, int]) -> nn.Module:
    module = answer.in_place(*widths)
    expect(isinstance(module, nn.Module), f"FeatureLoss should be an nn.Module, got {type(module).__name__}")
    return module


@torch.no_grad()
def _filled_like(module: nn.Module, widths: tuple[int, int], seed: int = 0) -> nn.Linear:
    """Give the projection known values; a linear layer with the same."""
    student, teacher = widths
    shapes = sorted(tuple(parameter.shape) for parameter in module.parameters())
    advice = "one nn.Linear(student_width, teacher_width), made in __init__ and kept as an attribute"
    given = f"widths {student} and {teacher}"
    expect_equal("shapes of the parameters", shapes, sorted([(teacher,), (teacher, student)]), given=given, hint=advice)
    linear = nn.Linear(student, teacher)
    generator = torch.Generator().manual_seed(seed)
    for target in (linear.weight, linear.bias):
        target.copy_(torch.randn(target.shape, generator=generator))
    for parameter in module.parameters():
        parameter.copy_(linear.weight if parameter.dim() == 2 else linear.bias)
        parameter.grad = None
    return linear


def _expect_feature_loss(module: nn.Module, linear: nn.Linear, widths: tuple[int, int], mask: Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(2, 3, width, generator=generator, requires_grad=True) for width in widths)
    parameters = [id(parameter) for parameter in module.parameters()]
    where = f"widths {widths[0]} and {widths[1]}, mask {mask.tolist()}"
    loss = Answer(module).in_place(student, teacher, mask)
    expect(isinstance(loss, Tensor) and loss.dim() == 0, "return one tensor without dimensions", given=where)
    expected = feature_loss(linear, student, teacher, mask).item()
    advice = (
        "mean over the width, then over the tokens whose mask is 1; padding must not count, not even in the divisor"
    )
    expect_close("loss", loss.item(), expected, given=where, hint=advice)
    module.zero_grad()
    expect(loss.requires_grad, "no gradient can flow from your loss", given=where)
    loss.backward()
    trained = all(parameter.grad is not None for parameter in module.parameters())
    expect(trained and student.grad is not None, "projection and student should get a gradient", given=where)
    advice = "the teacher is not trained: teacher.detach()"
    expect(teacher.grad is None, "a gradient reaches the teacher", given=where, hint=advice)
    advice = "a projection that is made anew in forward is random at every step and never learns"
    expect([id(one) for one in module.parameters()] == parameters, "forward made new parameters", hint=advice)


def _expect_epoch(answer: Answer, scene: Scene, alpha: float, temperature: float) -> None:
    teacher, student, optimizer = scene.networks()
    before = copy.deepcopy(teacher.state_dict())
    loss = answer.in_place(teacher, student, scene.batches, optimizer, alpha, temperature)
    where = f"three batches, alpha {alpha:g}, temperature {temperature:g}"
    advice = "in training mode BatchNorm updates its statistics with every batch: teacher.eval() first"
    same = all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    expect(same, "the teacher has changed", given=where, hint=advice)
    free = all(parameter.grad is None for parameter in teacher.parameters())
    expect(free, "gradients were computed for the teacher", given=where, hint="ask it under torch.no_grad()")
    expect(student.training, "the student did not train in training mode", given=where, hint="student.train()")
    old, new, updates = scene.networks()
    expected = train_epoch(old, new, scene.batches, updates, alpha, temperature)
    advice = "per batch: clear the gradients, compute the loss of 09.2, backward, one step; is the student in train()?"
    for name, value in new.state_dict().items():
        expect_close(f"student's {name}", student.state_dict()[name], value, given=where, hint=advice, atol=1e-5)
    expect_close("returned loss", loss, expected, given=where, hint="return the mean of the batches' losses, a number")
