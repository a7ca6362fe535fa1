"""What an answer uses is read from its code: imports, attributes, helpers and classes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import prune

from course_lib import pruning
from course_lib.learning import CheckFailed, check
from course_lib.learning.excluded import excluded_use
from course_lib.pruning import magnitude_mask

EXCLUDED = ("torch.nn.utils.prune", "course_lib.pruning", "torch.fake_quantize_per_tensor_affine")


def helper(weight):
    return magnitude_mask(weight, 0.5)


def by_helper(weight):
    return helper(weight)


def by_module(weight, sparsity):
    return pruning.magnitude_mask(weight, sparsity)


def imported_inside(layer):
    from torch.nn.utils import prune as other

    return other.remove(layer, "weight")


def imported_as_a_whole(layer):
    import torch.nn.utils.prune as other

    return other.remove(layer, "weight")


def dotted(layer):
    return torch.nn.utils.prune.remove(layer, "weight")


def of_the_library(x):
    return torch.fake_quantize_per_tensor_affine(x, 1.0, 0, -2, 1)


class Pruner:
    def run(self, layers):
        return [prune.remove(layer, "weight") for layer in layers]


@pytest.mark.parametrize(
    "used",
    [
        helper,
        by_helper,
        by_module,
        imported_inside,
        imported_as_a_whole,
        dotted,
        of_the_library,
        Pruner,
        magnitude_mask,
    ],
    ids=lambda one: one.__name__,
)
def test_excluded_functions_are_found_wherever_they_are_used(used):
    found = excluded_use(used, EXCLUDED)
    assert found is not None and found.startswith(EXCLUDED)


def allowed(layer):
    return layer.prune, torch.nn.functional.relu(layer.weight), pruned(layer)


def pruned(layer):
    return layer


@pytest.mark.parametrize("used", [allowed, pruned, torch.nn.Linear, len, lambda x: x.prune])
def test_ordinary_code_is_allowed(used):
    assert excluded_use(used, EXCLUDED) is None


def test_nothing_is_read_where_nothing_is_excluded():
    assert excluded_use(by_module, ()) is None


def test_the_check_refuses_an_excluded_function(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "memory")
    with pytest.raises(CheckFailed, match=r"uses `course_lib\.pruning.*which is what this exercise rebuilds"):
        check("03.1", by_module)
