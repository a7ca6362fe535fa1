"""Training through the coder: expectations and bits by hand, straight-through gradients, fewer bits on one grid."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from course_lib import coding, models, storage
from course_lib.coding.training import RoundedWeight
from course_lib.data import TestSplitError
from tests.coding.conftest import images


def test_expectations_are_products_of_row_and_column_means():
    levels = torch.tensor([[2, -4], [0, 2]])
    # rows 3 and 1, columns 1 and 3, mean 2
    assert coding.expected_magnitudes(levels).tolist() == [[1.5, 4.5], [0.5, 1.5]]


def test_expectations_of_a_convolution_are_those_of_its_kernels():
    levels = torch.tensor([[[[2, -2]], [[4, 4]]], [[[0, 0]], [[1, 3]]]])
    found = coding.expected_magnitudes(levels)
    assert found.shape == levels.shape
    assert found[..., 0, 0].tolist() == found[..., 0, 1].tolist() == [[1.5, 4.5], [0.5, 1.5]]


def test_a_row_without_levels_expects_little_but_not_nothing():
    assert coding.expected_magnitudes(torch.tensor([[0, 0], [1, 1]]))[0].tolist() == pytest.approx([0.02, 0.02])
    assert coding.expected_magnitudes(torch.tensor([2, 4])).tolist() == [3, 3]


def test_bits_by_hand():
    """All levels ±1, so the expectation is 1: each costs 1 · log2(2) + log2(2) + a sign = 3 bits."""
    assert coding.expected_bits(torch.tensor([[0.5, -0.5], [0.5, 0.5]]), torch.tensor(0.5)).item() == 12


def test_bits_are_the_code_length_of_geometric_levels():
    """Of magnitudes with P(q) = (1 - θ) θ^q with θ = m / (1 + m), all rows and columns alike."""
    m, generator = 0.7, torch.Generator().manual_seed(0)
    levels = torch.empty(300, 300).exponential_(math.log((1 + m) / m), generator=generator).floor()
    signs = torch.randint(0, 2, levels.shape, generator=generator) * 2 - 1
    found = coding.expected_bits((levels * signs).float(), torch.tensor(1.0)).item()
    ideal = -(levels * math.log2(m / (1 + m)) - math.log2(1 + m)).sum().item() + int((levels > 0).sum())
    assert found == pytest.approx(ideal, rel=0.01)


def test_the_gradient_of_the_bits_is_larger_where_levels_are_rare():
    weight = torch.tensor([[4.0, 4.0], [0.2, 0.2]], requires_grad=True)
    coding.expected_bits(weight, torch.tensor([1.0, 1.0])).backward()
    assert (weight.grad > 0).all() and weight.grad[1].min() > weight.grad[0].max()


def test_rounding_is_straight_through():
    weight = torch.tensor([[0.3, 0.8], [0.3, -0.8]], requires_grad=True)
    rounded = RoundedWeight(torch.tensor([0.5, 1.0]))(weight)
    assert torch.allclose(rounded, torch.tensor([[0.5, 1.0], [0.0, -1.0]]))
    rounded.backward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert weight.grad.tolist() == [[1, 2], [3, 4]]


@pytest.fixture(scope="module")
def start(folded, train):
    fisher = coding.fisher_information(folded, train)
    return coding.quantize_sequentially(folded, train, fisher, 0.003)


def bits(model):
    return storage.code_length([levels for levels, _ in coding.levels_of(model).values()])


def trained(start, folded, train, lam, epochs=3, **options):
    settings = {"epochs": epochs, "learning_rate": 0.005, "batch_size": 16, "optimizer": "adamw", "progress": False}
    return coding.train_through_coder(start, train, teacher=folded, lam=lam, **settings | options)[0]


def test_a_price_of_bits_gives_a_smaller_file_on_the_same_grid(start, folded, train, tmp_path):
    before = copy.deepcopy(start.state_dict())
    free, priced = (trained(start, folded, train, lam) for lam in (0.0, 3.0))
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in before.items())
    assert bits(priced) < 0.9 * bits(start) and bits(priced) < bits(free)
    for name, (_, steps) in coding.levels_of(priced).items():
        assert torch.equal(steps, coding.levels_of(start)[name][1])
    loaded = storage.load(storage.save(priced, tmp_path / "t.safetensors", coder="arithmetic", dtype="fp16"))
    pictures = train.example(4)
    assert torch.equal(models.forward(loaded, pictures), models.forward(priced, pictures))


def test_training_without_a_price_comes_closer_to_the_teacher(folded, train):
    pictures, fisher = train.example(48), coding.fisher_information(folded, train)
    coarse = coding.quantize_sequentially(folded, train, fisher, 0.01, match=False)
    wanted = models.forward(folded, pictures)
    tuned = trained(coarse, folded, train, 0.0, epochs=8)
    gaps = [(models.forward(one, pictures) - wanted).abs().mean().item() for one in (tuned, coarse)]
    assert gaps[0] < 0.85 * gaps[1]


def test_no_label_is_read(start, folded, train):
    from course_lib.data import Split

    other = Split("noise", "train", train.inputs, 9 - train.labels, train.classes)
    one, two = (trained(start, folded, split, 0.5, epochs=1) for split in (train, other))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_bad_arguments_are_refused(start, folded, train):
    with pytest.raises(ValueError, match="no weights on uniform grids"):
        trained(folded, folded, train, 0.1)
    with pytest.raises(ValueError, match="lam must be at least 0"):
        trained(start, folded, train, -0.1)
    with pytest.raises(TestSplitError):
        trained(start, folded, images("test"), 0.1)
