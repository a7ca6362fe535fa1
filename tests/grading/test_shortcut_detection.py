"""Shortcuts are found by reading an answer; ordinary and broken answers get no flag."""

import pytest

from course_lib.grading.shortcut_detection import FlagKind, flags


@pytest.mark.parametrize(
    ("source", "flag"),
    [
        ("from course_lib import pruning", "uses course_lib.pruning"),
        ("import torch.nn.utils.prune as p", "uses torch.nn.utils.prune"),
        ("def f(): return torch.nn.utils.prune.l1_unstructured", "uses torch.nn.utils.prune"),
        (
            "from course_lib.learning.exercises.lesson_10.reference import layer_map",
            "uses course_lib.learning.exercises",
        ),
        ("from course_lib.learning.exercises.lesson_10 import questions as one", "uses course_lib.learning.exercises"),
        ("import course_lib.learning.exercises", "uses course_lib.learning.exercises"),
        ("import os", "imports os"),
        ("__import__('course_lib')", "uses __import__"),
        ("f.__globals__", "uses __globals__"),
        ("import importlib\nimportlib.import_module('course_lib.pruning')", "imports importlib"),
        ("def f(conv, norm): return nn.utils.fuse_conv_bn_eval(conv, norm)", "uses torch.nn.utils.fuse_conv_bn_eval"),
        ("from torch.nn.utils import fuse_conv_bn_weights", "uses torch.nn.utils.fuse_conv_bn_weights"),
        ("f = torch.quantization.quantize_dynamic", "uses torch.quantization"),
        ("torch.importlib.import_module('x')", "uses torch.importlib"),
        ("torch.sys.modules", "uses torch.sys"),
        ("modules['course_lib.pruning'].f", "names course_lib.pruning in a text, which may be the solution itself"),
        ("%matplotlib inline\nfrom course_lib import pruning", "uses magics"),
        ("%%time\nfrom course_lib import pruning", "uses magics"),
        ("x = !ls\nfrom course_lib import pruning", "is no plain Python"),
    ],
)
def test_shortcuts_are_flagged(source, flag):
    assert any(found.text.startswith(flag) for found in flags(source))


def test_a_magic_hides_no_shortcut():
    found = flags("%%capture\nfrom course_lib import pruning\ndef f(x): return pruning.f(x)")
    assert "uses course_lib.pruning, which may be the solution itself" in [flag.text for flag in found]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("from course_lib import pruning", FlagKind.SOLUTION),
        ("f = modules['course_lib.pruning']", FlagKind.SOLUTION),
        ("import torch\nf = torch.ao.quantization", FlagKind.SOLUTION),
        ("import os", FlagKind.INSPECTION),
        ("x = eval('1')", FlagKind.INSPECTION),
        ("x = !ls", FlagKind.UNREADABLE),
    ],
)
def test_the_kind_of_a_flag_says_what_was_found(source, kind):
    assert {flag.kind for flag in flags(source)} == {kind}


HELPER = "from course_lib.learning.exercises.lesson_03.playground import layer_sizes"


@pytest.mark.parametrize(
    "source",
    ["import torch, math", "def f(x): return x", "def f(:", "f(" * 10_000, HELPER, "nn.utils.clip_grad_norm_(p, 1)"],
)
def test_ordinary_and_broken_answers_are_not(source):
    assert flags(source) == []
