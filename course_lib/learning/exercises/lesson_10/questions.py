"""Checks and probes of exercise 10, distilling BERT: layer map, start, triple loss, attention, a repaired chain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_10 import reference
from course_lib.learning.expect import as_float, expect, expect_close, expect_equal, expect_raises, expect_unchanged
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe

EXCLUDED = ("course_lib.distillation",)
MOST_LAYERS = 48
FRAGILE = ((11, 15), (22, 22), (23, 23), (44, 46))
"""Numbers of layers of student and teacher, for which a quotient of floats is a little too small."""
LAYERS = "bert.encoder.layer."
TRIPLE_ADVICE = {
    (1.0, 0.0, 0.0): "only the soft part counts here: factor T², batchmean, the teacher's probabilities as target",
    (0.0, 1.0, 0.0): "only the task counts here: cross entropy with the labels, without temperature",
    (0.0, 0.0, 1.0): "only the cosine counts here: 1 - cosine of each word, then one mean over all words of the batch",
    (5.0, 2.0, 1.0): "each part alone is right; is each multiplied by its own weight?",
}


STAGE_ADVICE = {
    1: "it learns in training mode from the original in eval mode: T² · KL, plain SGD, gradients cleared in each step; "
    "after its last step it is evaluated in eval mode",
    2: "its target is the softmax of mixed logits: w times the original's, 1 - w times those of the stage before, "
    "evaluated in eval mode",
}


Chain = tuple[nn.Module, list[nn.Module], Tensor]


@question("10.1")
def check_layer_map(answer: Answer) -> None:
    """All sizes up to 48, and students with no layer or too many."""
    for theirs in (11, 6, *range(1, MOST_LAYERS + 1)):
        for ours in range(4 if theirs == 11 else 1, theirs + 1):
            given = f"student_layers = {ours}, teacher_layers = {theirs}"
            found = answer(ours, theirs)
            good = isinstance(found, list | tuple)
            expect(good, f"the map should be a tuple, yours is {type(found).__name__}", given=given)
            expected = reference.layer_map(ours, theirs)
            advice, shown = "count from 0, end with the last", f"expected {expected}, got {describe(found)}"
            expect(tuple(found) == expected, f"map: {shown}", given=given, hint=advice)
            expect_equal("map", found, expected, given=given, hint=advice)
    for ours, theirs in ((0, 6), (7, 6), (-1, 3)):
        expect_raises(ValueError, answer, ours, theirs, hint="there is no such map: raise ValueError")


@probe("10.1")
def probe_layer_map(answer: Answer, generator: torch.Generator) -> Any:
    """Maps for random sizes, and whether impossible ones are refused."""
    yield from [answer(*sizes) for sizes in FRAGILE]
    for _ in range(6):
        theirs = int(torch.randint(3, 40, (), generator=generator))
        ours = int(torch.randint(1, theirs + 1, (), generator=generator))
        yield from [answer(ours, theirs), answer.refuses(theirs + ours, theirs), answer.refuses(0, theirs)]


@question("10.2")
def check_student_state(answer: Answer) -> None:
    """Names, values and copies, with more than ten layers too."""
    generator = torch.Generator().manual_seed(0)
    for layers, chosen in ((6, (2, 4, 5)), (6, (1, 3, 5)), (12, (1, 11)), (3, (0, 1, 2)), (12, (10,)), (4, (2, 3))):
        state = _state(layers, generator)
        given = f"a teacher of {layers} layers, chosen = {chosen}"
        found, wanted = answer.in_place(state, chosen), reference.student_state(state, chosen)
        expect_equal("names", sorted(found), sorted(wanted), given=given, hint="layers are renumbered from 0")
        for name, tensor in wanted.items():
            expect_close(name, found[name], tensor, given=given)
        for tensor in found.values():
            tensor.zero_()
        apart = all(tensor.any() for tensor in state.values())
        expect(apart, "changing the student changed the teacher", given=given, hint="clone every tensor")
    expect_unchanged(answer, _state(3, generator), (0, 2))


@probe("10.2")
def probe_student_state(answer: Answer, generator: torch.Generator) -> Any:
    """Names and values for random choices, and whether changing the student changes the teacher."""
    for layers in (6, 13):
        state = _state(layers, generator)
        first, second = torch.randperm(layers - 3, generator=generator)[:2].add(2).tolist()
        chosen = (1, max(first, second), layers - 1) if layers > 10 else tuple(sorted((first, second)))
        found = answer.in_place(state, chosen)
        yield from [[name, found[name].clone()] for name in sorted(found)]
        for tensor in found.values():
            tensor.zero_()
        yield from [state[name] for name in sorted(state)]


@question("10.3")
def check_triple_loss(answer: Answer) -> None:
    """Each part alone, then all together; padding does not count, and no gradient reaches the teacher."""
    generator = torch.Generator().manual_seed(1)
    words = torch.tensor([[[1.0, 0.0], [5.0, 1.0]]]), torch.tensor([[[0.0, 1.0], [5.0, 1.0]]])
    student, teacher = (torch.zeros(1, 2), words[0]), (torch.tensor([[2.0, 0.0]]), words[1])
    example = student, teacher, torch.tensor([0]), torch.tensor([[1, 0]]), 2.0, (5.0, 2.0, 1.0)
    for weights, advice in TRIPLE_ADVICE.items():
        for temperature in (1.0, 2.0, 5.0):
            student, teacher, labels, mask = _pair(generator)
            given = f"weights {weights} at temperature {temperature:g}"
            found = answer.in_place(student, teacher, labels, mask, temperature, weights)
            wanted = reference.triple_loss(student, teacher, labels, mask, temperature, weights)
            expect_close("loss", found, wanted, given=given, hint=advice)
            reached = torch.autograd.grad(found, teacher, allow_unused=True)
            quiet = all(one is None or not one.any() for one in reached)
            expect(quiet, "a gradient reaches the teacher", given=given, hint="detach the teacher's logits and states")
    wanted, given = reference.triple_loss(*example), "the example of the text"
    expect_close("loss", answer(*example), wanted, given=given, hint="soft, task and cosine are 0.444, 0.693 and 1")


@probe("10.3")
def probe_triple_loss(answer: Answer, generator: torch.Generator) -> Any:
    """Losses and gradients of random pairs, and whether the teacher gets one."""
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (5.0, 2.0, 1.0)):
        student, teacher, labels, mask = _pair(generator)
        temperature = 1.5 + 3 * float(torch.rand((), generator=generator))
        loss = answer.in_place(student, teacher, labels, mask, temperature, weights)
        reached = torch.autograd.grad(loss, [*student, *teacher], allow_unused=True)
        yield from [loss.item(), [one for one in reached[:2] if one is not None and one.any()]]
        yield all(one is None or not one.any() for one in reached[2:])


@question("10.4")
def check_attention_loss(answer: Answer) -> None:
    """Different numbers of heads, padding in rows and columns, gradients, and missing maps."""
    generator = torch.Generator().manual_seed(2)
    advice = "average each over its heads, square the difference, then one mean over the pairs of words"
    for heads in ((4, 4), (2, 6), (3, 1)):
        student, teacher, mask = _maps(heads, generator)
        given = f"{heads[0]} and {heads[1]} heads"
        found = answer.in_place(student, teacher, mask)
        expected = reference.attention_loss(student, teacher, mask)
        expect_close("loss", found, expected, given=given, hint=advice)
        (reached,) = torch.autograd.grad(found, teacher, allow_unused=True)
        apart = reached is None or not reached.any()
        expect(apart, "a gradient reaches the teacher", given=given, hint="detach its maps")
    student = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    teacher = torch.tensor([[[[0.8, 0.2], [0.4, 0.6]]]])
    for words, wanted in ((torch.tensor([[1, 1]]), 0.1), (torch.tensor([[1, 0]]), 0.04)):
        expect_close("loss", answer(student, teacher, words), wanted, given="the example of the text", hint=advice)
    for missing in ((None, teacher), (student, None)):
        expect_raises(ValueError, answer, *missing, mask, hint="a missing map is an error, not a loss of 0")


@probe("10.4")
def probe_attention_loss(answer: Answer, generator: torch.Generator) -> Any:
    """Losses and gradients of random maps, and whether missing ones are refused."""
    for heads in ((4, 4), (2, 6), (6, 3)):
        student, teacher, mask = _maps(heads, generator)
        loss = answer.in_place(student, teacher, mask)
        gradient, reached = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
        yield from [1000 * loss.item(), 1000 * gradient, reached is None or not reached.any().item()]
        yield from [answer.refuses(None, teacher, mask), answer.refuses(student, None, mask)]


@question("10.5")
def check_distil_in_stages(answer: Answer) -> None:
    """Weights of every stage, agreement with the original, and unchanged originals."""
    tried = (
        (1, 0.5, 2.0, 4, 0.2),
        (2, 0.3, 1.0, 3, 0.1),
        (2, 1.0, 1.0, 3, 0.1),
        (3, 0.5, 4.0, 2, 0.3),
        (3, 0.0, 2.0, 4, 0.2),
    )
    for seed, (count, weight, temperature, steps, rate) in enumerate(tried):
        teacher, students, inputs = _chain(count, torch.Generator().manual_seed(seed))
        before = _numbers([teacher, *students])
        settings = (inputs, temperature, steps, rate, weight)
        found, agreement = answer.in_place(teacher, students, *settings)
        wanted, shares = reference.distil_in_stages(teacher, students, *settings)
        given = (
            f"number of students = {count}, temperature = {temperature:g}, steps = {steps}, learning_rate = {rate:g}, "
            f"original_weight = {weight:g}"
        )
        expect_equal("number of finished stages", len(found), count, given=given)
        expect_close("the given networks", _numbers([teacher, *students]), before, given=given, hint="work on copies")
        modes = [one.training for one in (teacher, *students)]
        expect_equal("modes of the given networks", modes, [True] + [False] * count, given=given, hint="work on copies")
        for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True), start=1):
            what, advice = f"weights of stage {number}", STAGE_ADVICE[min(number, 2)]
            expect_close(what, _numbers([ours]), _numbers([theirs]), given=given, hint=advice, rtol=1e-3)
            expect(not ours.training, f"stage {number} should be in eval mode", given=given)
        advice = "the fraction of inputs for which the stage, in eval mode, has the class of the original"
        expect_close("agreement", torch.tensor(agreement), torch.tensor(shares), given=given, hint=advice)


@probe("10.5")
def probe_distil_in_stages(answer: Answer, generator: torch.Generator) -> Any:
    """Weights of every stage and agreement, for random chains."""
    for weight, temperature, steps, rate in ((0.3, 2.0, 3, 0.2), (1.0, 3.0, 2, 0.1)):
        teacher, students, inputs = _chain(3, generator)
        before = _numbers([teacher, *students])
        found, agreement = answer.in_place(teacher, students, inputs, temperature, steps, rate, weight)
        yield from [[as_float(share) for share in agreement], [_numbers([one]) for one in found]]
        kept = torch.equal(_numbers([teacher, *students]), before)
        yield from [[one.training for one in found], teacher.training, kept]


def _state(layers: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Names as in a BERT, with tiny tensors."""
    names = ["bert.embeddings.word_embeddings.weight", "bert.pooler.dense.layer.1.weight", "classifier.weight"]
    parts = ("attention.self.query.weight", "output.LayerNorm.bias")
    names += [f"{LAYERS}{number}.{part}" for number in range(layers) for part in parts]
    return {name: torch.randn(2, 2, generator=generator) for name in names}


def _pair(generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor, Tensor]:
    """Logits (4, 3) and states (4, 5, 6) of student and teacher, labels, and a mask with padding."""
    shapes = ((4, 3), (4, 5, 6))
    student, teacher = (
        tuple((2 * torch.randn(shape, generator=generator)).requires_grad_() for shape in shapes) for _ in range(2)
    )
    labels = torch.randint(0, 3, (4,), generator=generator)
    return student, teacher, labels, _mask(4, generator)  # type: ignore[return-value]


def _mask(sentences: int, generator: torch.Generator) -> Tensor:
    """(sentences, 5): the first has five words, the second two, the others between one and five."""
    lengths = torch.randint(1, 6, (sentences,), generator=generator)
    lengths[0], lengths[1] = 5, 2
    return (torch.arange(5) < lengths[:, None]).long()


def _maps(heads: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of student and teacher, (3, heads, 5, 5), and a mask."""
    student, teacher = (
        torch.randn(3, count, 5, 5, generator=generator).softmax(dim=-1).requires_grad_() for count in heads
    )
    return student, teacher, _mask(3, generator)


@torch.no_grad()
def _chain(count: int, generator: torch.Generator) -> Chain:
    """A teacher in training mode, with dropout; smaller students in eval mode, with a norm; inputs (12, 4)."""

    def network(width: int) -> nn.Module:
        by_mode = nn.Dropout(0.5) if width == 8 else nn.BatchNorm1d(width)
        made = nn.Sequential(nn.Linear(4, width), nn.Tanh(), by_mode, nn.Linear(width, 3))
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return made

    teacher, students = network(8).train(), [network(width).eval() for width in (6, 4, 2)[:count]]
    return teacher, students, torch.randn(12, 4, generator=generator)


def _numbers(networks: list[nn.Module]) -> Tensor:
    """All parameters and statistics, one after another."""
    return torch.cat([tensor.flatten().float() for network in networks for tensor in network.state_dict().values()])
