"""AdvancedQuantizer does for real what its two methods say, and leaves the model alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import data, models, storage
from course_lib.architectures import input_quantizers
from course_lib.quantization import AdvancedQuantizer, quantized_weights

TINY = {"builder": "mlp", "arguments": {"sizes": [6, 30, 20, 3]}}


def split(name: str = "train", examples: int = 96) -> data.Split:
    inputs = torch.randn(examples, 6, generator=torch.Generator().manual_seed(0))
    return data.Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.build(TINY)


def test_both_ways_start_from_the_model_and_come_back_from_a_file(model, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantizer = AdvancedQuantizer(model, split())
    rounded = quantizer.post_training_quantization(bits=4)
    trained = quantizer.quantization_aware_training(bits=4, activation_bits=4, epochs=1, progress=False)
    inputs = split("validation").inputs
    for name, result in {"rounded": rounded, "trained": trained}.items():
        again = storage.load(storage.save(result.model, tmp_path / f"{name}.safetensors"))
        assert torch.equal(again(inputs), result.model(inputs))
        assert len(quantized_weights(again)) == len(input_quantizers.input_grids(again)) == 3
        assert len(result.report) == 3 and set(result.report["bits"]) <= {4, 8}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_defaults_are_those_of_the_page(model):
    result = AdvancedQuantizer(model, split()).quantization_aware_training(progress=False)
    assert len(result.history.train_loss) == 3 and set(result.report["bits"]) == {8}


def test_bad_input_is_said_at_once(model):
    with pytest.raises(data.TestSplitError):
        AdvancedQuantizer(model, split("test"))
    with pytest.raises(ValueError, match="empty"):
        AdvancedQuantizer(model, split(examples=0))
    with pytest.raises(TypeError, match="must be a Split"):
        AdvancedQuantizer(model, [torch.randn(4, 6)])
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        AdvancedQuantizer(nn.Sequential(nn.ReLU()), split())
