"""The layer table against arithmetic by hand and against the counts of the whole model."""

import importlib

import pytest
import torch
from torch import nn

from course_lib import profiling
from tests.profiling.networks import TOKENS, SmallNet, bert, mlp

ROOFLINE = importlib.import_module("course_lib.profiling.roofline")  # the package attribute is the function


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


def test_limits_that_a_layer_beats_are_measured_again(monkeypatch):
    answers = iter([profiling.Roofline(1e-6, 1.0, 1), profiling.Roofline(1e6, 1.0, 1)])
    monkeypatch.setattr(ROOFLINE, "_measure", lambda threads: next(answers))
    table = profiling.layers(mlp(64, 64, 8), torch.randn(4, 64))
    assert (table["bound"].iloc[:2] == "memory").all()
    assert profiling.roofline().peak_gflops == 1e6
