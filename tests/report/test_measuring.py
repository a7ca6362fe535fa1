"""Each figure of a row against the function that measures it."""

import pytest
import torch

from course_lib import profiling, report, storage, training
from course_lib.profiling import Latency, PeakMemory
from tests.report.models import mlp, quick, sparse


def test_the_row_holds_what_each_instrument_says(split, tmp_path):
    model = mlp()
    row = report.measure(model, on=split, latency=False, memory=False, progress=False)
    assert row.name == "Sequential"
    assert row.stored_bytes == storage.stored_bytes(storage.save(model, tmp_path / "m.safetensors"))
    assert row.stored_as == "dense fp32"
    assert (row.parameters, row.nonzeros, row.macs) == (403, 403, 6 * 40 + 40 * 3)
    assert row.accuracy == training.evaluate(model, split).accuracy
    assert row.per_class == training.evaluate(model, split).per_class()
    assert (row.ratio, row.retained, row.speedup, row.memory) == (1, 1, None, None)


def test_a_file_is_measured_as_it_is(split, tmp_path):
    file = storage.save(sparse(mlp()), tmp_path / "small.safetensors", dtype="fp16")
    row = report.measure(file, on=split, latency=False, memory=False, progress=False)
    assert (row.name, row.stored_bytes) == ("small", storage.stored_bytes(file))
    assert row.stored_as == "bitmask, dense fp16"


def test_what_is_measured_is_what_was_stored(split):
    """fp16 rounds these weights to zero, so the row must show a model that has forgotten everything."""
    model = mlp()
    with torch.no_grad():
        model[3].weight.mul_(1e-9)
        model[3].bias.copy_(torch.tensor([1e-9, 2e-9, 0.0]))
    table = quick(model, model, on=split, dtype=["fp32", "fp16"])
    assert [row.nonzeros for row in table.rows] == [402, 6 * 40 + 40]
    assert table.rows[1].accuracy == pytest.approx(20 / 60)  # the first class, always


def test_every_model_can_have_its_own_encoding_and_dtype(split):
    table = quick(
        *[mlp()] * 3, on=split, encoding=["dense", "bitmask", "auto"], dtype=("fp32", "fp32", "fp16")
    )  # fmt: skip
    assert [row.stored_as for row in table.rows] == ["dense fp32", "bitmask fp32", "dense fp16"]
    assert [row.name for row in table.rows] == ["before", "model 1", "model 2"]


@pytest.mark.parametrize("option", [{"names": ["one"]}, {"dtype": ["fp16"]}, {"encoding": ["auto"] * 3}])
def test_a_list_of_the_wrong_length_is_refused(split, option):
    name, values = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name} must hold one value for each of the 2 models, got {len(values)}"):
        quick(mlp(), mlp(), on=split, **option)


def test_time_is_taken_in_turns_over_all_models_on_both_runtimes(split):
    table = report.compare(
        mlp(), sparse(mlp()), on=split, memory=False, settings=((1, 1), (4, 1)), runs=3, progress=False
    )
    expected = [report.Setting(runtime, batch, 1) for batch in (1, 4) for runtime in ("onnx", "eager")]
    for row in table.rows:
        assert list(row.latencies) == expected
        assert [latency.runs for latency in row.latencies.values()] == [3, 3, 1, 1]
        assert all(latency.p50_ms > 0 for latency in row.latencies.values())
    assert (
        table.rows[1].speedup
        == table.rows[0].latencies[expected[0]].p50_ms / table.rows[1].latencies[expected[0]].p50_ms
    )


def test_peak_memory_is_taken_from_the_stored_files(split, monkeypatch):
    seen = []

    def peak(path, inputs):
        seen.append((storage.load(path)[1].weight.shape, inputs.shape))
        return PeakMemory(10.0 * len(seen), 5.0)

    monkeypatch.setattr(profiling, "peak_memory", peak)
    table = report.compare(mlp(), mlp(), on=split, latency=False, progress=False)
    assert seen == [((40, 6), (1, 6))] * 2
    assert {row.memory.peak_mb for row in table.rows} == {10.0, 20.0}


@pytest.mark.parametrize(("p95", "warned"), [(30.0, False), (70.0, True)])
def test_times_from_a_busy_machine_are_called_so(split, p95, warned):
    table = quick(mlp(), on=split)
    table.rows[0].latencies[report.HEADLINE] = Latency(12.0, p95, 30)
    assert ("busy machine: p95 is 6 times p50" in repr(table)) == warned
