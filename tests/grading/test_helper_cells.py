"""Which added cells belong to the program, and what names their code defines and uses."""

import pytest

from course_lib.grading import helper_cells


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np",
        "from math import ceil\n\nEPS = 1e-9",
        '"""Helpers."""\ndef twice(x):\n    return 2 * x',
        "class Stack(list):\n    LIMIT = 3",
        "LIMITS: dict[str, tuple] = {'a': (1, 2), 'b': (-3, 2**8)}",
        "INFINITE, NAMES = float('inf'), sorted(['b', 'a'])",
        "ROOT = math.sqrt(2) + torch.tensor([1.0, 2.0])[0]",
        "square = lambda x: print(x)",
        "SQUARES = [n**2 for n in range(5) if n]",
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None",
        "%matplotlib inline\nimport math",
    ],
)
def test_imports_functions_classes_and_constants_belong_to_the_program(source):
    assert helper_cells.refusal(source) is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = magnitude_mask(weight, 0.5)", "line 1 computes something"),
        ("import torch\ntorch.set_default_dtype(torch.float64)", "line 2 computes something"),
        ("for i in range(3):\n    pass", "line 1 computes something"),
        ("x = y = [f(1)]", "line 1 computes something"),
        ("N = [print(n) for n in range(5)]", "line 1 computes something"),
        ("table['a'] = 1", "line 1 computes something"),
        ("def f(:", "it is not plain Python"),
        ("%%time\nimport math", "it is a cell of %%time"),
        ("!pip install x\nprint(1)", "line 1 computes something"),
    ],
)
def test_any_other_cell_is_left_out_with_the_reason(source, reason):
    assert helper_cells.refusal(source) == reason


def test_what_a_source_needs_is_followed_through_the_names_that_it_uses():
    sources = {
        "a": "import math\ndef low(x): return math.ceil(x)",
        "b": "def high(x): return low(x) + LIMIT",
        "c": "LIMIT = 3",
        "d": "def other(): return 1",
        "e": "def broken(:",
    }
    assert helper_cells.needed("b", sources) == {"a", "c"}
    assert helper_cells.needed("d", sources) == helper_cells.needed("e", sources) == set()
