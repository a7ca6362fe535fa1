"""An int8 file on ONNX Runtime: integers all the way, the same answers as the simulation, and a row of its own."""

import onnx
import pytest
import torch
from torch import nn

from course_lib import models, profiling, report, training
from course_lib.data import Split, TestSplitError
from course_lib.quantization import deploy_dynamic, deploy_static, post_training_quantization, sqnr_db
from tests.quantization.conftest import images

BERT = {
    "builder": "bert",
    "arguments": {
        "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 16,
    },
}  # fmt: skip


@pytest.fixture
def sentences():
    ids = torch.randint(1, 60, (24, 10), generator=torch.Generator().manual_seed(0))
    return Split("made up", "train", {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.arange(24) % 2,
                 ("no", "yes"))  # fmt: skip


def constants(file):
    return {it.name: onnx.numpy_helper.to_array(it) for it in onnx.load(file).graph.initializer}


@torch.no_grad()
def test_convolutions_and_sums_run_in_integers_and_agree_with_the_simulation(small, split, tmp_path):
    deployed = deploy_static(small, split, tmp_path / "small.onnx", reduce_range=True)
    kernels = deployed.kernels(split.example(1))
    assert kernels.count("QLinearConv") == 3 and kernels.count("QLinearAdd") == 1 and "QGemm" in kernels
    assert "Conv" not in kernels and "Relu" not in kernels
    simulated = post_training_quantization(small, split).model
    exact, x = training.predict_logits(small, split), deployed.logits(split)
    assert sqnr_db(exact, x) > 20
    assert sqnr_db(training.predict_logits(simulated, split), x) > 20
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small.onnx"]


@pytest.mark.parametrize(("reduce_range", "largest"), [(True, 63), (False, 127)])
def test_reduced_range_leaves_a_bit_of_the_weights_free(small, split, tmp_path, reduce_range, largest):
    file = deploy_static(small, split, tmp_path / "small.onnx", reduce_range=reduce_range).file
    weights = [value for name, value in constants(file).items() if value.dtype == "int8" and value.ndim > 1]
    assert len(weights) == 4
    assert {int(abs(value.astype(int)).max()) for value in weights} == {largest}


def test_the_file_holds_integers_only(small, split, tmp_path):
    values = constants(deploy_static(small, split, tmp_path / "small.onnx").file)
    assert all(value.ndim < 2 for value in values.values() if value.dtype == "float32")
    assert [value.dtype for value in values.values() if value.dtype == "int32" and value.size == 10]


@torch.no_grad()
@pytest.mark.parametrize("make", ["static", "dynamic"])
def test_a_transformer_multiplies_and_looks_up_integers(sentences, tmp_path, make):
    torch.manual_seed(0)
    model = models.build(BERT)
    if make == "static":
        deployed = deploy_static(model, sentences, tmp_path / "bert.onnx")
    else:
        deployed = deploy_dynamic(model, sentences.example(1), tmp_path / "bert.onnx")
    exact = training.predict_logits(model, sentences)
    assert sqnr_db(exact - exact.mean(0), deployed.logits(sentences) - exact.mean(0)) > 15
    values = constants(deployed.file)
    assert values["bert.embeddings.word_embeddings.weight_q"].dtype == "int8"
    assert not any(value.dtype == "float32" and value.ndim == 2 and value.shape[1] > 1 for value in values.values())
    assert any("Integer" in kernel or "DynamicQuantize" in kernel for kernel in deployed.kernels(sentences.example(1)))


def test_what_cannot_be_calibrated_or_quantized_is_refused(small, split, tmp_path):
    with pytest.raises(TestSplitError):
        deploy_static(small, images("test"), tmp_path / "no.onnx")
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        deploy_static(nn.Sequential(nn.ReLU()), split, tmp_path / "no.onnx")
    with pytest.raises(ValueError, match="has no linear layer; convolutions need deploy_static"):
        deploy_dynamic(nn.Sequential(nn.Conv2d(3, 4, 3)), split.example(1), tmp_path / "no.onnx")
    with torch.no_grad():
        small.fc.weight[0, 0] = float("inf")
    with pytest.raises(ValueError, match="NaN or infinity"):
        deploy_static(small, split, tmp_path / "no.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_judges_the_file_on_its_runtime(small, split, tmp_path):
    deployed = deploy_static(small, split, tmp_path / "small.onnx")
    test = images("test", 48, seed=3)
    table = report.compare(small, deployed, on=test, names=["fp32", "int8"], memory=False, runs=2, settings=((1, 1),),
                           domains={"others": split}, progress=False)  # fmt: skip
    row = table.rows[1]
    assert row.stored_bytes == deployed.file.stat().st_size and row.stored_as == "ONNX"
    assert torch.equal(row.evaluation.predictions, deployed.logits(test).argmax(1))
    assert torch.equal(row.domains["others"].predictions, deployed.logits(split).argmax(1))
    assert [setting.runtime for setting in row.latencies] == ["onnx"] and row.speedup is not None
    assert row.parameters == profiling.count_parameters(small)
    assert "int8" in table._repr_html_() and "–" in table._repr_html_()
    empty = Split("made up", "test", torch.empty(0, 12, 12), torch.empty(0).long(), ("a",))
    with pytest.raises(ValueError, match="is empty"):
        deployed.logits(empty)
