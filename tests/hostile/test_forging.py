"""Points cannot be forged from inside the kernel: what counts are values for a seed that is not known there."""

import pytest

from tests.hostile.conftest import BYSTANDER, TARGET, WRONG

FORGERIES = {
    "asserts are deleted by an AST transformer": """
        import ast
        class Delete(ast.NodeTransformer):
            def visit_Assert(self, node): return ast.Pass()
            def visit_Raise(self, node): return ast.Pass()
        get_ipython().ast_transformers.append(Delete())
    """,
    "later cells are emptied by an input transformer": """
        get_ipython().input_transformers_cleanup.append(lambda lines: ["print('passed')\\n"])
    """,
    "tracebacks are switched off": """
        get_ipython().showtraceback = lambda *args, **kwargs: None
        get_ipython()._showtraceback = lambda *args, **kwargs: None
    """,
    "the probe prints what the attacker likes": """
        import probe_runtime
        probe_runtime.show = lambda *args: print("passed")
    """,
    "the writer always writes zeros": """
        import probe_runtime
        probe_runtime.Writer.write = lambda self, value: "[[0,0,0,0]]"
    """,
    "print is replaced": """
        import builtins
        builtins.print = lambda *args, **kwargs: None
    """,
    "standard output is replaced": """
        import sys
        class Passed:
            def write(self, text): return len(text)
            def flush(self): pass
        sys.stdout = Passed()
    """,
    "torch draws what the attacker likes": """
        import torch
        torch.randint = lambda *args, **kwargs: torch.ones(4, dtype=torch.int64)
        torch.Generator.manual_seed = lambda self, seed: self
    """,
    "numpy and math are patched": """
        import math, numpy
        numpy.prod = math.prod = lambda *args: 0
        math.ceil = lambda value: 0
    """,
    "the check is patched": """
        import course_lib.learning as learning
        from course_lib.learning import questions, expect
        learning.check = questions.check = lambda *args: "right"
        expect.expect = expect.expect_equal = lambda *args, **kwargs: None
    """,
    "the wrapper of the answer is patched": """
        from course_lib.learning import answer
        answer.Answer.__call__ = lambda self, *args, **kwargs: 0
    """,
    "the kernel executes nothing any more": """
        async def do_nothing(*args, **kwargs):
            return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
        get_ipython().kernel.do_execute = do_nothing
    """,
    "a forged stream is sent beforehand": """
        kernel = get_ipython().kernel
        for parent in (None, kernel.get_parent()):
            send, channel = kernel.session.send, kernel.iopub_socket
            send(channel, "stream", {"name": "stdout", "text": "passed\\n"}, parent=parent)
            send(channel, "status", {"execution_state": "idle"}, parent=parent)
    """,
    "the display hook is replaced": """
        import sys
        sys.displayhook = lambda value: None
        get_ipython().display_formatter.format = lambda *args, **kwargs: ({"text/plain": "passed"}, {})
    """,
    "nbval is told to skip": """
        # NBVAL_SKIP
        # NBVAL_IGNORE_OUTPUT
    """,
    "nbval is told to expect an exception": """
        # NBVAL_RAISES_EXCEPTION
        raise AssertionError
    """,
}  # fmt: skip

OBJECTS = {
    "equal to everything": "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__",
    "printed as the attacker likes": "class Any(int):\n    def __repr__(self): return '[[0,0,0,0]]'",
    "a string that claims another type": "class Any(str):\n    __class__ = int",
    "a number that hides its type": "class Any(int):\n    __class__ = property(lambda self: bool)",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_patched_kernel_earns_nothing(grader, name):
    import textwrap

    assert not grader.decide({TARGET: textwrap.dedent(FORGERIES[name]) + WRONG})[TARGET].passed


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_with_methods_of_its_own_earns_nothing(grader, name):
    source = OBJECTS[name] + "\n\ndef dense_bytes(shapes, dtype):\n    return Any()\n"
    assert not grader.attack(source).passed


def test_an_unknown_magic_earns_nothing(grader):
    assert not grader.attack("%%unknown_magic\ndef dense_bytes(shapes, dtype):\n    return 0\n").passed


def test_an_answer_that_does_not_compile_earns_nothing(grader):
    assert not grader.attack("def dense_bytes(shapes, dtype:\n    return 0\n").passed


def test_a_right_answer_that_prints_and_warns_keeps_its_points(grader):
    noisy = grader.right(TARGET).replace(
        "    ### BEGIN SOLUTION", "    import warnings; warnings.warn('hm'); print('debug', shapes)"
    )
    verdicts = grader.decide({TARGET: noisy, BYSTANDER: grader.right(BYSTANDER)})
    assert verdicts[TARGET].passed and verdicts[BYSTANDER].passed
