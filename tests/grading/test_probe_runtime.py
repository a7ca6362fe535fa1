"""Values are written canonically: rounding noise is invisible, differences of type and size are not."""

import json
import math

import pytest
import torch

from course_lib.grading.probe_runtime import Writer, tagged, untagged


def line(value, floors=()):
    return Writer(floors).write(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (7.0, "7000e-3"),
        (True, "True"),
        (None, "None"),
        ("a\n", '"a\\n"'),
        ([1, (2, "x")], '[1,[2,"x"]]'),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        ({3, 1}, "{1,3}"),
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (1e-12, "0.0"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (-123.456, "-1235e-1"),
        (torch.tensor([[True, False]]), "bool[1,2]:10"),
        (torch.tensor([1, -2]), "int64[2]:1,-2"),
        (torch.tensor([1.0, 0.5, 0.0]), "float[3]e-3:1000,500,0"),
        (torch.tensor([1.0, 0.5, 0.0]).double(), "float[3]e-3:1000,500,0"),
        (torch.zeros(0, 2), "float[0,2]e0:"),
        (torch.tensor([100.0]).half(), "float16 float[1]e-1:1000"),
        (torch.tensor([100.0]).bfloat16(), "bfloat16 float[1]e-1:1000"),
        (torch.tensor(7.0).half(), "float16 7000e-3"),
        (torch.tensor([math.inf, 2.0]), "float[2]e-3:inf,2000"),
        (torch.tensor(7.0), "7000e-3"),
        (torch.tensor(7, dtype=torch.int8), "7"),
        (torch.tensor([1.0]).numpy(), "array float[1]e-3:1000"),
    ],
)
def test_values_are_written_as(value, text):
    assert line(value) == text


@pytest.mark.parametrize("value", [object(), 1j, print, [1, {2: object()}]])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError, match="cannot be written"):
        line(value)


def test_a_subclass_is_not_the_type_it_claims_to_be():
    class Any(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

    with pytest.raises(TypeError, match="Any cannot be written"):
        line(Any())


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_float32_never_shows_when_edges_are_cut(seed):
    generator = torch.Generator().manual_seed(seed)
    exact = torch.randn(500, generator=generator, dtype=torch.float64) * 10.0 ** (seed - 10)
    noisy = exact * (1 + 1e-6 * torch.randn(500, generator=generator, dtype=torch.float64))
    for convert in (torch.Tensor.tolist, lambda tensor: tensor.float()):
        first = Writer()
        first.write(convert(exact))
        if not first.fragile:
            assert line(convert(noisy), first.near_edges) == line(convert(exact), first.near_edges)


def test_a_value_near_an_edge_is_named_and_cut():
    writer = Writer()
    assert writer.write([1.0, 1.2345]) in ("[1000e-3,1234e-3]", "[1000e-3,1235e-3]")
    assert writer.near_edges == [1]
    assert line([1.0, 1.2345001], [1]) == line([1.0, 1.2344999], [1]) == "[1000e-3,1234e-3]"


@pytest.mark.parametrize("value", [0.1, 1.0, 10.0, 1000.0])
def test_powers_of_ten_are_not_fragile(value):
    writer = Writer()
    assert writer.write(value) == line(value * (1 - 1e-7)) == line(value * (1 + 1e-7)) and not writer.fragile
    assert line(torch.tensor([value])) == line(torch.tensor([value * (1 - 1e-7)]))


def test_a_difference_in_the_fourth_digit_shows():
    assert line(1.234) != line(1.235) and line(torch.tensor([1.0, 0.5])) != line(torch.tensor([1.0, 0.502]))


@pytest.mark.parametrize("value", [1, 0.1, "x", None, [1, [2]], (0.86, 0.2), {"a", "b"}, {1: (2,), "x": [True]}])
def test_plain_values_survive_as_json_with_their_types(value):
    assert untagged(json.loads(json.dumps(tagged(value)))) == value


@pytest.mark.parametrize("value", [["evil", 1], [1, 2], ["dict", 1], ["set", ["list"]], [], [["list"]]])
def test_other_json_is_refused(value):
    with pytest.raises(ValueError, match="not a tagged value"):
        untagged(value)
