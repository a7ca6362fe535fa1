"""Running pipelines on a toy model: what each step leaves in the file, the cache, and interruptions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from course_lib import models, pruning, quantization, storage, training
from course_lib.data import Splits, TestSplitError
from course_lib.pipeline import STEPS, Pipeline, PipelineError, run
from course_lib.pipeline import cache as cache_module
from tests.pipeline.toy_pipelines import MEASURED, toy_model, toy_splits
from tests.toys import flat_weights, one_layer_bert, small_convolutional

UNIFORM = {"quantize": {"method": "uniform", "c": 0.03, "calibration": 64}}
TRAINING = {"epochs": 2, "learning_rate": 0.01, "batch_size": 32}


def go(steps, folder, **options):
    options = {"model": toy_model(), "splits": toy_splits(), **MEASURED, **options}
    return run(Pipeline(steps), cache=folder, **options)


def test_every_step_reports_a_row_and_the_last_file_is_the_result(tmp_path):
    result = go([{"prune": {"sparsity": 0.5}}, UNIFORM, "code"], tmp_path)
    names = [row.name for row in result.comparison.rows]
    assert names == ["original", "prune sparsity=0.5", "quantize method=uniform c=0.03 calibration=64", "code"]
    assert result.comparison.rows[1].sparsity == pytest.approx(0.5, abs=0.03)  # biases and norms are not pruned
    assert result.comparison.rows[-1].stored_bytes == result.file.stat().st_size
    assert result.comparison.rows[-1].ratio > 4
    assert "code" in repr(result) and result.to_dict()["steps"][0]["step"] == {"prune": {"sparsity": 0.5}}
    assert torch.isfinite(training.predict_logits(result.model, toy_splits().validation)).all()


def test_the_original_is_never_changed(tmp_path):
    before = flat_weights(toy_model()).clone()
    go([{"prune": {"sparsity": 0.5, **TRAINING}}, {"quantize": {"method": "qat", "epochs": 1}}], tmp_path)
    assert torch.equal(flat_weights(toy_model()), before)


def test_finished_steps_are_reused_and_only_what_differs_is_run(tmp_path):
    first = go([{"prune": {"sparsity": 0.5}}, UNIFORM], tmp_path)
    again = go([{"prune": {"sparsity": 0.5}}, UNIFORM], tmp_path)
    other = go([{"prune": {"sparsity": 0.5}}, {"quantize": {"method": "rtn", "embedding_bits": None}}], tmp_path)
    assert [one.reused for one in first.steps] == [False, False]
    assert [one.reused for one in again.steps] == [True, True]
    assert [one.reused for one in other.steps] == [True, False]
    assert again.file == first.file != other.file


@pytest.mark.parametrize("change", ["weights", "arguments", "data", "seed", "version"])
def test_a_result_is_reused_only_for_the_same_content(tmp_path, monkeypatch, change):
    plan, options = Pipeline([{"prune": {"sparsity": 0.5}}]), {"model": toy_model(), "splits": toy_splits()}
    run(plan, cache=tmp_path, **options, **MEASURED)
    if change == "weights":
        options["model"] = pruning.prune_global(toy_model(), 0.1)
    if change == "arguments":
        plan = Pipeline([{"prune": {"sparsity": 0.5, "scope": "layerwise"}}])
    if change == "data":
        splits = toy_splits()
        options["splits"] = replace(splits, train=splits.train.subset(100))
    if change == "seed":
        plan = replace(plan, seed=1)
    if change == "version":
        monkeypatch.setattr(cache_module, "FORMAT", 99)
    before = {file: file.read_bytes() for file in tmp_path.glob("*.safetensors")}
    assert not run(plan, cache=tmp_path, **options, **MEASURED).steps[0].reused
    assert {file: file.read_bytes() for file in before} == before  # nothing of the other run is lost


def test_a_damaged_file_in_the_cache_is_made_again(tmp_path):
    file = go([{"prune": {"sparsity": 0.5}}], tmp_path).file
    content = file.read_bytes()
    file.write_bytes(content[:-8] + b"damaged!")
    again = go([{"prune": {"sparsity": 0.5}}], tmp_path)
    assert not again.steps[0].reused and file.read_bytes() == content


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_with_the_same_file(tmp_path, monkeypatch):
    steps = [{"fine_tune": {**TRAINING, "epochs": 3}}, UNIFORM, "code"]
    expected = go(steps, tmp_path / "straight").file.read_bytes()
    epochs, train_epoch = [], training.fitting.Trainer.train_epoch

    def interrupted(trainer, epoch, bar):
        epochs.append(epoch)
        if epochs == [0, 1]:
            raise KeyboardInterrupt
        return train_epoch(trainer, epoch, bar)

    monkeypatch.setattr(training.fitting.Trainer, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(steps, tmp_path / "killed")
    assert list((tmp_path / "killed").glob("*.checkpoint"))
    assert not list((tmp_path / "killed").glob("*.json"))
    result = go(steps, tmp_path / "killed")
    assert epochs == [0, 1, 1, 2]  # the finished epoch is not trained again
    assert result.file.read_bytes() == expected
    assert not list((tmp_path / "killed").glob("*.checkpoint"))


def test_a_failing_step_is_named_and_the_steps_before_it_are_kept(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise ValueError("nothing to share")

    monkeypatch.setitem(STEPS, "share", fails)
    with pytest.raises(ValueError, match=r"step 2 \(share\): nothing to share"):
        go([{"prune": {"sparsity": 0.5}}, "share"], tmp_path)
    assert go([{"prune": {"sparsity": 0.5}}], tmp_path).steps[0].reused


def test_a_student_with_other_classes_is_refused(tmp_path):
    student = {"builder": "mlp", "arguments": {"sizes": [12, 8, 5]}}
    with pytest.raises(ValueError, match=r"step 1 \(distil\): it changed the number of classes from 3 to 5"):
        go([{"distil": {"student": student, "alpha": 0}}], tmp_path)


def test_data_that_does_not_fit_is_refused_before_anything_runs(tmp_path):
    splits = toy_splits()
    one_class = replace(splits.train, labels=torch.zeros_like(splits.train.labels))
    with pytest.raises(ValueError, match="examples of one class only"):
        go(["code"], tmp_path, splits=Splits(one_class, splits.validation, splits.test))
    beyond = replace(splits.train, labels=splits.train.labels + 1)
    with pytest.raises(ValueError, match="labels go up to 3, but the model has 3 outputs"):
        go(["code"], tmp_path, splits=Splits(beyond, splits.validation, splits.test))
    with pytest.raises(PipelineError, match="names no data"):
        run(Pipeline(["code"], model="resnet18"), cache=tmp_path)
    with pytest.raises(FileNotFoundError, match="which is not there"):
        go(["code"], tmp_path, model="missing.safetensors")
    assert not list(tmp_path.glob("*.json"))


def test_nothing_learns_from_test(tmp_path):
    splits = toy_splits()
    with pytest.raises(TestSplitError):
        go([{"fine_tune": TRAINING}], tmp_path, splits=Splits(splits.test, splits.validation, splits.test))


@pytest.mark.parametrize("method", ["rtn", "ptq", "qat", "uniform"])
def test_weights_pruned_after_quantization_stay_on_their_grid(tmp_path, method):
    quantize = {"quantize": {"method": method, **({"c": 0.03} if method == "uniform" else {})}}
    result = go([quantize, {"prune": {"sparsity": 0.5}}], tmp_path)
    before, after = (storage.load(one.file) for one in result.steps)
    assert pruning.sparsity(after) >= 0.49
    for name, weight in models.prunable_layers(after).items():
        kept = weight.weight != 0
        assert torch.equal(weight.weight[kept], before.get_submodule(name).weight[kept])
    assert storage.encodings_of(before).keys() == storage.encodings_of(after).keys()
    assert result.steps[1].file.stat().st_size <= result.steps[0].file.stat().st_size + 64


def test_zeros_of_a_pruned_model_survive_fine_tuning_and_quantization(tmp_path):
    steps = [{"prune": {"sparsity": 0.6}}, {"fine_tune": TRAINING}, {"quantize": {"method": "qat", **TRAINING}}]
    pruned, tuned, quantized = (storage.load(one.file) for one in go(steps, tmp_path).steps)
    zeros = {name: layer.weight == 0 for name, layer in models.prunable_layers(pruned).items()}
    for model in (tuned, quantized):
        assert all((model.get_submodule(name).weight[zero] == 0).all() for name, zero in zeros.items())
    assert len(quantization.quantized_weights(quantized)) == 3


def test_steps_for_images_run_on_a_convolutional_network(tmp_path):
    splits = image_splits()
    steps = [{"remove_channels": {"ratio": 0.5, "criterion": "l2"}}, {"fine_tune": {**TRAINING, "augment": True}},
             UNIFORM, "code"]  # fmt: skip
    result = go(steps, tmp_path, model=small_convolutional(), splits=splits)
    assert result.comparison.rows[1].parameters < 0.6 * result.comparison.rows[0].parameters
    assert result.comparison.rows[-1].ratio > 5


def image_splits():
    def images(name, size):
        from course_lib.data import Split

        generator = torch.Generator().manual_seed(len(name))
        pixels = torch.randint(0, 256, (size, 8, 8), generator=generator, dtype=torch.uint8)
        return Split("noise", name, pixels, torch.arange(size) % 10, tuple("abcdefghij"))

    return Splits(images("train", 64), images("validation", 32), images("test", 32))


@pytest.mark.parametrize(
    "steps",
    [
        [{"factorize": {"kind": "embedding", "size": 0.5}}, {"quantize": {"method": "uniform", "c": 0.05}}, "code"],
        [{"distil": {"student": {"bert": {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 16}},
                     "freeze_embeddings": True, "alpha": 1.0}}],
        [{"quantize": {"method": "gptq", "group_size": 8, "calibration": 16}}],
        [{"quantize": {"method": "awq", "group_size": 8, "calibration": 16}}],
    ],
)  # fmt: skip
def test_steps_for_transformers_run_on_a_small_bert(tmp_path, steps):
    result = go(steps, tmp_path, model=one_layer_bert(), splits=sentence_splits())
    assert result.comparison.rows[-1].stored_bytes < result.comparison.rows[0].stored_bytes


def sentence_splits():
    def sentences(name, size):
        from course_lib.data import Split

        generator = torch.Generator().manual_seed(len(name))
        tokens = torch.randint(1, 50, (size, 10), generator=generator)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return Split("words", name, inputs, torch.arange(size) % 2, ("no", "yes"))

    return Splits(sentences("train", 64), sentences("validation", 24), sentences("test", 24))
