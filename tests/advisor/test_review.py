"""The ten rules: each fires on a planted case and is silent on another; the review prints, and ranks pipelines."""

from __future__ import annotations

import copy
from dataclasses import replace

import pandas
import pytest
import torch
from torch import nn

from course_lib import advisor, models, training
from course_lib.advisor import rules_data, rules_layers, rules_runtime
from course_lib.advisor.case import Case
from course_lib.advisor.rules_runtime import Speeds
from course_lib.data import Splits
from course_lib.pipeline import Pipeline
from tests.pipeline.toy_pipelines import toy_model, toy_splits
from tests.toys import flat_weights, vectors


def case(model=None, **options):
    return Case(model or toy_model(), options.pop("splits", toy_splits()), **options)


def table(**shares):
    """A layer table: name → (bytes, share of the time)."""
    rows = [{"name": name, "weight_bytes": size, "share": share} for name, (size, share) in shares.items()]
    return pandas.DataFrame(rows)


@pytest.mark.parametrize(
    ("layers", "fires"),
    [
        ({"early": (100, 0.9), "late": (900, 0.1)}, True),
        ({"early": (100, 0.15), "late": (900, 0.85)}, False),
    ],
)
def test_profile_before_compressing(monkeypatch, layers, fires):
    monkeypatch.setattr(rules_layers.profiling, "layers", lambda *_: table(**layers))
    finding = rules_layers.profile_first(case())
    assert finding.fires is fires and "late holds 90 % of the bytes" in finding.summary


def test_use_representative_calibration_data():
    train = toy_splits().train
    dim = replace(train, inputs=train.inputs * 0.05)
    fires = rules_data.representative_calibration(case(calibration=dim))
    silent = rules_data.representative_calibration(case(calibration=train.subset(120, seed=5)))
    assert fires.fires and fires.measured["loss"] > 0.05 and "points of accuracy" in fires.summary
    assert not silent.fires and abs(silent.measured["loss"]) < 0.05


def test_without_a_calibration_set_one_class_is_tried():
    assert "examples of class" in rules_data.representative_calibration(case()).summary


def answers(wrong, of=200):
    right = torch.ones(of, dtype=torch.float64)
    right[:wrong] = 0
    return right


def test_combine_techniques_carefully():
    base, single = answers(4), answers(8)
    assert rules_layers.judge_combination(base, single, single, answers(60), answers(60)).fires
    assert rules_layers.judge_combination(base, single, single, answers(8), answers(60)).fires  # the order matters
    assert not rules_layers.judge_combination(base, single, single, answers(10), answers(10)).fires
    assert rules_layers.combination(case()).measured["pruned"] > 0.3


def test_validate_on_diverse_data():
    damaged = copy.deepcopy(toy_model())
    with torch.no_grad():
        list(models.prunable_layers(damaged).values())[-1].bias[1] -= 20
    fires = rules_data.diverse_data(case(compressed=damaged))
    assert fires.fires and "class 'b'" in fires.advice
    assert not rules_data.diverse_data(case(compressed=copy.deepcopy(toy_model()))).fires


def test_damage_in_another_domain_is_found():
    class OnlyLarge(nn.Module):
        """The toy model, but inputs are cut off at 3."""

        def forward(self, x):
            return toy_model()(x.clamp(max=3))

    OnlyLarge.parameters = lambda self: toy_model().parameters()
    far = replace(toy_splits().validation, inputs=toy_splits().validation.inputs * 4)
    finding = rules_data.diverse_data(case(compressed=OnlyLarge(), domains={"far": far}))
    assert finding.fires and "domain 'far'" in finding.advice


@pytest.mark.parametrize(("int8_ms", "fires"), [(9.5, True), (4.0, False), (None, True)])
def test_consider_the_hardware(int8_ms, fires):
    finding = rules_runtime.hardware(Speeds(20.0, 10.0, int8_ms, "" if int8_ms else "no kernel for Tan"))
    assert finding.fires is fires
    assert "no kernel for Tan" in finding.summary if int8_ms is None else "as fast as fp32 here" in finding.summary


@pytest.mark.parametrize(("onnx_ms", "fires"), [(10.0, True), (19.0, False), (None, True)])
def test_ignore_the_inference_framework(onnx_ms, fires):
    assert rules_runtime.framework(Speeds(20.0, onnx_ms, 5.0, "branches")).fires is fires


def scan(damages):
    rows = [
        {"layer": name, "bits": bits, "bytes": 100 * bits, "damage": damage * 2.0 ** (2 - bits)}
        for name, damage in damages.items() for bits in (2, 4, 8)
    ]  # fmt: skip
    return pandas.DataFrame(rows)


@pytest.mark.parametrize(("worst", "fires"), [(2.0, True), (0.2, False)])
def test_compress_blindly(worst, fires):
    reviewed = case()
    reviewed.__dict__["sensitivity"] = scan({"first": 0.1, "middle": 0.12, "last": worst})
    finding = rules_layers.sensitivity_differs(reviewed)
    assert finding.fires is fires and finding.summary.startswith("in 2 bits, last alone")


def test_layers_are_scanned_for_real():
    finding = rules_layers.sensitivity_differs(case())
    assert set(case().layer_names) < set(finding.measured)


@pytest.mark.parametrize(("sparsity", "fires"), [(0.97, True), (0.9, False)])
def test_exceed_95_percent_sparsity(sparsity, fires):
    finding = rules_layers.many_zeros(case(plan=Pipeline([{"prune": {"sparsity": sparsity}}])))
    assert finding.fires is fires
    assert finding.measured["retained"][0.98] < finding.measured["retained"][0.5]


def with_outliers():
    """A network in which one layer needs many bits: each of its rows has one large weight on an unused input."""
    splits = toy_splits()
    unused = {part: replace(getattr(splits, part), inputs=_unused(getattr(splits, part).inputs)) for part in
              ("train", "validation", "test")}  # fmt: skip
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": [12, 8, 96, 96, 3]}})
    training.fit(model, unused["train"], epochs=20, learning_rate=0.01, batch_size=32, progress=False)
    with torch.no_grad():
        next(iter(models.prunable_layers(model).values())).weight[:, -1] = 6.0
    return model, Splits(**unused)


def _unused(inputs):
    inputs = inputs.clone()
    inputs[:, -1] = 0
    return inputs


def test_treat_all_layers_alike():
    model, splits = with_outliers()
    fires = rules_layers.layers_alike(case(model, splits=splits))
    assert fires.fires and fires.measured["chosen"] < fires.measured["alike"]
    reviewed = case()
    reviewed.__dict__["sensitivity"] = scan(dict.fromkeys(reviewed.layer_names, 0.5))
    silent = rules_layers.layers_alike(reviewed)
    assert set(silent.measured["bits"].values()) == {4} and not silent.fires


def test_skip_quality_validation():
    train, test = toy_splits().train, toy_splits().test
    enough = replace(vectors("validation", 2000), name="validation")
    silent = rules_data.quality_validation(case(splits=Splits(train, enough, test)))
    assert not silent.fires and not any(silent.measured["leaks"].values())
    leaking = replace(enough, inputs=torch.cat([train.inputs[:7], enough.inputs[7:]]))
    fires = rules_data.quality_validation(case(splits=Splits(train, leaking, test)))
    assert fires.fires and fires.measured["leaks"]["train and validation"] == 7
    few = rules_data.quality_validation(case(splits=Splits(train, enough.subset(60), test)))
    assert few.fires and "tells accuracies apart only beyond" in few.summary


def test_a_review_has_every_rule_and_ranks_pipelines_by_what_was_measured():
    before = flat_weights(toy_model()).clone()
    found = advisor.review(toy_model(), toy_splits(), progress=False)
    assert [one.rule for one in found.findings] == list(advisor.RULES) and len(advisor.RULES) == 10
    assert 2 <= len(found.proposals) <= 3
    good = [one for one in found.proposals if one.retained >= 0.99]
    assert good == sorted(good, key=lambda one: one.stored_bytes) == found.proposals[: len(good)]
    assert "Pipelines to begin with" in str(found) and "<table>" in found._repr_html_()
    assert found.to_dict()["proposals"][0]["pipeline"]["steps"]
    assert torch.equal(flat_weights(toy_model()), before)


def test_a_rule_that_cannot_be_measured_fires_and_says_why(monkeypatch):
    def refuses(_):
        raise ValueError("layer 'x' has no kernel")

    monkeypatch.setitem(advisor.RULES, "compress blindly", refuses)
    found = advisor.review(toy_model(), toy_splits(), progress=False, proposals=False)
    assert found["compress blindly"].fires and "layer 'x' has no kernel" in found["compress blindly"].summary
    assert found["exceed 95 % sparsity"].summary
