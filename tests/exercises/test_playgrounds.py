"""What learners import for their exercises measures as the course does, and imports no package of a technique."""

from __future__ import annotations

import ast

import pytest

from course_lib import models, pruning, quantization, training
from course_lib.grading.assignment import EXERCISES
from course_lib.grading.visible_files import TECHNIQUES
from course_lib.learning.exercises.lesson_03 import playground as magnitudes
from course_lib.learning.exercises.lesson_04 import playground as widths
from course_lib.learning.exercises.lesson_05 import playground as bits
from course_lib.learning.exercises.lesson_08 import playground as plans


def accuracy(model):
    return training.evaluate(model, magnitudes.split("validation")).accuracy


@pytest.mark.parametrize("sparsities", [(0.86, 0.85, 0.2), (0.99, 0.3, 0.0)])
def test_pruning_layer_by_layer(sparsities):
    weights = pruning.layer_weights(magnitudes.lenet())
    pairs = zip(weights.items(), sparsities, strict=True)
    masks = {name: pruning.magnitude_mask(weight, sparsity) for (name, weight), sparsity in pairs}
    pruned = pruning.pruned_copy(magnitudes.lenet(), masks)
    found = magnitudes.try_sparsities(sparsities)
    assert (found.zeros, found.accuracy) == (pytest.approx(pruning.sparsity(pruned)), accuracy(pruned))


@pytest.mark.parametrize("kept", [(150, 50), (20, 80)])
def test_narrowing(kept):
    coupling = pruning.couple(magnitudes.lenet())
    counts = dict(zip(coupling.prunable(), kept, strict=True))
    narrow = pruning.prune_channels(magnitudes.lenet(), counts, criterion="l2", coupling=coupling).model
    assert widths.try_widths(kept).accuracy == pytest.approx(accuracy(narrow), abs=0.001)


@pytest.mark.parametrize("chosen", [(3, 2, 8), (2, 5, 2)])
def test_rounding(chosen):
    layers = models.prunable_layers(magnitudes.lenet())
    schemes = {name: quantization.Scheme(some) for name, some in zip(layers, chosen, strict=True)}
    rounded = quantization.quantize_weights(magnitudes.lenet(), overrides=schemes)
    assert bits.try_bits(chosen).accuracy == pytest.approx(accuracy(rounded), abs=0.001)


@pytest.mark.parametrize("plan", [("rtn", 3, 64), ("gptq", 3, 128), ("awq", 4, None)])
def test_the_table_of_plans_is_measured(plan):
    import exercise_plans

    measured, found = exercise_plans.measure(*plan), plans.try_plan(*plan)
    assert found.bits_per_weight == pytest.approx(measured.bits_per_weight)
    assert found.error == pytest.approx(measured.error, rel=0.02)


def test_every_plan_is_in_the_table():
    every = [(method, number, size) for method in plans.METHODS for number in (2, 3, 4) for size in plans.GROUP_SIZES]
    assert all(0 < plans.try_plan(*one).error < 1 for one in every)
    with pytest.raises(ValueError, match="bits must be one of"):
        plans.try_plan("rtn", 5, 64)


@pytest.mark.parametrize("playground", sorted(EXERCISES.glob("*/playground.py")), ids=lambda path: path.parent.name)
def test_no_playground_imports_a_technique(playground):
    tree = ast.parse(playground.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{alias.name}".split(".") for node in imports for alias in node.names]
    assert not [parts for parts in names if parts[0] == "course_lib" and parts[1] in TECHNIQUES]
