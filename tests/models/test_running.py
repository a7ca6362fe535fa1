"""Forward passes, eval mode, and the layers that are compressed."""

import pytest
import torch
from torch import nn

from course_lib import models
from tests.toys import one_layer_bert


def test_forward_returns_logits_for_tensors_and_for_token_dicts():
    mlp = models.build({"builder": "mlp", "arguments": {"sizes": [4, 3, 2]}})
    assert models.forward(mlp, torch.zeros(5, 2, 2)).shape == (5, 2)
    bert = one_layer_bert()
    tokens = {"input_ids": torch.ones(3, 4, dtype=torch.long), "attention_mask": torch.ones(3, 4, dtype=torch.long)}
    assert models.forward(bert, tokens).shape == (3, 2)


def test_prunable_layers_are_convolutions_and_linears_in_model_order():
    names = list(models.prunable_layers(models.build({"builder": "resnet18", "arguments": {}})))
    assert names[0] == "conv1" and names[-1] == "fc" and len(names) == 21


def test_evaluating_gives_each_module_its_own_mode_back():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()).train()
    model[0].eval()
    with pytest.raises(KeyError), models.evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, False, True]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: (x, x), "returned a tuple"),
        (lambda x: {"boxes": x, "classes": x}, "returned a dict with boxes, classes"),
        (lambda x: None, "returned a NoneType"),
    ],
)
def test_an_output_without_logits_is_refused_with_the_remedy(output, message):
    class Net(nn.Module):
        def forward(self, x):
            return output(x)

    with pytest.raises(ValueError, match=rf"model Net must return .*{message}; wrap it"):
        models.forward(Net(), torch.zeros(2, 3))


def test_a_dict_with_one_tensor_holds_the_logits():
    class Net(nn.Module):
        def forward(self, x):
            return {"cls": x}

    assert torch.equal(models.forward(Net(), torch.ones(2, 3)), torch.ones(2, 3))
