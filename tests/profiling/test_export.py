"""One traced graph serves every model of an architecture."""

import pytest
import torch
from torch import nn

from course_lib import profiling
from course_lib.profiling import export
from tests.profiling.networks import mlp


@pytest.fixture(scope="module")
def exported():
    model = mlp(6, 5, 3)
    runner = profiling.onnx(model, torch.randn(4, 6), threads=1)
    yield model, runner
    runner.close()


def test_onnx_counts_the_weights_in_the_side_file(exported):
    model, runner = exported
    assert runner.bytes > 4 * profiling.count_parameters(model)


def test_other_weights_and_other_batches_reuse_the_traced_graph(exported, monkeypatch):
    monkeypatch.setattr(export, "_trace", lambda *_: pytest.fail("the graph is known already"))
    other, inputs = mlp(6, 5, 3), torch.randn(1, 6)
    with profiling.onnx(other, inputs, threads=2) as runner, torch.no_grad():
        assert torch.allclose(runner(), other(inputs), atol=1e-5)


def test_the_graph_that_is_kept_holds_no_weights(exported):
    graph = export._graphs[export._signature(exported[0], torch.randn(4, 6))]
    values = [value.const_value for value in graph.graph.initializers.values()]
    assert len(values) >= 4 and not any(values)


def test_the_same_weights_are_written_once(exported, monkeypatch):
    model, _ = exported
    monkeypatch.setattr(export, "_write", lambda *_: pytest.fail("these weights are on disk already"))
    profiling.onnx(model, torch.randn(2, 6), threads=1).close()


def test_a_graph_that_does_not_fit_is_traced_again(exported):
    model = mlp(6, 5, 3)
    model.forward = lambda x: nn.Sequential.forward(model, x) * 2  # same description, other arithmetic
    inputs = torch.randn(3, 6)
    with profiling.onnx(model, inputs, threads=1) as runner, torch.no_grad():
        assert torch.allclose(runner(), model(inputs), atol=1e-5)
    export._graphs.clear()


def test_a_model_in_bfloat16_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"tensor '1\.weight' has dtype torch\.bfloat16.*model\.float\(\)"):
        export.export_onnx(mlp(6, 5, 3).bfloat16(), torch.randn(2, 6).bfloat16())
