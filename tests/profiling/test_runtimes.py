"""Runners on both runtimes, against each other."""

import math

import pytest
import torch
from torch import nn

from course_lib import profiling
from course_lib.architectures import input_quantizers
from course_lib.profiling import export, runtimes
from tests.profiling.networks import TOKENS, bert, mlp


def test_eager_sets_its_threads_and_puts_them_back():
    before = torch.get_num_threads()
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((torch.get_num_threads(), torch.is_grad_enabled(), self.training))
            return x

    runner = profiling.eager(Spy(), torch.ones(1, 2), threads=3)
    assert torch.equal(runner(), torch.ones(1, 2))
    assert seen == [(3, False, False)]
    assert torch.get_num_threads() == before


def test_a_closed_runner_says_so():
    with profiling.eager(mlp(2, 2), torch.ones(1, 2)) as runner:
        runner()
    with pytest.raises(RuntimeError, match="the eager runner is closed"):
        runner()


def test_a_runtime_that_gives_other_logits_is_an_error(monkeypatch):
    monkeypatch.setattr(runtimes, "_agrees", lambda *_: False)
    monkeypatch.setattr(runtimes, "export_onnx", lambda model, inputs, fresh=False: export.export_onnx(model, inputs))
    with pytest.raises(profiling.RuntimeMismatchError, match="differ by up to"):
        profiling.onnx(mlp(6, 5, 3), torch.randn(4, 6))


def test_agreement_is_judged_on_the_scale_of_the_logits():
    big = torch.tensor([[1000.0, -5.0]])
    assert runtimes._agrees(big + 0.5, big)
    assert not runtimes._agrees(big + 5, big)
    assert not runtimes._agrees(torch.tensor([[0.1]]), torch.tensor([[0.2]]))
    assert not runtimes._agrees(torch.zeros(2, 1), torch.zeros(1, 1))
    assert not runtimes._agrees(torch.tensor([[math.nan]]), torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("shift", "rounded", "agrees"), [(0.008, False, False), (0.008, True, True), (0.1, True, False)]
)
def test_a_value_at_the_next_level_is_no_other_graph(monkeypatch, shift, rounded, agrees):
    model, inputs = nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(2, 4).clamp(-1, 1)
    nn.init.constant_(model[0].weight, 0.2)
    if rounded:
        input_quantizers.add_input_grids(model, {"0": [-128, 127]})
    eager = profiling.eager(model, inputs)()
    shifted = type("Shifted", (), {"__call__": lambda self: eager + shift, "close": lambda self: None})
    monkeypatch.setattr(runtimes, "session_runner", lambda *arguments: shifted())
    if agrees:
        assert torch.equal(profiling.onnx(model, inputs)(), eager + shift)
    else:
        with pytest.raises(profiling.RuntimeMismatchError, match="differ by up to"):
            profiling.onnx(model, inputs)


def test_tokens_of_any_length_run_on_onnx():
    model = bert(num_hidden_layers=1)
    shorter = {name: tensor[:1, :5] for name, tensor in TOKENS.items()}
    with profiling.onnx(model, TOKENS, threads=1) as runner, profiling.onnx(model, shorter, threads=1) as other:
        assert torch.allclose(runner(), profiling.eager(model, TOKENS)(), atol=1e-5)
        assert torch.allclose(other(), profiling.eager(model, shorter)(), atol=1e-5)
