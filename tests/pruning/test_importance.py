"""Every criterion scores every group, from weights or from gradients that are never taken on test."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import pruning
from course_lib.data import Split, TestSplitError
from course_lib.pruning import couple


@pytest.mark.parametrize("criterion", pruning.CRITERIA)
def test_every_criterion_scores_every_group_with_mean_one(resnet, images, criterion):
    scores = pruning.channel_importance(resnet, criterion, split=images, batches=2, batch_size=8)
    assert set(scores) == set(couple(resnet).prunable())
    assert all(torch.isclose(one.mean(), torch.tensor(1.0), atol=1e-4) for one in scores.values())
    assert all(parameter.grad is None for parameter in resnet.parameters())


def test_criteria_compute_what_they_are_named_after():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]))
        model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 3))
    model[0].weight.grad = torch.ones_like(model[0].weight)
    assert pruning.channel_importance(model, "l1")["0"].argsort().tolist()[0] == 2
    assert model[0].weight.grad is not None, "looking at weights leaves gradients alone"
    l2 = pruning.channel_importance(model, "l2")["0"]
    assert l2[1] > l2[0] > l2[2]
    data = Split("toy", "train", torch.tensor([[1.0, 0.0]] * 4), torch.zeros(4).long(), ("a", "b"))
    for criterion in ("taylor", "fisher"):
        assert pruning.channel_importance(model, criterion, split=data, batches=1, batch_size=4)["0"][2] == 0


def test_gradients_are_never_taken_on_the_test_split(model, test_split):
    for criterion in ("taylor", "fisher"):
        with pytest.raises(TestSplitError):
            pruning.channel_importance(model, criterion, split=test_split)
        with pytest.raises(ValueError, match="split must be given"):
            pruning.channel_importance(model, criterion)
    with pytest.raises(ValueError, match="finds no channel"):
        pruning.channel_importance(model, "batchnorm_scale")


def test_a_frozen_layer_has_no_gradient_to_score(resnet, images):
    resnet.layer1[0].conv1.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"layer 'layer1\.0\.conv1' has no gradient.*'l2'"):
        pruning.channel_importance(resnet, "taylor", split=images, batches=1, batch_size=8)
