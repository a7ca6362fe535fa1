"""The Fisher information against a derivation by hand and against sums over all classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import coding, models
from course_lib.data import Split, TestSplitError


class Scores(nn.Module):
    """Logits ``w x`` of two classes, the second always 0."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.3, -0.2]))

    def forward(self, inputs):
        score = inputs @ self.w
        return torch.stack([score, torch.zeros_like(score)], dim=1)


def split(size=4000, name="train"):
    inputs = torch.randn(size, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 2.0])
    return Split("scores", name, inputs, torch.zeros(size, dtype=torch.int64), ("one", "two"))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_it_is_that_of_logistic_regression(temperature):
    """F = E[p (1 - p) x²] / T², with p = sigmoid(w x / T)."""
    model, data = Scores(), split()
    found = coding.fisher_information(model, data, temperature=temperature, batch_size=1)["w"]
    p = (data.inputs @ model.w.detach() / temperature).sigmoid()
    wanted = (p * (1 - p))[:, None].mul(data.inputs.square()).mean(0) / temperature**2
    assert torch.allclose(found, wanted, rtol=0.12)


def test_it_is_the_expectation_over_the_models_own_labels(folded, train):
    name = "fc.weight"
    found = coding.fisher_information(folded, train, [name], batch_size=4)
    assert list(found) == [name]
    total = torch.zeros_like(folded.fc.weight)
    for inputs, _ in train.batches(1):
        logits = models.forward(folded, inputs)
        for label, p in enumerate(logits.softmax(1)[0]):
            (gradient,) = torch.autograd.grad(logits.log_softmax(1)[0, label], [folded.fc.weight], retain_graph=True)
            total += p.detach() * gradient.square()
    assert found[name].sum().item() == pytest.approx((total / len(train)).sum().item(), rel=0.5)


def test_labels_are_not_read_and_the_model_is_not_changed(folded, train):
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    other = Split("noise", "train", train.inputs, 9 - train.labels, train.classes)
    one, two = (coding.fisher_information(folded, data) for data in (train, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(torch.equal(before[name], value) for name, value in folded.state_dict().items())
    assert all(parameter.grad is None for parameter in folded.parameters())


def test_the_seed_decides_about_the_labels(folded, train):
    first, again, other = (coding.fisher_information(folded, train, seed=seed)["fc.bias"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_test_split_and_no_examples_are_refused(folded, train):
    with pytest.raises(TestSplitError):
        coding.fisher_information(folded, Split("noise", "test", train.inputs, train.labels, train.classes))
    with pytest.raises(ValueError, match="at least one example"):
        coding.fisher_information(folded, train.take(torch.tensor([], dtype=torch.int64)))
    with pytest.raises(ValueError, match="temperature"):
        coding.fisher_information(folded, train, temperature=0.0)
