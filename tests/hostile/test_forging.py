"""Points cannot be forged inside the kernel: the values for a seed that is not known there decide."""

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
        import importlib
        import course_lib.learning as learning
        from course_lib.learning import questions
        expect = importlib.import_module("course_lib.learning.expect")
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
    "the expected format is printed": """
        for shape in ("[[0,0,0,0]]", "[0]", "passed", "[True,True,True,True]"):
            print(shape)
        get_ipython().events.register("post_run_cell", lambda *args: print("[[0,0,0,0]]"))
    """,
    "a thread prints during the probe": """
        import os, threading
        def chatter():
            while True:
                os.write(1, b"[[0,0,0,0]]\\n")
                print("[[0,0,0,0]]", flush=True)
        threading.Thread(target=chatter, daemon=True).start()
    """,
    "values are recorded and altered in the probe's own code": """
        import probe_runtime
        from course_lib.learning.answer import Answer
        original = probe_runtime.values
        def spied(module, function, answer, seed):
            got = original(module, function, answer, seed)
            return [got, got] if got != 0 else seed
        probe_runtime.values = spied
        probe_runtime.DIGITS = 0
        probe_runtime.Writer._float = lambda self, value: "0.0"
        probe_runtime.Writer.floors = property(lambda self: frozenset(range(1000)), lambda self, value: None)
    """,
    "the probe gets another seed": """
        import torch
        torch.Generator = lambda *args, **kwargs: torch.default_generator
        torch.default_generator.manual_seed(0)
    """,
    "an import hook replaces the probe": """
        import sys, types
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "probe_runtime" or "exercises" in name:
                    raise ImportError("not today")
        sys.meta_path.insert(0, Finder())
        fake = types.ModuleType("probe_runtime")
        fake.show = lambda *args: print("[[0,0,0,0]]")
        sys.modules["probe_runtime"] = fake
    """,
    "the history is rewritten": """
        In = Out = {}
        get_ipython().user_ns.clear()
        get_ipython().execution_count = 10**9
    """,
    "replies are forged": """
        kernel = get_ipython().kernel
        original = kernel.session.send
        def send(stream, kind, content=None, *args, **kwargs):
            if kind == "error" or (isinstance(kind, dict) and kind.get("msg_type") == "error"):
                return None
            return original(stream, kind, content, *args, **kwargs)
        kernel.session.send = send
    """,
    "messages are malformed": """
        kernel = get_ipython().kernel
        parent = kernel.get_parent()
        for kind, content in (
            ("stream", {}), ("stream", {"name": None, "text": None}), ("stream", []), ("display_data", {"data": None}),
            ("execute_result", {"data": {"text/plain": 7}, "metadata": None}), ("update_display_data", {"x": 1}),
            ("error", {"ename": {}, "evalue": [], "traceback": None}), ("clear_output", {}), ("no_such_type", {}),
            ("stream", {"name": "stdout", "text": "\\ud800 \\x00 \\x1b[2J"}), ("execute_input", {}),
            ("status", {}), ("status", {"execution_state": "dead"}), ("status", {"execution_state": "idle"}),
        ):
            try: kernel.session.send(kernel.iopub_socket, kind, content, parent=parent)
            except Exception: pass
    """,
    "garbage on the wire": """
        import os, stat
        for number in range(3, 300):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode): os.write(number, b"\\xff" * 100_000)
            except OSError: pass
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


SOURCES = {
    "a shell command": "!echo '[[0,0,0,0]]'\n" + WRONG,
    "a magic that runs a file": "%run /course/probe_runtime.py\n" + WRONG,
    "a magic that resets the kernel": "%reset -f\n" + WRONG,
    "a magic that switches a debugger on": "%pdb on\n" + WRONG,
    "a name that only looks the same": "def d\u0435nse_bytes(shapes, dtype):\n    return 0\n",
    "a name in compatibility letters": "def \uff44ense_bytes(shapes, dtype):\n    return 0\n",
    "text that runs backwards": "\u202edef f(): pass\u202c\n" + WRONG,
    "tabs and form feeds": "\x0c\t\x0b\n" + WRONG,
    "an encoding cookie": "# -*- coding: rot13 -*-\n" + WRONG,
    "another language": "%%javascript\nIPython.notebook.kernel.execute('1')\n",
    "a class instead of a function": "class dense_bytes(dict):\n    def __init__(self, *args): pass\n",
    "a coroutine": "async def dense_bytes(shapes, dtype):\n    return 0\n",
    "a generator": "def dense_bytes(shapes, dtype):\n    yield 0\n",
    "very many brackets": "(" * 9_000,
    "a very deep expression": "x = " + "-" * 9_000 + "1\n" + WRONG,
    "one very long line": "x = '" + "y" * 19_000 + "'\n" + WRONG[:600],
    "nothing at all": " ",
    "the name is deleted": "dense_bytes = 1\ndel dense_bytes\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_trick_of_the_source_earns_nothing(grader, name):
    assert not grader.attack(SOURCES[name]).passed


@pytest.mark.parametrize("name", ["def \uff44ense_bytes(", "%matplotlib inline\ndef dense_bytes("])
def test_a_right_answer_in_unusual_letters_keeps_its_points(grader, name):
    assert grader.attack(grader.right(TARGET).replace("def dense_bytes(", name)).passed


def test_an_answer_that_does_not_compile_earns_nothing(grader):
    assert not grader.attack("def dense_bytes(shapes, dtype:\n    return 0\n").passed


def test_a_right_answer_that_prints_and_warns_keeps_its_points(grader):
    noisy = grader.right(TARGET).replace(
        "    ### BEGIN SOLUTION", "    import warnings; warnings.warn('hm'); print('debug', shapes)"
    )
    verdicts = grader.decide({TARGET: noisy, BYSTANDER: grader.right(BYSTANDER)})
    assert verdicts[TARGET].passed and verdicts[BYSTANDER].passed
