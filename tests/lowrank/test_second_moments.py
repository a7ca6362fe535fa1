"""Output moments equal those of the covariance, and padding does not count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import lowrank
from course_lib.data import Split
from tests.toys import vectors


def test_moments_are_those_of_the_outputs_without_bias(cnn, mlp):
    split = vectors("train")
    outputs = split.inputs @ mlp[1].weight.T
    moments = lowrank.output_moments(mlp, split, ["1"], batch_size=40)
    assert torch.allclose(moments["1"].float(), outputs.T @ outputs / len(split), atol=1e-4)
    images = Split("toy", "train", torch.randn(5, 3, 8, 8), torch.zeros(5).long(), ("a",))
    planes = torch.nn.functional.conv2d(images.inputs, cnn[0].weight, padding=1).movedim(1, -1).reshape(-1, 24)
    found = lowrank.output_moments(cnn, images, ["0"])["0"]
    assert torch.allclose(found.float(), planes.T @ planes / len(planes), atol=1e-4)


def test_padding_does_not_count(bert):
    ids, mask = torch.randint(1, 50, (4, 6)), torch.tensor([[1, 1, 1, 0, 0, 0]] * 3 + [[1] * 6])
    name = "bert.encoder.layer.0.intermediate.dense"
    split = Split("toy", "train", {"input_ids": ids, "attention_mask": mask}, torch.zeros(4).long(), ("a", "b"))
    changed = {"input_ids": torch.where(mask.bool(), ids, 7), "attention_mask": mask}
    other = Split("toy", "train", changed, split.labels, split.classes)
    one, two = (lowrank.output_moments(bert, some, [name])[name] for some in (split, other))
    assert torch.allclose(one, two, atol=1e-5)


def test_unknown_layers_have_no_moments(mlp):
    with pytest.raises(ValueError, match="got '2'"):
        lowrank.output_moments(mlp, vectors("train"), ["2"])


def test_a_layer_that_is_never_called_is_refused():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(12, 4), nn.Linear(12, 4)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="layer 'unused' is never called"):
        lowrank.output_moments(Unused(), vectors("train"), ["used", "unused"])


def test_channels_of_a_one_dimensional_convolution_are_dimension_one():
    layer, sequences = nn.Conv1d(3, 5, 3), torch.randn(4, 3, 9)
    split = Split("toy", "train", sequences, torch.zeros(4).long(), ("a",))
    outputs = (layer(sequences) - layer.bias[:, None]).movedim(1, -1).reshape(-1, 5)
    moment = lowrank.output_moments(nn.Sequential(layer), split, ["0"])["0"]
    assert torch.allclose(moment.float(), outputs.T @ outputs / len(outputs), atol=1e-5)
