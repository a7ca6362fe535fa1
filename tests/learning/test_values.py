from __future__ import annotations

import enum

import numpy
import pytest
import torch

from course_lib.learning.values import UnusableResult, clone, describe, plain


class YesInt(int):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __add__(self, other):
        return 42

    def __int__(self):
        return 42


class YesText(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__

    def __str__(self):
        return "anything"


class Silent:
    def __repr__(self):
        raise RuntimeError("no description")

    __str__ = __repr__


class Colour(enum.IntEnum):
    RED = 3


def test_number_and_text_subclasses_lose_what_they_override():
    number, text = plain(YesInt(7)), plain(YesText("seven"))
    assert type(number) is int and number == 7 and number != 8
    assert type(text) is str and text == "seven" and text != "eight"
    assert plain(Colour.RED) == 3 and type(plain(Colour.RED)) is int


def test_a_list_that_lies_about_its_entries_is_read_by_the_methods_of_list():
    class Liar(list):
        def __iter__(self):
            return iter([1, 2, 3])

        def __len__(self):
            return 3

    assert plain(Liar([9])) == [9]
    assert plain({"a": (YesInt(1), Liar([2]))}) == {"a": (1, [2])}


def test_numpy_scalars_become_python_numbers_and_torch_size_a_tuple():
    assert type(plain(numpy.float32(0.5))) is float
    assert type(plain(numpy.float64(0.5))) is float
    assert plain(numpy.bool_(True)) is True
    assert plain(numpy.int64(3)) == 3
    assert type(plain(torch.Size([2, 3]))) is tuple


def test_tensor_subclasses_are_refused_and_attributes_of_a_tensor_are_removed():
    class YesTensor(torch.Tensor):
        def __eq__(self, other):
            return torch.ones(self.shape, dtype=torch.bool)

    with pytest.raises(UnusableResult, match=r"plain torch\.Tensor"):
        plain(torch.ones(2).as_subclass(YesTensor))
    tensor = torch.ones(2, requires_grad=True)
    tensor.sum = lambda: 42
    cleaned = plain(tensor)
    assert cleaned.sum().item() == 2 and cleaned.requires_grad


def test_a_list_that_contains_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(UnusableResult, match="nested"):
        plain(endless)


def test_a_dictionary_key_of_an_unsupported_type_is_refused():
    with pytest.raises(UnusableResult, match="key"):
        plain({Silent(): 1})


def test_a_clone_shares_nothing_and_keeps_layout_dtype_and_gradient_flag():
    weight = torch.arange(12.0).reshape(3, 4).T.requires_grad_()
    copied = clone({"w": [weight]})["w"][0]
    assert copied.stride() == weight.stride() and copied.requires_grad and copied.is_leaf
    with torch.no_grad():
        copied.zero_()
    assert weight.sum() == 66
    strided = torch.arange(12)[::3]
    assert torch.equal(clone(strided), strided)
    layer = torch.nn.Linear(2, 2)
    assert clone(layer).weight is not layer.weight
    array = numpy.zeros(2)
    assert clone(array) is not array


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (0.123456789, "0.123457"),
        (11_181_642, "11,181,642"),
        (True, "True"),
        ("x" * 200, "'" + "x" * 58 + "…"),
        (torch.zeros(64, 3, 3, 3), "float32 tensor of shape (64, 3, 3, 3)"),
        (torch.tensor([1, 2]), "int64 tensor [1, 2]"),
        (torch.tensor(2.5), "float32 tensor with the value 2.5"),
        (torch.zeros(0), "float32 tensor of shape (0,)"),
        (numpy.zeros((2, 3)), "float64 array of shape (2, 3)"),
        ([1, "a", None], "[1, 'a', None]"),
        ({"a": 1}, "{'a': 1}"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, … 100 in all]"),
        (Silent(), "an object of type Silent"),
        (torch.float16, "torch.float16"),
        (torch.nn.Linear, "the class Linear"),
        (torch.nn.Linear(1, 1), "an object of type Linear"),
        (len, "the function len"),
        (torch.eye(2).to_sparse(), "float32 tensor of shape (2, 2) that is not dense"),
    ],
)
def test_descriptions_are_short_and_never_call_a_learners_method(value, text):
    assert describe(value) == text
