"""Counts against arithmetic by hand, runtimes against each other, and clocks that only have to tick."""

import gc
import json
import math
import time

import pytest
import torch
from torch import nn

from course_lib import models, profiling, storage
from course_lib.profiling import export, roofline, runtimes, timing

TINY_BERT = {
    "vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 12,
}  # fmt: skip
TOKENS = {
    "input_ids": torch.arange(16).reshape(2, 8),
    "attention_mask": torch.tensor([[1] * 8, [1] * 5 + [0] * 3]),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fast_roofline(monkeypatch):
    monkeypatch.setattr(roofline, "MATMUL_SIZE", 64)
    monkeypatch.setattr(roofline, "STREAM_ELEMENTS", 4096)


def mlp(*sizes):
    return models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})


def bert(num_hidden_layers=2, **changes):
    torch.manual_seed(0)
    return models.build(
        {"builder": "bert", "arguments": {**TINY_BERT, "num_hidden_layers": num_hidden_layers, **changes}}
    )


class SmallNet(nn.Module):
    """A convolution, a norm, and one linear layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        x = self.norm(self.conv(x)).mean(dim=(2, 3))
        return self.fc(self.fc(x))


def test_parameters_and_nonzeros_are_counted_once():
    model = mlp(4, 4, 4)
    assert profiling.count_parameters(model) == 2 * (16 + 4)
    model[3].weight = model[1].weight
    assert profiling.count_parameters(model) == 16 + 4 + 4
    with torch.no_grad():
        model[1].weight.zero_()
    assert profiling.count_nonzeros(model) == 8


@pytest.mark.parametrize("batch", [1, 5])
def test_macs_of_linear_and_convolution_are_what_arithmetic_gives(batch):
    assert profiling.count_macs(mlp(6, 5, 3), torch.randn(batch, 6)) == batch * (6 * 5 + 5 * 3)
    convolution = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    assert profiling.count_macs(convolution, torch.randn(batch, 4, 10, 10)) == batch * 8 * 25 * (4 // 2) * 9


def test_a_zero_weight_is_still_multiplied():
    model = mlp(6, 5, 3)
    before = profiling.count_macs(model, torch.randn(1, 6))
    nn.init.zeros_(model[1].weight)
    assert profiling.count_macs(model, torch.randn(1, 6)) == before


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_counted_whatever_computes_it(attention):
    length, hidden, wide = 8, 16, 32
    linear = 4 * hidden * hidden + 2 * hidden * wide
    by_hand = 2 * (2 * (length * linear + 2 * length * length * hidden) + hidden * hidden + hidden * 2)
    assert profiling.count_macs(bert(attn_implementation=attention), TOKENS) == by_hand


def test_counting_leaves_mode_and_hooks_as_they_were(fast_roofline):
    model = SmallNet()
    model.norm.eval()
    profiling.count_macs(model, torch.randn(2, 3, 8, 8))
    profiling.layers(model, torch.randn(2, 3, 8, 8))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_layer_table_of_a_small_network_by_hand():
    table = profiling.layers(SmallNet(), torch.randn(2, 3, 8, 8), timed=False).set_index("name")
    assert list(table.index) == ["conv", "norm", "fc"]
    assert list(table["kind"]) == ["Conv2d", "BatchNorm2d", "Linear"]
    assert list(table["macs"]) == [2 * 4 * 64 * 27, 0, 2 * 2 * 16]
    assert list(table["parameters"]) == [4 * 27 + 4, 8, 20]
    assert table.loc["conv", "weight_bytes"] == 4 * 112
    assert table.loc["conv", "activation_bytes"] == 4 * 2 * (3 + 4) * 64
    assert table.loc["fc", "activation_bytes"] == 2 * 4 * 2 * (4 + 4)
    conv = table.loc["conv"]
    assert conv["intensity"] == pytest.approx(2 * conv["macs"] / (conv["weight_bytes"] + conv["activation_bytes"]))
    assert table["latency_ms"].isna().all()


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (SmallNet(), torch.randn(2, 3, 8, 8)),
        (bert(), TOKENS),
        (mlp(6, 5, 3), torch.randn(2, 6)),
        (nn.Linear(3, 2), torch.ones(1, 3)),
    ],
)
def test_the_layer_table_adds_up(fast_roofline, model, inputs):
    table = profiling.layers(model, inputs)
    assert table["macs"].sum() == profiling.count_macs(model, inputs)
    assert table["parameters"].sum() == profiling.count_parameters(model)
    assert table["share"].sum() == pytest.approx(1)
    assert (table["latency_ms"] >= 0).all()
    assert set(table["bound"]) <= {"memory", "compute"}
    assert table.iloc[-1]["name"] == "(between layers)"


def test_attention_has_a_row_of_its_own():
    table = profiling.layers(bert(), TOKENS, timed=False)
    attention = table[table["kind"] == "attention"]
    assert list(attention["macs"]) == [2 * 2 * 8 * 8 * 16] * 2
    # queries, keys and values are read, the context is written
    assert (attention["activation_bytes"] == 4 * 4 * 2 * 8 * 16).all()


def test_the_machine_fits_in_one_line():
    machine = profiling.machine()
    assert machine.cores >= 1
    assert machine.memory_gb > 0
    assert "\n" not in str(machine)
    known = profiling.Machine("Some CPU", 1, 7.8, True, True, True, False, False)
    assert str(known) == "Some CPU, 1 core, 8 GB, AVX2, AVX-512, VNNI, no GPU"


def test_the_roofline_says_what_a_layer_waits_for():
    roofs = profiling.Roofline(peak_gflops=100, bandwidth_gbs=20, threads=2)
    assert roofs.ridge == 5
    assert [roofs.bound(4.9), roofs.bound(5.1)] == ["memory", "compute"]
    assert [roofs.attainable_gflops(1), roofs.attainable_gflops(50)] == [20, 100]


def test_the_roofline_is_measured_once_for_each_number_of_threads(fast_roofline, monkeypatch, tmp_path):
    first = profiling.roofline(1)
    assert first.peak_gflops > 0
    assert first.bandwidth_gbs > 0
    monkeypatch.setattr(roofline, "_measure", lambda threads: profiling.Roofline(1.5, 2.5, threads))
    assert profiling.roofline(1) == first
    assert profiling.roofline(2) == profiling.Roofline(1.5, 2.5, 2)
    monkeypatch.setattr(roofline, "_measure", lambda threads: profiling.Roofline(1.0, 3.5, threads))
    assert profiling.roofline(2, refresh=True) == profiling.Roofline(1.5, 3.5, 2), "the better of old and new"
    assert profiling.roofline(2) == profiling.Roofline(1.5, 3.5, 2)
    with pytest.raises(ValueError, match="threads must be greater than 0, got 0"):
        profiling.roofline(0)


def test_limits_that_a_layer_beats_are_measured_again(monkeypatch):
    answers = iter([profiling.Roofline(1e-6, 1.0, 1), profiling.Roofline(1e6, 1.0, 1)])
    monkeypatch.setattr(roofline, "_measure", lambda threads: next(answers))
    table = profiling.layers(mlp(64, 64, 8), torch.randn(4, 64))
    assert (table["bound"].iloc[:2] == "memory").all()
    assert profiling.roofline().peak_gflops == 1e6


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"x": 3}', '{"x": {"peak_gflops": "fast"}}'])
def test_a_damaged_roofline_cache_is_measured_again(fast_roofline, tmp_path, damage):
    file = tmp_path / "cache" / "roofline.json"
    file.parent.mkdir()
    file.write_text(damage)
    assert profiling.roofline(1).threads == 1
    assert len(json.loads(file.read_text())) == 1


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


def test_a_runtime_that_gives_other_logits_is_an_error(exported, monkeypatch):
    monkeypatch.setattr(runtimes, "_agrees", lambda *_: False)
    monkeypatch.setattr(runtimes, "export_onnx", lambda model, inputs, fresh=False: export.export_onnx(model, inputs))
    with pytest.raises(profiling.RuntimeMismatchError, match="differ by up to"):
        profiling.onnx(exported[0], torch.randn(4, 6))


def test_agreement_is_judged_on_the_scale_of_the_logits():
    big = torch.tensor([[1000.0, -5.0]])
    assert runtimes._agrees(big + 0.5, big)
    assert not runtimes._agrees(big + 5, big)
    assert not runtimes._agrees(torch.tensor([[0.1]]), torch.tensor([[0.2]]))
    assert not runtimes._agrees(torch.zeros(2, 1), torch.zeros(1, 1))
    assert not runtimes._agrees(torch.tensor([[math.nan]]), torch.zeros(1, 1))


def test_tokens_of_any_length_run_on_onnx():
    model = bert(num_hidden_layers=1)
    shorter = {name: tensor[:1, :5] for name, tensor in TOKENS.items()}
    with profiling.onnx(model, TOKENS, threads=1) as runner, profiling.onnx(model, shorter, threads=1) as other:
        assert torch.allclose(runner(), profiling.eager(model, TOKENS)(), atol=1e-5)
        assert torch.allclose(other(), profiling.eager(model, shorter)(), atol=1e-5)


def test_runners_take_turns_and_only_the_clocked_runs_count():
    calls = []

    def runner(name, seconds):
        def run():
            calls.append((name, gc.isenabled()))
            time.sleep(seconds)

        return runtimes.Runner(name, run, threads=1)

    result = profiling.interleave({"fast": runner("fast", 0), "slow": runner("slow", 0.002)}, runs=4, warmup=1)
    assert gc.isenabled()
    assert not any(enabled for _, enabled in calls)
    names = [name for name, _ in calls]
    assert names == ["fast", "slow"] + ["fast"] * 4 + ["slow"] * 4 + ["slow"] * 2 + ["fast"] * 2
    assert [latency.runs for latency in result.values()] == [4, 4]
    assert result["slow"].p50_ms >= 2 > result["fast"].p50_ms
    with pytest.raises(ValueError, match="runs must be greater than 0"):
        profiling.interleave({}, runs=0)


def test_a_busy_machine_gives_fewer_runs_instead_of_an_endless_wait():
    calls = []
    runner = runtimes.Runner("slow", lambda: calls.append(time.sleep(0.005)), threads=1)
    result = profiling.interleave({"a": runner, "b": runner}, runs=300, seconds=0.0)
    assert [latency.runs for latency in result.values()] == [timing.BURST] * 2
    assert len(calls) == 2 * (1 + 1 + timing.BURST)


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (20, 19), (30, 29), (100, 95)])
def test_latency_reports_median_and_95th_percentile_in_milliseconds(count, p95):
    latency = timing._latency([rank / 1000 for rank in range(count, 0, -1)])
    assert latency.p50_ms == pytest.approx((count + 1) / 2)
    assert latency.p95_ms == pytest.approx(p95)


def test_peak_memory_is_that_of_the_model_in_a_process_of_its_own(tmp_path):
    ballast = torch.ones(2**25)  # 134 MB that must not be counted
    wide = {"builder": "mlp", "arguments": {"sizes": [4000, 4000]}}
    peak = profiling.peak_memory(storage.save(models.build(wide), tmp_path / "m.safetensors"), torch.randn(1, 4000))
    assert ballast.sum() > 0
    assert 64 <= peak.model_mb <= 64 + 40
    assert "above the libraries" in str(peak)


def test_a_model_that_cannot_be_loaded_is_reported_with_its_reason(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match=r"memory of m.safetensors failed: .*cannot be loaded"):
        profiling.peak_memory(path, torch.randn(1, 4))
