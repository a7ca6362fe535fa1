"""Models that compute something else have another fingerprint; copies and other weights have the same."""

import copy

import torch
from torch import nn

from course_lib import models, profiling
from course_lib.profiling import export
from course_lib.profiling.fingerprint import fingerprint
from tests.toys import one_layer_bert


def define(expression):
    """A class ``Net`` as a notebook cell defines it: always the same name, shapes and repr."""

    class Net(nn.Module):
        def __init__(self, power=1):
            super().__init__()
            torch.manual_seed(0)
            self.linear, self.power = nn.Linear(4, 3), power

        def forward(self, x):
            return expression(self.linear(x)) ** self.power

    return Net


def test_copies_and_other_weights_have_the_same_fingerprint():
    for model in (one_layer_bert(), models.build({"builder": "resnet18", "arguments": {}}), define(torch.sin)()):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
        assert fingerprint(other.train()) == fingerprint(model)
    assert fingerprint(one_layer_bert()) == fingerprint(one_layer_bert())


def test_code_settings_hooks_and_constants_make_another_model():
    net = define(torch.sin)
    seen = [fingerprint(net()), fingerprint(net(power=2)), fingerprint(define(torch.sin)())]
    hooked, constant, other_constant = net(), net(), net()
    hooked.linear.register_forward_hook(lambda module, inputs, output: -output)
    constant.register_buffer("shift", torch.zeros(2), persistent=False)
    other_constant.register_buffer("shift", torch.ones(2), persistent=False)
    seen += [fingerprint(model) for model in (hooked, constant, other_constant)]
    assert len(set(seen)) == len(seen)


def test_a_class_that_is_defined_again_gets_its_own_graph(monkeypatch):
    traced, original = [], export._trace
    monkeypatch.setattr(export, "_trace", lambda *given: (traced.append(1), original(*given))[1])
    inputs = torch.randn(2, 4)
    for expression in (torch.sin, torch.exp):
        model = define(expression)().eval()
        with profiling.onnx(model, inputs, threads=1) as runner, torch.no_grad():
            assert torch.allclose(runner(), model(inputs), atol=1e-5)
    assert len(traced) == 2
