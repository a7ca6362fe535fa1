"""What a pipeline file may say, and how errors name the remedy; nothing runs."""

from __future__ import annotations

import jsonschema
import pytest

from course_lib.pipeline import STEPS, Pipeline, PipelineError, load, load_sweep, schema, step
from course_lib.pipeline.schema import argument_schema, methods, step_names

PRUNE, RTN = {"prune": {"sparsity": 0.5}}, {"quantize": {"method": "rtn"}}


def test_every_described_step_exists_and_every_step_is_described():
    assert sorted(step_names()) == sorted(STEPS)


def test_a_pipeline_completes_arguments_with_the_defaults_of_the_schema():
    ((_, arguments),) = Pipeline([PRUNE]).complete()
    assert (arguments["sparsity"], arguments["scope"], arguments["epochs"]) == (0.5, "global", 0)


def test_python_and_yaml_say_the_same(tmp_path):
    plan = Pipeline([step("prune", sparsity=0.5), "code"], model="resnet18", data="fashion_mnist", seed=3)
    (tmp_path / "plan.yaml").write_text(plan.to_yaml(), encoding="utf-8")
    assert load(tmp_path / "plan.yaml") == plan


def test_the_schema_accepts_what_the_pipeline_accepts():
    document = Pipeline([PRUNE, RTN, "code"], model="resnet18").to_dict()
    jsonschema.validate(document, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"steps": [{"prune": {"sparsity": 2}}]}, schema())


@pytest.mark.parametrize("name", step_names())
def test_defaults_fit_their_own_schema(name):
    for method in methods(name) or (None,):
        properties = argument_schema(name, method)["properties"]
        for entry in properties.values():
            if "default" in entry:
                jsonschema.validate(entry["default"], entry)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"prume": {"sparsity": 0.5}}], r"step 1 is unknown: 'prume' \(did you mean 'prune'\?\); known are prune"),
        ([{"prune": {"sparsty": 0.5}}], r"step 1 \(prune\): argument 'sparsty' is unknown \(did you mean 'sparsity'"),
        ([{"prune": {}}], r"step 1 \(prune\) needs the argument 'sparsity'"),
        ([{"prune": {"sparsity": 1.0}}], r"sparsity must be below 1, got 1.0"),
        ([{"prune": {"sparsity": "much"}}], r"sparsity must be of type number, got 'much'"),
        ([{"quantize": {"method": "gtpq"}}], r"method 'gtpq' is unknown \(did you mean 'gptq'\?\)"),
        ([{"quantize": {"method": "rtn", "c": 1}}], r"argument 'c' is unknown"),
        ([{"remove_channels": {}}], r"needs exactly one of 'ratio', 'macs_factor', got none"),
        ([{"remove_channels": {"ratio": 0.5, "macs_factor": 2}}], r"got both 'ratio' and 'macs_factor'"),
        ([3], r"step 1 must be a name, or one name with its arguments, got 3"),
        ([], r"at least one step"),
    ],
)
def test_an_unknown_name_or_value_is_named_with_what_is_allowed(steps, message):
    with pytest.raises(PipelineError, match=message):
        Pipeline(steps)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["code", PRUNE], r"step 2 \(prune\) comes after code, which writes the file; put code last"),
        ([RTN, "fine_tune"], r"step 2 \(fine_tune\) cannot come after quantize: .*method qat"),
        ([RTN, {"prune": {"sparsity": 0.5, "epochs": 1}}], r"cannot come after quantize: training would move"),
        ([PRUNE, {"distil": {"student": {"builder": "mlp"}}}], r"put distil first, or use fine_tune"),
        ([RTN, {"remove_channels": {"ratio": 0.5}}], r"put remove_channels first"),
        ([PRUNE, {"factorize": {"size": 0.5}}], r"put factorize first"),
        ([RTN, "share"], r"keep one of the two"),
    ],
)
def test_an_impossible_order_is_refused_with_an_order_that_works(steps, message):
    with pytest.raises(PipelineError, match=message):
        Pipeline(steps)


def test_pruning_may_come_before_or_after_quantization():
    assert [one.name for one in Pipeline([RTN, PRUNE]).steps] == ["quantize", "prune"]
    assert [one.name for one in Pipeline([PRUNE, RTN]).steps] == ["prune", "quantize"]


def test_a_sweep_is_every_combination_of_its_values(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "model: resnet18\nsweep: {sparsity: [0.5, 0.9], bits: [8, 4, 2]}\n"
        "steps:\n- prune: {sparsity: $sparsity}\n- quantize: {method: rtn, bits: $bits}\n"
    )
    found = load_sweep(file)
    assert len(found) == 6 and "sparsity=0.9 bits=2" in found
    assert found["sparsity=0.9 bits=2"].steps[1].arguments["bits"] == 2
    with pytest.raises(PipelineError, match="describes a sweep"):
        load(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "is not valid YAML"),
        ("- prune", "a pipeline must be a mapping with 'steps', got list"),
        ("stpes: []", r"entry 'stpes' is unknown \(did you mean 'steps'\?\)"),
        ("model: resnet18", "a pipeline needs 'steps'"),
        ("steps: [code]\nseed: many", "seed must be of type integer, got 'many'"),
    ],
)
def test_a_file_that_is_no_pipeline_says_why(tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(PipelineError, match=message):
        load(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: {bits: [2]}\nsteps: [code]", r"sweep lists 'bits', but no step holds \$bits"),
        ("sweep: {s: [0.5]}\nsteps: [{prune: {sparsity: $s, scope: $t}}]", r"placeholder \$t has no values"),
        ("sweep: {s: [0.5]}\npipelines: {a: [code]}", "keep one of them"),
        ("sweep: {s: [0.5, 2]}\nsteps: [{prune: {sparsity: $s}}]", "sparsity must be below 1, got 2"),
    ],
)
def test_a_sweep_that_cannot_run_says_why(tmp_path, text, message):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(PipelineError, match=message):
        load_sweep(tmp_path / "sweep.yaml")
