"""An independent right answer to every question: the package's function, another method, or values worked out by hand.

The reference answers are generated from the solutions, so the two always agree; these do not depend on either.
Each function is given the lesson's reference module and yields pairs of what it returns and what is right.
"""

from __future__ import annotations

import copy
import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from course_lib import coding, distillation, lowrank, pruning, quantization, search
from course_lib.training.input_statistics import inverse_factor

Pairs = Iterator[tuple[Any, Any]]
T = torch.tensor
INDEPENDENT: dict[str, Callable[[ModuleType], Pairs]] = {}


def independent(question: str) -> Callable[[Callable[[ModuleType], Pairs]], Callable[[ModuleType], Pairs]]:
    """Register the independent answers to a question."""

    def register(function: Callable[[ModuleType], Pairs]) -> Callable[[ModuleType], Pairs]:
        INDEPENDENT[question] = function
        return function

    return register


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@independent("01.1")
def _(reference: ModuleType) -> Pairs:
    shapes = [(3, 4, 5), (), (0, 7), (9,)]
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("int8", torch.int8)):
        yield reference.dense_bytes(shapes, name), sum(torch.empty(shape, dtype=dtype).nbytes for shape in shapes)
    yield reference.dense_bytes([(5,), (3,), (1,)], "int4"), 3 + 2 + 1


@independent("01.2")
def _(reference: ModuleType) -> Pairs:
    for rows, columns, nonzeros in ((16, 16, 128), (64, 64, 3), (5, 7, 35)):
        weight = torch.zeros(rows * columns)
        weight[:nonzeros] = 1.0
        sparse = weight.view(rows, columns).to_sparse_csr()
        indices = sparse.col_indices().int().nbytes + sparse.crow_indices().int().nbytes
        sizes = [(weight.nbytes, "dense"), (-(-weight.numel() // 8) + 4 * nonzeros, "bitmask")]
        sizes.append((sparse.values().nbytes + indices, "csr"))
        size, name = min(sizes)
        yield reference.cheapest_encoding(rows, columns, nonzeros, 4), (name, size)
    yield reference.cheapest_encoding(1, 8, 8, 1), ("dense", 8)
    yield reference.cheapest_encoding(10, 40, 2, 4), ("bitmask", 58)


@independent("01.3")
def _(reference: ModuleType) -> Pairs:
    """175 billion weights · 10 % · 32 bits are 70 GB, so: 32-bit values (A), and no bits for positions (B)."""
    yield 175e9 * 0.1 * 32 / 8 / 1e9, 70.0
    yield reference.headline_assumptions(), {"A", "B"}


@independent("01.4")
def _(reference: ModuleType) -> Pairs:
    yield reference.bits_per_weight(4, 128, 4, 128), 4.125
    yield reference.bits_per_weight(3, 10, 2, 4, 16, 4), 8.0
    weight = random(6, 64)
    params = quantization.weight_params(weight, 4, "group", group_size=32, scale_dtype="fp16")
    stored = quantization.pack(quantization.quantize_tensor(weight, params)).bytes
    yield reference.bits_per_weight(6, 64, 4, 32), 8 * stored / weight.numel()


@independent("01.5")
def _(reference: ModuleType) -> Pairs:
    yield reference.pass_seconds(7e9, 16, 1, 50, 200), (0.28, "memory")
    yield reference.pass_seconds(7e9, 16, 64, 50, 200), (4.48, "compute")
    yield reference.pass_seconds(1e9, 8, 4, 10, 80), (0.1, "compute")


@independent("01.6")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_01.playground import PLANS, relative_error

    weight = random(48, 64)
    for budget in (30.0, 48.0, 90.0, 3.0):
        best = None
        for sparsity, bits in PLANS:
            size = 175 / 8 * ((sparsity > 0) + (1 - sparsity) * (16 if bits == 16 else bits + 0.125))
            key = (relative_error(weight, sparsity, bits), size, (sparsity, bits))
            if size <= budget and (best is None or key < best):
                best = key
        yield reference.best_plan(weight, budget), best and best[2]


@independent("02.1")
def _(reference: ModuleType) -> Pairs:
    for inputs, outputs, kernel, groups, bias in ((3, 64, (7, 7), 1, False), (12, 24, (3, 5), 4, True)):
        layer = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias)
        expected = sum(parameter.numel() for parameter in layer.parameters())
        yield reference.conv_parameters(inputs, outputs, kernel, groups, bias), expected


@independent("02.2")
def _(reference: ModuleType) -> Pairs:
    for case in ((4, 6, (3, 5), (2, 1), (1, 0), 2, (10, 17), 3), (3, 8, (3, 3), (1, 1), (1, 1), 1, (8, 8), 1)):
        inputs, outputs, kernel, stride, padding, groups, size, batch = case
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(torch.zeros(batch, inputs, *size))
        yield reference.conv_macs(*case), counter.get_total_flops() // 2


@independent("02.3")
def _(reference: ModuleType) -> Pairs:
    yield reference.attainable(10**6, 4 * 10**6, 0, 1, 100.0, 20.0), (0.5, 10.0, "memory")
    yield reference.attainable(1024, 1024, 1024, 1, 64.0, 64.0), (1.0, 64.0, "compute")
    yield reference.attainable(10**9, 10**6, 10**6, 1, 100.0, 20.0), (1000.0, 100.0, "compute")


@independent("02.4")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_02.cases import SimulatedMachine

    times = {"dense": [90.0, 60.0, 10.0, 11.0, 15.0, 13.0, 14.0], "pruned": [80.0, 50.0, 3.0, 2.0, 5.0, 4.0, 1.0]}
    machine = SimulatedMachine(times)
    found = reference.measure(machine.runners, 5, 2, machine.clock)
    yield {name: pair[0] for name, pair in found.items()}, {k: statistics.median(v[2:]) for k, v in times.items()}
    yield {name: pair[1] for name, pair in found.items()}, {"dense": 14.8, "pruned": 4.8}
    yield machine.order, ["dense", "pruned"] * 7


@independent("02.5")
def _(reference: ModuleType) -> Pairs:
    """Amdahl's law in its usual form, with the fraction f of the time: 1 / (1 - f + f / k)."""
    for latencies, layer, factor in (([4.0, 4.0, 2.0], 2, 10.0), ([3.0, 7.0, 0.5, 1.5], 1, 0.5)):
        f = latencies[layer] / sum(latencies)
        yield reference.whole_speedup(latencies, layer, factor), (1 / (1 - f + f / factor), 1 / (1 - f))
    yield reference.whole_speedup([5.0], 0, 8.0), (8.0, math.inf)


@independent("02.6")
def _(reference: ModuleType) -> Pairs:
    """Savings 1, 2 and 4 ms of 14 ms: a budget of 10.5 ms needs the large layer, 11 ms also allows the other two."""
    rows = [("small", 2.0, 0.2), ("middle", 4.0, 0.6), ("large", 8.0, 1.0)]
    layers = [{"name": name, "latency_ms": time, "factor": 2.0, "damage": damage} for name, time, damage in rows]
    names = ["small", "middle", "large"]
    for budget, expected in ((14.0, []), (11.0, names[:2]), (10.5, names[2:]), (7.0, names), (6.5, None)):
        yield reference.choose_layers(layers, budget), expected


@independent("03.1")
def _(reference: ModuleType) -> Pairs:
    for weight in (random(8, 16), random(4, 3, 3, 3), random(5, 6).round(), torch.zeros(0, 3), random(7, 5).T):
        for sparsity in (0.0, 0.3, 0.99):
            yield reference.magnitude_mask(weight, sparsity), pruning.magnitude_mask(weight, sparsity)


@independent("03.2")
def _(reference: ModuleType) -> Pairs:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.Flatten(), nn.Linear(6, 5))
    for sparsity in (0.0, 0.4, 0.9):
        expected = pruning.global_masks(model, sparsity)
        yield reference.global_masks(pruning.layer_weights(model), sparsity), expected


@independent("03.3")
def _(reference: ModuleType) -> Pairs:
    for step in (0, 1, 5, 10, 12):
        yield reference.cubic_sparsity(step, 10, 0.1, 0.9), pruning.cubic_sparsity(step, 10, 0.1, 0.9)
    yield reference.cubic_sparsity(5, 10, 0.0, 0.8), 0.7
    yield reference.cubic_sparsity(-3, 10, 0.1, 0.8), 0.1


@independent("03.4")
def _(reference: ModuleType) -> Pairs:
    yield reference.storage_facts(torch.eye(8)), {"dense": 256, "bitmask": 8 + 32, "break_even": 3}
    yield reference.storage_facts(torch.eye(8).half()), {"dense": 128, "bitmask": 8 + 16, "break_even": 5}
    yield reference.storage_facts(torch.ones(1)), {"dense": 4, "bitmask": 5, "break_even": 1}
    yield reference.storage_facts(torch.ones(0)), {"dense": 0, "bitmask": 0, "break_even": None}


@independent("03.5")
def _(reference: ModuleType) -> Pairs:
    """The question prunes Conv2d and Linear; the package by default also the ConvTranspose2d, so layers are named."""
    from course_lib.learning.exercises.lesson_03.cases import Trainer, small_cnn

    model, layers = small_cnn(3), ["0", "3", "5.1", "5.3"]
    pruner = reference.StructuredPruner(model, 0.5)
    yield pruner.magnitude_based_pruning().state_dict(), pruning.prune_layerwise(model, 0.5, layers).state_dict()
    yield pruner.apply_global_pruning(0.7).state_dict(), pruning.prune_global(model, 0.7, layers).state_dict()
    by_hand, trainer = copy.deepcopy(model), Trainer()
    for sparsity in (0.1, 0.9 - 0.8 * 0.5**3, 0.9):
        masks = pruning.global_masks(by_hand, sparsity, layers)
        pruning.apply_masks(by_hand, masks)
        trainer(by_hand)
        pruning.apply_masks(by_hand, masks)
    yield pruner.gradual_pruning(Trainer(), 0.1, 0.9, 3).state_dict(), by_hand.state_dict()


@independent("03.6")
def _(reference: ModuleType) -> Pairs:
    """LeNet-300-100 has 235,200 + 30,000 + 1,000 weights; PyTorch's own pruning gives the same accuracy."""
    from course_lib import training
    from course_lib.learning.exercises.lesson_03 import playground

    choice, model = reference.layer_sparsities(), copy.deepcopy(playground.lenet())
    zeros = 0
    for layer, sparsity in zip([one for one in model if isinstance(one, nn.Linear)], choice, strict=True):
        prune.l1_unstructured(layer, "weight", round(sparsity * layer.weight.numel()))
        zeros += round(sparsity * layer.weight.numel())
    accuracy = training.evaluate(model, playground.split("validation")).accuracy
    yield zeros / 266_200 >= 0.85 and accuracy >= 0.80, True


@independent("04.1")
def _(reference: ModuleType) -> Pairs:
    producer, consumer = random(6, 3, 3, 3), random(5, 6, 3, 3, seed=1)
    rows = [sum(value**2 for value in producer[c].flatten().tolist()) ** 0.5 for c in range(6)]
    columns = [sum(value**2 for value in consumer[:, c].flatten().tolist()) ** 0.5 for c in range(6)]
    pairs = zip(rows, columns, strict=True)
    expected = [(a / statistics.fmean(rows) + b / statistics.fmean(columns)) / 2 for a, b in pairs]
    yield reference.channel_scores(producer, consumer), torch.tensor(expected)
    yield reference.channel_scores(torch.zeros(2, 1), torch.zeros(3, 2)), torch.ones(2)


@independent("04.2")
def _(reference: ModuleType) -> Pairs:
    scores = torch.rand(40, generator=torch.Generator().manual_seed(0))
    for ratio, multiple in ((0.5, 8), (0.3, 8), (1.0, 8), (0.55, 1)):
        count = pruning.keep_count(40, ratio, multiple)
        expected = sorted(torch.topk(scores, count).indices.tolist())
        yield reference.channels_to_keep(scores, ratio, multiple), expected
    yield reference.channels_to_keep(scores, 0.01, 8), sorted(torch.topk(scores, 8).indices.tolist())
    yield reference.channels_to_keep(torch.tensor([1.0, 2.0, 2.0, 1.0]), 0.75, 1), [0, 1, 2]


@independent("04.3")
def _(reference: ModuleType) -> Pairs:
    """Removing a channel gives the same output as multiplying it by zero wherever it is written."""
    from course_lib.learning.exercises.lesson_04.playground import ResidualNet

    torch.manual_seed(0)
    model, stem, inner = ResidualNet(8, 6, 5).eval(), [0, 2, 3, 7], [1, 4]
    small = ResidualNet(len(stem), len(inner), 5).eval()
    small.load_state_dict(reference.shrink(model.state_dict(), stem, inner))
    for name, kept in (("bn1", stem), ("bn2", inner), ("bn3", stem)):
        norm = model.get_submodule(name)
        off = torch.ones(norm.num_features)
        off[kept] = 0
        norm.weight.data[off.bool()] = 0
        norm.bias.data[off.bool()] = 0
    images = random(2, 3, 8, 8)
    yield small(images).detach(), model(images).detach()


@independent("04.4")
def _(reference: ModuleType) -> Pairs:
    """The output of the smaller attention is that of the whole one without the other heads' contributions."""
    heads, size, keep = 4, 3, [1, 3]
    shapes = dict.fromkeys(("query", "key", "value"), (12, 8)) | {"output": (8, 12)}
    layer = {f"{name}.weight": random(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    layer |= {f"{name}.bias": random(shape[0], seed=9 + i) for i, (name, shape) in enumerate(shapes.items())}

    def attend(state: dict[str, Tensor], count: int, zeroed: list[int]) -> Tensor:
        inputs = random(5, 8, seed=20)
        parts = [F.linear(inputs, state[f"{n}.weight"], state[f"{n}.bias"]) for n in ("query", "key", "value")]
        query, key, value = (part.view(5, count, size).transpose(0, 1) for part in parts)
        mixed = (query @ key.transpose(1, 2)).softmax(-1) @ value
        mixed[zeroed] = 0
        return F.linear(mixed.transpose(0, 1).flatten(1), state["output.weight"], state["output.bias"])

    yield attend(reference.keep_heads(layer, heads, keep), 2, []), attend(layer, heads, [0, 2])


@independent("04.5")
def _(reference: ModuleType) -> Pairs:
    for weight in (random(6, 16), random(3, 8).round(), random(8, 4).T):
        yield reference.two_four_mask(weight), pruning.two_four_mask(weight)


@independent("04.6")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_04 import playground

    a, b = reference.widths()
    yield (784 * a + a * b + 10 * b) / (784 * 300 + 300 * 100 + 1000) <= 0.40, True
    yield playground.try_widths((a, b)).accuracy >= 0.83, True


@independent("05.1")
def _(reference: ModuleType) -> Pairs:
    for weight, bits in ((random(5, 7), 8), (random(40), 3), (torch.tensor([7.0, 0.5, 1.5, -2.5]), 4)):
        params = quantization.weight_params(weight.view(1, -1), bits, "per_tensor")
        expected = quantization.quantize(weight.view(1, -1), params).view(weight.shape).int()
        integers, scale = reference.quantize_symmetric(weight, bits)
        yield integers, expected
        yield scale, params.scale.item()
    yield reference.quantize_symmetric(torch.zeros(3), 8), (torch.zeros(3, dtype=torch.int32), 1.0)


@independent("05.2")
def _(reference: ModuleType) -> Pairs:
    for low, high in ((-1.0, 3.0), (0.0, 6.0), (2.0, 3.0), (-5.0, -4.0)):
        params = quantization.choose_params(torch.tensor(low), torch.tensor(high), 8, False)
        scale, zero_point = reference.scale_and_zero_point(low, high, 8)
        yield scale, params.scale.item()
        yield zero_point, int(params.zero_point.item())
    yield reference.scale_and_zero_point(0.0, 0.0, 4), (1.0, 0)


@independent("05.3")
def _(reference: ModuleType) -> Pairs:
    weight = random(4, 12)
    params = quantization.weight_params(weight, 4, "group", group_size=3)
    integers, scale = reference.group_quantize(weight, 4, 3)
    yield integers, quantization.quantize(weight, params).int()
    yield scale, params.scale.reshape(4, 4)


@independent("05.4")
def _(reference: ModuleType) -> Pairs:
    """Lloyd's algorithm value by value, in plain Python."""
    weight, start = random(30), [-1.0, 0.0, 1.0, 9.0]
    centroids = list(start)
    for _ in range(3):
        nearest = [min(range(4), key=lambda k: abs(value - centroids[k])) for value in weight.tolist()]
        for k in set(nearest):
            centroids[k] = statistics.fmean(v for v, n in zip(weight.tolist(), nearest, strict=True) if n == k)
    codes = [min(range(4), key=lambda k: abs(value - centroids[k])) for value in weight.tolist()]
    yield reference.kmeans(weight, torch.tensor(start), 3), (torch.tensor(codes), torch.tensor(centroids))


@independent("05.5")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_05 import playground

    first, second, third = reference.bits_per_layer()
    yield (235_200 * first + 30_000 * second + 1_000 * third) / 266_200 <= 2.95, True
    yield playground.try_bits((first, second, third)).accuracy >= 0.82, True


@independent("06.1")
def _(reference: ModuleType) -> Pairs:
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0.01)
    norm.train()(random(8, 4, 5, 5) * 2 + 1)
    norm.weight.data, norm.bias.data = random(4, seed=1), random(4, seed=2)
    parts = (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var, norm.eps)
    weight, bias = reference.fold_norm(layer.weight.data, None, *parts)
    images = random(2, 3, 6, 6)
    yield F.conv2d(images, weight, bias), norm.eval()(layer(images)).detach()


@independent("06.2")
def _(reference: ModuleType) -> Pairs:
    """Exact rational arithmetic, element by element."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (3, 20), generator=generator).to(torch.uint8)
    weight = torch.randint(-128, 128, (4, 20), generator=generator).to(torch.int8)
    bias, multiplier, shift = torch.tensor([0, 900, -3000, 77], dtype=torch.int32), 2**30 + 12345, 41
    outputs = list(zip(weight.tolist(), bias.tolist(), strict=True))
    rows = [[sum((a - 9) * b for a, b in zip(x, w, strict=True)) + c for w, c in outputs] for x in x.tolist()]
    expected = [[min(max(math.floor((s * multiplier / 2**shift) + 0.5) + 128, 0), 255) for s in row] for row in rows]
    found = reference.integer_linear(x, 9, weight, bias, multiplier, shift, 128)
    yield found, torch.tensor(expected, dtype=torch.uint8)


@independent("06.3")
def _(reference: ModuleType) -> Pairs:
    observer = reference.MovingAverageObserver(0.25)
    for batch in ([-1.0, 3.0], [-5.0, 1.0], [0.0, 7.0]):
        observer.observe(torch.tensor(batch))
    yield observer.range(), (-1.5, 3.625)


@independent("06.4")
def _(reference: ModuleType) -> Pairs:
    """With 2 bits there are 4 levels from 0 to the clip."""
    yield reference.best_clip(torch.tensor([0.0, 1.0, 2.0, 3.0]), 2, [1.5, 3.0, 6.0]), 3.0
    yield reference.best_clip(torch.tensor([0.0, 1.0, 2.0, 3.0] * 50 + [9.0]), 2, [9.0, 3.0]), 3.0
    yield reference.best_clip(torch.tensor([0.0, 1.0, 2.0, 3.0, 90.0]), 2, [3.0, 90.0]), 90.0


@independent("06.5")
def _(reference: ModuleType) -> Pairs:
    """One linear layer by PyTorch's own fake quantization."""
    torch.manual_seed(0)
    model, batches = nn.Sequential(nn.Linear(5, 3)), [random(4, 5), random(4, 5, seed=1) * 2]
    quantized = reference.Quantizer(model, batches).post_training_quantization()
    weight = model[0].weight.detach()
    zeros = torch.zeros(3, dtype=torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(weight, weight.abs().amax(1) / 127, zeros, 0, -127, 127)
    yield quantized[0].weight.detach(), rounded
    low, high = min(b.min().item() for b in batches), max(b.max().item() for b in batches)
    new, scale = random(6, 5, seed=2) * 3, (high - low) / 255
    inputs = torch.fake_quantize_per_tensor_affine(new, scale, round(-low / scale), 0, 255)
    yield quantized(new).detach(), F.linear(inputs, rounded, model[0].bias).detach()


@independent("07.1")
def _(reference: ModuleType) -> Pairs:
    for scale, qmin, qmax in ((0.5, -4, 3), (0.1, -8, 7), (0.25, 0, 15)):
        ours, theirs = ((2 * scale * qmax * random(50)).requires_grad_() for _ in range(2))
        found = reference.fake_quantize(ours, scale, qmin, qmax)
        expected = quantization.quantize_straight_through(theirs, torch.tensor(scale), qmin, qmax)
        yield found.detach(), expected.detach()
        yield torch.autograd.grad(found.sum(), ours)[0], torch.autograd.grad(expected.sum(), theirs)[0]


@independent("07.2")
def _(reference: ModuleType) -> Pairs:
    for qmin, qmax in ((-4, 3), (0, 15), (-8, 7)):
        x, upstream, scale = 3 * random(40), random(40, seed=1), torch.tensor(0.4, requires_grad=True)
        quantization.quantize_learned_step(x, scale, qmin, qmax).backward(upstream)
        yield reference.step_gradient(x, 0.4, qmin, qmax, upstream), scale.grad


@independent("07.3")
def _(reference: ModuleType) -> Pairs:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3))).eval()
    yield reference.train_mode(model, True), 2
    yield [one.training for one in model.modules()], [True, True, False, True, True, False]
    yield reference.train_mode(model, False), 0
    yield all(one.training for one in model.modules()), True


@independent("07.4")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_07.cases import random_norm

    norm, weight = random_norm(4, torch.Generator().manual_seed(0)), random(4, 3, 2, 2)
    layer = nn.Conv2d(3, 4, 2, bias=False)
    layer.weight.data = weight
    folded = quantization.fold_batchnorm(nn.Sequential(layer, norm).eval())[0]
    params = quantization.weight_params(folded.weight.detach(), 4)
    integers, scale, bias = reference.fold_and_quantize(weight, norm, 4)
    yield integers, quantization.quantize(folded.weight.detach(), params).to(torch.int8)
    yield scale, params.scale.flatten()
    yield bias, folded.bias.detach()


@independent("07.5")
def _(reference: ModuleType) -> Pairs:
    options = {"a": {2: (10, 5.0), 4: (20, 1.0), 8: (40, 0.0)}, "b": {2: (5, 9.0), 4: (10, 2.0)}}
    for budget, expected in ((100, {"a": 8, "b": 4}), (30, {"a": 4, "b": 4}), (29, {"a": 2, "b": 4}), (14, None)):
        yield reference.choose_bits(options, budget), expected


@independent("07.6")
def _(reference: ModuleType) -> Pairs:
    """Two steps of a linear layer with the gradient of the squared error written out."""
    torch.manual_seed(0)
    model, batches = (
        nn.Sequential(nn.Linear(4, 2, bias=False)).double(),
        [(random(6, 4).double(), random(6, 2).double())],
    )

    def rounded(weight: Tensor) -> Tensor:
        scale = weight.abs().amax(1, keepdim=True) / 7
        return scale * (weight / scale).round()

    weight = model[0].weight.detach().clone()
    for inputs, targets in batches * 2:
        errors = inputs @ rounded(weight).T - targets
        weight = weight - 0.05 * 2 * errors.T @ inputs / errors.numel()
    trained = reference.quantization_aware_training(model, batches, nn.MSELoss(), 4, 2, 0.05)
    yield trained[0].weight.detach(), rounded(weight)


@independent("08.1")
def _(reference: ModuleType) -> Pairs:
    """All columns in turn are the whole GPTQ of the package."""
    weight, rows = random(5, 8), random(40, 8, seed=1)
    hessian = (rows.T @ rows).double()
    params = quantization.choose_params(weight.amin(1), weight.amax(1), 3, False, axis=0)
    expected = quantization.gptq_matrix(weight, hessian, params, act_order=False).values()
    factor = inverse_factor(hessian)
    for column in range(8):
        weight = reference.gptq_step(weight.double(), factor, column, params.scale, params.zero_point, 3)
    yield weight.float(), expected


@independent("08.2")
def _(reference: ModuleType) -> Pairs:
    for count, width, damping in ((40, 6, 0.01), (3, 5, 0.1)):
        rows = random(count, width).double()
        yield reference.inverse_factor(rows, damping), inverse_factor(rows.T @ rows, damping)


@independent("08.3")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_08.playground import round_to_nearest

    weight, rows, alphas = random(4, 6), random(30, 6, seed=1) * torch.logspace(-1, 1, 6), [0.0, 0.5, 1.0]
    errors = []
    for alpha in alphas:
        scale = torch.tensor([(sum(abs(v) for v in column) / 30) ** alpha for column in rows.T.tolist()])
        new = torch.stack([row / scale for row in round_to_nearest(weight * scale, 3)])
        errors.append(statistics.fmean(((new - weight) @ row).square().sum().item() for row in rows))
    yield reference.search_alpha(weight, rows, 3, alphas), (alphas[min(range(3), key=errors.__getitem__)], errors)


@independent("08.4")
def _(reference: ModuleType) -> Pairs:
    for bits, group in ((4, 16), (3, 8), (2, 32)):
        for symmetric in (True, False):
            weight = random(6, 32)
            granularity = {"granularity": "group", "group_size": group, "scale_dtype": "fp16", "symmetric": symmetric}
            params = quantization.weight_params(weight, bits, **granularity)
            packed = quantization.pack(quantization.quantize_tensor(weight, params))
            found = reference.file_bytes((6, 32), bits, group, symmetric)
            yield found["codes"] + found["scales"] + found["zero_points"], packed.bytes
            yield found["bits_per_weight"], 8 * packed.bytes / weight.numel()


@independent("08.5")
def _(reference: ModuleType) -> Pairs:
    weight, rows, gain, shift = random(4, 6), random(20, 6, seed=1), random(6, seed=2), random(6, seed=3)
    largest = [(max(map(abs, x)), max(map(abs, w))) for x, w in zip(rows.T.tolist(), weight.T.tolist(), strict=True)]
    factors = torch.tensor([x**0.4 / w**0.6 for x, w in largest])
    package = quantization.smoothing_factors(rows.abs().amax(0), weight.abs().amax(0), 0.4)
    ratio = package / factors  # the package divides all factors by their geometric mean and stores them in fp16
    yield bool((ratio / ratio[0] - 1).abs().max() < 2e-3), True
    yield reference.smooth(weight, rows, gain, shift, 0.4), (weight * factors, gain / factors, shift / factors)


@independent("08.6")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_08 import playground

    found = playground.try_plan(*reference.plan())
    yield found.bits_per_weight <= 3.2 and found.error <= 0.01, True
    _, bits, group = reference.plan()
    yield found.bits_per_weight, bits + (16 + bits) / group


@independent("09.1")
def _(reference: ModuleType) -> Pairs:
    for temperature in (0.5, 1.0, 8.0):
        yield (
            reference.soft_targets(3 * random(4, 6), temperature),
            distillation.soft_targets(3 * random(4, 6), temperature),
        )


@independent("09.2")
def _(reference: ModuleType) -> Pairs:
    student, teacher, labels = random(4, 5), random(4, 5, seed=1), torch.tensor([2, 0, 1, 3])
    for alpha, temperature in ((0.0, 2.0), (0.7, 4.0), (1.0, 1.0)):
        expected = distillation.distillation_loss(student, teacher, labels, alpha, temperature)[0]
        yield reference.distillation_loss(student, teacher, labels, alpha, temperature), expected


@independent("09.3")
def _(reference: ModuleType) -> Pairs:
    """The gradient of the loss itself, in double precision at a very high temperature."""
    student, teacher = random(4, 6).double().requires_grad_(), 3 * random(4, 6, seed=1).double()
    distillation.soft_target_loss(student, teacher, 1e5).backward()
    yield reference.limit_gradient(student.detach(), teacher), student.grad


@independent("09.4")
def _(reference: ModuleType) -> Pairs:
    torch.manual_seed(0)
    module, mask = reference.FeatureLoss(3, 5), torch.tensor([[1, 1, 0], [1, 0, 0]])
    student, teacher = random(2, 3, 3), random(2, 3, 5, seed=1)
    linear = next(one for one in module.modules() if isinstance(one, nn.Linear))
    expected = distillation.hidden_state_loss(linear(student), teacher, mask)
    yield module(student, teacher, mask).detach(), expected.detach()


@independent("09.5")
def _(reference: ModuleType) -> Pairs:
    from course_lib.learning.exercises.lesson_09.cases import Distillation

    setting = Distillation.drawn(torch.Generator().manual_seed(0))
    teacher, student, optimizer = setting.networks()
    loss = reference.train_epoch(teacher, student, setting.batches, optimizer, 0.6, 3.0)
    other_teacher, other, _ = setting.networks()
    losses = []
    for inputs, labels in setting.batches:
        with torch.no_grad():
            targets = other_teacher.eval()(inputs)
        total = distillation.distillation_loss(other.train()(inputs), targets, labels, 0.6, 3.0)[0]
        gradients = torch.autograd.grad(total, list(other.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(other.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
        losses.append(total.item())
    yield loss, statistics.fmean(losses)
    yield student.state_dict(), other.state_dict()


@independent("10.1")
def _(reference: ModuleType) -> Pairs:
    for student, teacher in ((3, 6), (2, 6), (4, 6), (6, 6), (1, 12), (5, 12)):
        yield reference.layer_map(student, teacher), distillation.layer_map(student, teacher)


@independent("10.2")
def _(reference: ModuleType) -> Pairs:
    state = {"bert.embeddings.weight": random(2), "classifier.weight": random(3)}
    state |= {f"bert.encoder.layer.{number}.output.bias": random(2, seed=number) for number in range(12)}
    expected = {name: state[name] for name in ("bert.embeddings.weight", "classifier.weight")}
    expected |= {
        "bert.encoder.layer.0.output.bias": random(2, seed=1),
        "bert.encoder.layer.1.output.bias": random(2, seed=11),
    }
    yield reference.student_state(state, (1, 11)), expected


@independent("10.3")
def _(reference: ModuleType) -> Pairs:
    student, teacher = (random(4, 3), random(4, 5, 6, seed=1)), (random(4, 3, seed=2), random(4, 5, 6, seed=3))
    labels, mask = torch.tensor([0, 2, 1, 1]), (torch.arange(5) < torch.tensor([5, 2, 3, 1])[:, None]).long()
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (5.0, 2.0, 1.0)):
        hidden = (student[1], teacher[1], mask)
        expected = distillation.triple_loss(
            student[0], teacher[0], labels, *hidden, temperature=2.5, weights=weights
        )  # fmt: skip
        yield reference.triple_loss(student, teacher, labels, mask, 2.5, weights), expected


@independent("10.4")
def _(reference: ModuleType) -> Pairs:
    """The same mean over the pairs of words, sentence by sentence and pair by pair."""
    student, teacher = random(3, 2, 5, 5).softmax(-1), random(3, 6, 5, 5, seed=1).softmax(-1)
    lengths = [5, 2, 3]
    mask = (torch.arange(5) < torch.tensor(lengths)[:, None]).long()
    squares = [
        (student[s, :, i, j].mean() - teacher[s, :, i, j].mean()).item() ** 2
        for s, length in enumerate(lengths) for i, j in itertools.product(range(length), repeat=2)
    ]  # fmt: skip
    yield reference.attention_loss(student, teacher, mask), torch.tensor(statistics.fmean(squares))


@independent("10.5")
def _(reference: ModuleType) -> Pairs:
    """Linear students, whose gradient is that of the soft targets: T · (q - p) / N times the inputs."""
    torch.manual_seed(0)
    teacher, students = nn.Linear(4, 3, bias=False), [nn.Linear(4, 3, bias=False) for _ in range(2)]
    inputs, temperature, rate, share = random(12, 4), 2.0, 0.3, 0.4
    finished, agreement = reference.distil_in_stages(teacher, students, inputs, temperature, 5, rate, share)
    original = (inputs @ teacher.weight.T).detach()
    previous, weights, shares = original, [], []
    for student in students:
        target, weight = ((share * original + (1 - share) * previous) / temperature).softmax(1), student.weight.detach()
        for _ in range(5):
            difference = (inputs @ weight.T / temperature).softmax(1) - target
            weight = weight - rate * temperature * difference.T @ inputs / len(inputs)
        previous = inputs @ weight.T
        weights.append(weight)
        shares.append((previous.argmax(1) == original.argmax(1)).float().mean().item())
    yield [one.weight.detach() for one in finished], weights
    yield agreement, shares


@independent("11.1")
def _(reference: ModuleType) -> Pairs:
    for rows, columns in ((512, 4608), (4, 4), (6, 3), (1, 1), (7, 11)):
        yield reference.break_even_rank(rows, columns), lowrank.break_even_rank(rows, columns)


@independent("11.2")
def _(reference: ModuleType) -> Pairs:
    torch.manual_seed(0)
    layer = nn.Linear(9, 6)
    for rank in (1, 3, 6):
        first, second = reference.svd_layer(layer, rank)
        right, left = lowrank.svd_factors(layer.weight.detach(), rank)
        yield (second.weight @ first.weight).detach(), left @ right
        yield second.bias.detach(), layer.bias.detach()


@independent("11.3")
def _(reference: ModuleType) -> Pairs:
    for weight in (random(12, 20), random(8, 4, 3, 3), torch.diag(torch.tensor([4.0, 2.0, 1.0]))):
        for share in (0.0, 0.5, 0.9):
            expected = lowrank.rank_for_energy(lowrank.singular_values(weight), share)
            yield reference.rank_for_energy(weight, share), expected


@independent("11.4")
def _(reference: ModuleType) -> Pairs:
    """Three real convolutions, counted by PyTorch."""
    layers = nn.Sequential(
        nn.Conv2d(6, 2, 1, bias=False), nn.Conv2d(2, 3, 5, 2, padding=2, bias=False), nn.Conv2d(3, 10, 1, bias=False)
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layers(torch.zeros(1, 6, 7, 9))
    found = reference.tucker_cost(10, 6, 5, 2, 3, 7, 9, 2)
    yield found["macs"], counter.get_total_flops() // 2
    yield found["parameters"], sum(parameter.numel() for parameter in layers.parameters())
    yield found["shapes"], [tuple(layer.weight.shape) for layer in layers]


@independent("11.5")
def _(reference: ModuleType) -> Pairs:
    """PCA of the outputs: their leading directions, without whitening."""
    weight, inputs = random(6, 9), random(60, 9, seed=1) @ torch.diag(torch.logspace(0.7, -1, 9))
    for rank in (1, 3):
        outputs = inputs.double() @ weight.double().T
        directions = torch.linalg.eigh(outputs.T @ outputs).eigenvectors[:, -rank:]
        yield reference.data_aware_weight(weight, inputs, rank), (directions @ directions.T @ weight.double()).float()


@independent("11.6")
def _(reference: ModuleType) -> Pairs:
    model = nn.Sequential(nn.Linear(9, 6, bias=False))
    adapted = lowrank.add_lora(model, 2, ["0"], alpha=4.0)
    for seed, parameter in enumerate(one for one in adapted.parameters() if one.requires_grad):
        parameter.data = random(*parameter.shape, seed=seed)
    down, up = sorted((one.data for one in adapted.parameters() if one.requires_grad), key=lambda one: one.shape[0])
    merged = lowrank.merge_lora(adapted)[0].weight.detach()
    yield reference.lora_weight(model[0].weight.detach(), down, up, 4.0), merged


@independent("12.1")
def _(reference: ModuleType) -> Pairs:
    """The package's step sorts the centroids; the printed example by hand."""
    for values, centroids in ((random(30), T([-1.0, 0.1, 0.9])), (T([0.0, 1.0, 5.0]), T([0.0, 50.0]))):
        indices, moved = reference.kmeans_step(values, centroids)
        yield indices, coding.assign(values, centroids)
        yield moved.sort().values, coding.update(values, indices, centroids)
    yield reference.kmeans_step(T([0.0, 1.0, 2.0, 10.0]), T([0.0, 5.0, 10.0])), (T([0, 0, 0, 2]), T([1.0, 0.0, 10.0]))


@independent("12.2")
def _(reference: ModuleType) -> Pairs:
    for counts in ([5, 1, 1, 0, 9], [1, 1, 1, 1, 1], [3], [1, 2, 4, 8, 16, 31]):
        lengths = coding.code_lengths(counts)
        yield reference.canonical_codes(lengths), coding.canonical_codes(lengths)
    yield reference.canonical_codes([2, 3, 0, 1, 3]), {3: "0", 0: "10", 1: "110", 4: "111"}


@independent("12.3")
def _(reference: ModuleType) -> Pairs:
    for counts in ([5, 1, 1, 0, 9], [1, 1, 1, 1, 1], [3], [1, 2, 4, 8, 16, 31]):
        yield reference.entropy_and_length(counts), (coding.entropy(counts), coding.huffman_bits_per_symbol(counts))


@independent("12.4")
def _(reference: ModuleType) -> Pairs:
    """The package's coder; and the message comes back."""
    generator = torch.Generator().manual_seed(0)
    for length in (0, 1, 7, 50):
        message = torch.randint(0, 3, (length,), generator=generator).tolist()
        bits = reference.arithmetic_encode(message, [9, 2, 5])
        yield bits, coding.arithmetic_encode(message, [9, 2, 5])
        yield coding.arithmetic_decode(bits, [9, 2, 5], length), message


@independent("12.5")
def _(reference: ModuleType) -> Pairs:
    weights, bits = random(200).clamp(-2.4, 2.4), 1 + 3 * torch.rand(11, generator=torch.Generator().manual_seed(1))
    for lam in (0.0, 0.05, 0.3):
        expected = coding.rdoq(weights, 0.5, lam, lambda levels: bits[levels.long() + 5])
        yield reference.rdoq(weights, 0.5, lam, bits), expected.long()


@independent("12.6")
def _(reference: ModuleType) -> Pairs:
    for counts in ([5, 2, 1], [70, 9, 9, 1, 1, 1], [12]):
        lengths = coding.code_lengths(counts)
        fixed = math.ceil(coding.codebook_bits(sum(counts), len(counts), 0) / 8) + 4 * len(counts)
        words = math.ceil(
            len(coding.encode(range(len(counts)), {s: "0" * n * counts[s] for s, n in enumerate(lengths)})) / 8
        )
        coded = words + math.ceil(5 * len(counts) / 8) + 4 * len(counts)
        yield reference.layer_bytes(counts, lengths, 4), {"fixed": fixed, "huffman": coded}


@independent("13.1")
def _(reference: ModuleType) -> Pairs:
    """Two steps of phi with EfficientNet's bases, by the functions of the package."""
    found = reference.compound_scaling([2, 3], [24, 100], 224, 4.0, 1.2, 1.1, 1.15)
    scaling = search.compound_scaling(2)
    yield found["phi"], 2
    yield found["layers"], [search.scaled_layers(count, scaling.depth) for count in (2, 3)]
    yield found["channels"], [search.scaled_channels(count, scaling.width) for count in (24, 100)]
    yield found["resolution"], scaling.resolution


@independent("13.2")
def _(reference: ModuleType) -> Pairs:
    """With all channels the pair computes the same; the first ones have the largest filters."""
    first, bias, second, image = random(6, 3, 3, 3), random(6, seed=1), random(4, 6, 3, 3, seed=2), random(1, 3, 9, 9)
    sorted_first, sorted_bias, sorted_second = reference.first_channels(first, bias, second, 6)
    before = F.conv2d(F.conv2d(image, first, bias).relu(), second)
    yield F.conv2d(F.conv2d(image, sorted_first, sorted_bias).relu(), sorted_second), before
    norms = sorted((filter.abs().sum().item() for filter in first), reverse=True)
    kept = reference.first_channels(first, bias, second, 2)
    yield [filter.abs().sum().item() for filter in kept[0]], norms[:2]
    yield kept[2], sorted_second[:, :2]


@independent("13.3")
def _(reference: ModuleType) -> Pairs:
    """BatchNorm itself, on all images as one batch."""
    batches = [random(4, 3, 2, 2) + 5, random(7, 3, 2, 2, seed=1) - 1]
    images = torch.cat(batches)
    mean, var = reference.batchnorm_statistics(batches)
    yield F.batch_norm(images, mean, var, eps=1e-9), F.batch_norm(images, None, None, training=True, eps=1e-9)


@independent("13.4")
def _(reference: ModuleType) -> Pairs:
    """Deb's rules of the package, which takes the violation of the limit."""
    nets = [
        (place, score, cost) for place, (score, cost) in enumerate([(5, 9), (3, 2), (4, 4), (9, 6), (1, 4), (4, 3)])
    ]
    for limit in (1, 4, 9):
        expected = search.evolution_step([(net, score, max(0, cost - limit)) for net, score, cost in nets], 4)
        found = reference.survivors([((net,), score, cost) for net, score, cost in nets], limit, 4)
        yield [net for (net,) in found], expected


@independent("13.5")
def _(reference: ModuleType) -> Pairs:
    accuracy, latency = (random(30, seed=1).round(decimals=1).tolist(), random(30, seed=2).round(decimals=1).tolist())
    front = search.pareto_front([(-one, ms) for one, ms in zip(accuracy, latency, strict=True)])
    yield reference.pareto_front(accuracy, latency), front


@independent("13.6")
def _(reference: ModuleType) -> Pairs:
    """The parts of a subnet of the package whose blocks are as wide inside as outside."""
    subnet = search.Subnet(56, (2, 1, 2, 2), (16, 24, 48, 96), (1.0,) * 4)
    blocks = [part for part in search.parts_of(subnet) if part.kind == "block"]
    table = {(part.inputs, part.outputs, part.size, part.stride): 0.25 + place for place, part in enumerate(blocks)}
    times = [table[part.inputs, part.outputs, part.size, part.stride] for part in blocks]
    found = reference.table_latency(table, [16, 24, 48, 96], [2, 1, 2, 2], blocks[0].size, 0.5, 0.125)
    yield found, 0.5 * sum(times) + 0.125
