"""Bits per layer: the choice respects the budget, and is close to the best one."""

from __future__ import annotations

import itertools

import pandas
import pytest
import torch
from torch import nn

from course_lib.quantization import bits_per_layer, choose_bits


def table(rows) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=["layer", "bits", "bytes", "damage"])


def test_the_layer_with_the_least_damage_per_byte_gets_fewer_bits():
    frame = table(
        [
            ("a", 8, 80, 0.0),
            ("a", 4, 40, 0.1),
            ("b", 8, 80, 0.0),
            ("b", 4, 40, 0.5),
            ("c", 8, 8, 0.0),
            ("c", 4, 4, 0.04),
        ]
    )
    assert choose_bits(frame, 200) == {"a": 8, "b": 8, "c": 8}
    assert choose_bits(frame, 130) == {"a": 4, "b": 8, "c": 8}
    assert choose_bits(frame, 124) == {"a": 4, "b": 8, "c": 4}
    assert choose_bits(frame, 84) == {"a": 4, "b": 4, "c": 4}
    with pytest.raises(ValueError, match="at least 84 bytes"):
        choose_bits(frame, 83)


def test_the_choice_is_near_the_best_of_all_choices():
    generator = torch.Generator().manual_seed(0)
    rows = []
    for layer in "abcde":
        size = int(torch.randint(10, 200, (), generator=generator))
        worst = float(torch.rand((), generator=generator))
        rows += [(layer, bits, size * bits, worst / 4**bits) for bits in (2, 3, 4, 8)]
    frame = table(rows)
    options = {
        layer: list(part[["bits", "bytes", "damage"]].itertuples(index=False)) for layer, part in frame.groupby("layer")
    }
    for share in (0.3, 0.5, 0.8):
        budget = int(share * frame[frame["bits"] == 8]["bytes"].sum())
        fitting = [combo for combo in itertools.product(*options.values()) if sum(one.bytes for one in combo) <= budget]
        best = min(sum(one.damage for one in combo) for combo in fitting)
        chosen = choose_bits(frame, budget)
        ours = [next(one for one in options[layer] if one.bits == bits) for layer, bits in chosen.items()]
        assert sum(one.bytes for one in ours) <= budget
        assert sum(one.damage for one in ours) <= 3 * best + 1e-9


def test_one_number_keeps_the_edges_at_eight_bits_and_a_mapping_says_everything():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
    assert bits_per_layer(model, 3) == {"0": 8, "2": 3, "3": 8}
    assert bits_per_layer(model, 3, edge_bits=None) == {"0": 3, "2": 3, "3": 3}
    assert bits_per_layer(model, {"3": 2, "0": 4, "2": 3}) == {"0": 4, "2": 3, "3": 2}
    for wrong in ({"0": 4}, {"0": 4, "2": 4, "3": 4, "1": 4}):
        with pytest.raises(ValueError, match="must name exactly the layers"):
            bits_per_layer(model, wrong)
