"""The row that every lesson ends with: each figure against arithmetic, and what is shown against what was measured."""

import html
import json
import math
import re

import pytest
import torch

from course_lib import data, models, profiling, report, storage, training
from course_lib.profiling import Latency, PeakMemory
from course_lib.report import measuring, tables

CLASSES = ("ankle <boot>", "bag", "coat")


def mlp(seed=0, sizes=(6, 40, 3)):
    torch.manual_seed(seed)
    return models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})


def sparse(model, sparsity=0.9):
    copy = models.build(models.describe(model))
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer in models.prunable_layers(copy).values():
            layer.weight.mul_(torch.rand_like(layer.weight) >= sparsity)
    return copy


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(1)
    return data.Split("points", "test", torch.randn(60, 6, generator=generator), torch.arange(60) % 3, CLASSES)


@pytest.fixture
def timed(monkeypatch):
    """Latencies that are known beforehand: the n-th model takes 12 / (n + 1) ms on ONNX Runtime, twice that eagerly."""
    asked = []

    def latencies(measured, protocol):
        asked.append((len(measured), protocol.settings, protocol.runs))
        return [
            {
                report.Setting(runtime, batch, threads): Latency(cost * batch / (index + 1), 30.0, protocol.runs)
                for batch, threads in protocol.settings
                for runtime, cost in (("onnx", 12.0), ("eager", 24.0))
            }
            for index in range(len(measured))
        ]

    monkeypatch.setattr("course_lib.report.comparison.measure_latencies", latencies)
    monkeypatch.setattr(measuring, "_peaks", lambda paths, protocol: [PeakMemory(300.4, 250.0) for _ in paths])
    return asked


def quick(*model_list, on, **options):
    return report.compare(*model_list, on=on, latency=False, memory=False, progress=False, **options)


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


def test_ratios_are_relative_to_the_first_row(split):
    table = quick(mlp(sizes=(6, 400, 3)), sparse(mlp(sizes=(6, 400, 3))), on=split, names=["dense", "sparse"])
    dense, pruned = table.rows
    assert pruned.before is dense
    assert pruned.ratio == dense.stored_bytes / pruned.stored_bytes > 2
    assert pruned.retained == pytest.approx(pruned.accuracy / dense.accuracy)
    low, high = pruned.retained_interval
    assert low <= pruned.retained <= high
    assert pruned.sparsity == pytest.approx(1 - pruned.nonzeros / pruned.parameters)


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


def test_further_splits_stand_in_the_same_row(split):
    other = split.subset(30, seed=3)
    table = quick(mlp(), sparse(mlp()), on=split, domains={"tweets": other})
    row = table.rows[1]
    expected = training.evaluate(sparse(mlp()), other)
    assert row.domains["tweets"].accuracy == pytest.approx(row.domains["tweets"].correct.double().mean().item())
    assert len(row.domains["tweets"].labels) == len(expected.labels) == 30
    assert row.retained_domains["tweets"] == pytest.approx(
        row.domains["tweets"].accuracy / table.rows[0].domains["tweets"].accuracy
    )
    assert "accuracy tweets" in table.frame
    assert "tweets" in repr(table)


def test_speedups_are_against_the_same_runtime_and_against_eager(split, timed):
    table = report.compare(mlp(), mlp(1), on=split, progress=False)
    before, after = table.rows
    assert (before.speedup, before.speedup_over_eager) == (1, 2)
    assert (after.speedup, after.speedup_over_eager) == (2, 4)
    assert after.speedup_at(report.Setting("eager", 32, 2)) == 2
    assert before.headline == report.HEADLINE
    assert after.memory.model_mb == pytest.approx(50.4)


def test_adding_a_model_evaluates_only_that_one_and_times_all(split, timed, monkeypatch):
    table = report.compare(mlp(), on=split, progress=False, runs=9)
    evaluated = []
    evaluate = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda model, on: evaluated.append(on) or evaluate(model, on))
    longer = table.add(mlp(1), mlp(2), names=["one", "two"], dtype="fp16")
    assert len(evaluated) == 2
    assert timed == [(1, report.SETTINGS, 9), (3, report.SETTINGS, 9)]
    assert [row.name for row in longer.rows] == ["before", "one", "two"]
    assert all(row.before is longer.rows[0] for row in longer.rows[1:])
    assert len(table.rows) == 1


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


def test_the_table_shows_every_figure_with_its_unit_and_how_it_is_known(split, timed):
    table = report.compare(mlp(), sparse(mlp()), on=split, names=["baseline", "90 % <sparse>"], progress=False)
    page = table._repr_html_()
    cells = [html.unescape(re.sub("<[^>]+>", " ", cell)).strip() for cell in re.findall("<t[dh].*?</t[dh]>", page)]
    assert any(cell.startswith("90 % <sparse>") for cell in cells)
    assert "<sparse>" not in page
    assert "<boot>" not in page
    shown = [" ".join(cell.split()) for cell in cells]
    for expected in ("12 ms p95 30 ms", "1.0× 2.0× over eager", "2.0× 4.0× over eager", "300 MB 50 MB model"):
        assert expected in shown
    assert any(re.fullmatch(r"\d+\.\d % ± \d+\.\d %", cell) for cell in shown)
    assert any(re.fullmatch(r"\d+\.\d % \d+\.\d to \d+\.\d %", cell) for cell in shown)
    assert any(re.fullmatch(r"[\d.]+ kB \d+\.\d× smaller", cell) for cell in shown)
    assert any(cell.split() == ["stored", "exact"] for cell in cells)
    assert any(cell.split() == ["accuracy", "measured"] for cell in cells)
    assert "points test, 60 examples" in page
    assert "ONNX Runtime, batch 1, 2 threads" in page
    assert str(profiling.machine()) in html.unescape(page)
    for variable in re.findall(r"var\(--jp[^()]*\)", page):
        assert "," in variable, f"{variable} has no fallback"


def test_the_text_table_has_straight_columns(split, timed):
    lines = repr(report.compare(mlp(), mlp(1), on=split, names=["baseline", "b"], progress=False)).splitlines()
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[0].split()[:3] == ["model", "stored", "accuracy"]
    assert [line.split()[0] for line in lines[2:6]] == ["baseline", "dense", "b", "dense"]
    assert lines[-1].startswith("points test, 60 examples · latency")


@pytest.mark.parametrize(("p95", "warned"), [(30.0, False), (70.0, True)])
def test_times_from_a_busy_machine_are_called_so(split, p95, warned):
    table = quick(mlp(), on=split)
    table.rows[0].latencies[report.HEADLINE] = Latency(12.0, p95, 30)
    assert ("busy machine: p95 is 6 times p50" in repr(table)) == warned


def test_frame_and_json_hold_the_same_figures(split, timed, tmp_path):
    table = report.compare(mlp(), sparse(mlp()), on=split, names=["a", "b"], progress=False)
    content = json.loads(table.to_json(tmp_path / "deep" / "table.json"))
    assert json.loads((tmp_path / "deep" / "table.json").read_text()) == content
    assert content["examples"] == 60
    for line, row in zip(content["rows"], table.rows, strict=True):
        assert line["latency_ms"][0] == {
            "runtime": "onnx", "batch": 1, "threads": 2, "runs": 30, "p95": 30.0,
            "p50": row.latencies[report.HEADLINE].p50_ms,
        }  # fmt: skip
        for column in ("stored_bytes", "ratio", "macs", "accuracy", "retained_low", "speedup", "peak_memory_mb"):
            assert table.frame.loc[row.name, column] == line[column]
    assert "NaN" not in table.to_json()


def test_a_single_row_shows_itself(split, timed):
    row = report.measure(mlp(), on=split, name="mine", progress=False)
    assert "mine" in str(row)
    assert "mine" in row._repr_html_()
    assert json.dumps(row.to_dict())


def test_the_picture_names_every_model(split):
    picture = quick(mlp(), sparse(mlp()), on=split, names=["baseline", "sparse"]).plot()
    assert {"baseline", "sparse"} <= {note.get_text() for note in picture.axes[0].texts}


def test_a_baseline_that_knows_nothing_gives_no_ratio(split):
    hopeless = mlp()
    with torch.no_grad():
        hopeless[3].bias.copy_(torch.tensor([1e6, 0, 0]))
    only_bags = data.Split("points", "test", split.inputs, torch.ones(60, dtype=torch.long), CLASSES)
    table = quick(hopeless, mlp(), on=only_bags)
    assert math.isnan(table.rows[1].retained)
    assert "nan" not in repr(table)
    assert json.loads(table.to_json())["rows"][1]["retained"] is None


class TestPairedBootstrap:
    def test_identical_answers_retain_everything(self):
        correct = torch.rand(500) > 0.2
        assert report.paired_bootstrap(correct, correct) == (1.0, 1.0)

    def test_the_interval_matches_redrawing_examples_one_by_one(self):
        generator = torch.Generator().manual_seed(0)
        before = torch.rand(400, generator=generator) < 0.9
        after = torch.where(torch.rand(400, generator=generator) < 0.05, ~before, before)
        rows = torch.randint(400, (4000, 400), generator=generator)
        ratios = after[rows].sum(1) / before[rows].sum(1)
        expected = ratios.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
        assert report.paired_bootstrap(before, after, draws=4000) == pytest.approx(expected.tolist(), abs=0.002)

    def test_pairing_narrows_the_interval(self):
        before = torch.arange(1000) < 900
        paired, shuffled = before.clone(), before.roll(500)
        paired[:10] = False
        shuffled[500:510] = False
        narrow, wide = (report.paired_bootstrap(before, after) for after in (paired, shuffled))
        assert narrow[1] - narrow[0] < 0.5 * (wide[1] - wide[0])

    def test_the_same_seed_gives_the_same_interval(self):
        before, after = torch.rand(100) > 0.3, torch.rand(100) > 0.4
        assert report.paired_bootstrap(before, after) == report.paired_bootstrap(before, after)

    def test_seeds_that_all_answer_alike_tell_no_more_than_one(self):
        before, after = torch.arange(1000) < 900, torch.arange(1000) < 880
        one, three = (report.paired_bootstrap(before, answers) for answers in (after, after.expand(3, -1)))
        assert three == pytest.approx(one, abs=0.002)

    def test_examples_and_seeds_are_redrawn_together(self):
        generator = torch.Generator().manual_seed(0)
        before = torch.rand(3, 300, generator=generator) < 0.9
        after = torch.where(
            torch.rand(3, 300, generator=generator) < torch.tensor([[0.02], [0.1], [0.2]]), False, before
        )
        ratios = []
        for _ in range(3000):
            rows, seeds = torch.randint(300, (300,), generator=generator), torch.randint(3, (3,), generator=generator)
            ratios.append(after[seeds][:, rows].sum() / before[seeds][:, rows].sum())
        expected = torch.stack(ratios).double().quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
        assert report.paired_bootstrap(before, after, draws=4000) == pytest.approx(expected.tolist(), abs=0.006)

    def test_one_model_stands_against_all_seeds(self):
        before, after = torch.arange(500) < 450, torch.rand(3, 500, generator=torch.Generator().manual_seed(0)) < 0.8
        low, high = report.paired_bootstrap(before, after)
        assert (low, high) == report.paired_bootstrap(before.expand(3, -1), after)
        assert low < after.double().mean() / 0.9 < high

    def test_nothing_right_before_gives_no_interval(self):
        nothing = torch.zeros(5, dtype=torch.bool)
        assert all(math.isnan(limit) for limit in report.paired_bootstrap(nothing, ~nothing))

    @pytest.mark.parametrize(("before", "after"), [(3, 4), (0, 0), ((2, 5), (3, 5)), ((2, 5), 5)])
    def test_answers_that_do_not_pair_are_refused(self, before, after):
        with pytest.raises(ValueError, match="same length above 0"):
            report.paired_bootstrap(torch.ones(before), torch.ones(after))


def test_text_tables_align_the_first_column_left_and_the_rest_right():
    shown = tables.text_table(["what", "n"], [["a", "1"], ["longer", "12,345"]])
    assert shown.splitlines() == ["what         n", "------  ------", "a            1", "longer  12,345"]
