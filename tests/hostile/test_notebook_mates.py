"""A right answer keeps its points whatever another answer of the same notebook does to Python, torch or the kernel."""

from __future__ import annotations

import pytest

from tests.hostile.conftest import LIMITS, WRONG

MATES = {
    "Tensor.tolist and item are replaced": """
        import torch
        torch.Tensor.tolist = torch.Tensor.item = torch.Tensor.flatten = lambda self, *_: 0
    """,
    "print is replaced": """
        import builtins
        builtins.print = lambda *_, **__: None
    """,
    "standard output is replaced": """
        import io, sys
        sys.stdout = io.StringIO()
    """,
    "threads print": """
        import threading, time

        def noise():
            while True:
                print("noise")
                time.sleep(0.01)

        for _ in range(3):
            threading.Thread(target=noise, daemon=True).start()
    """,
    "nn.Linear is replaced and names are deleted": """
        import torch
        torch.nn.Linear = torch.Generator = torch.rand = None
        del math
    """,
    "the default dtype is float64": "import torch\ntorch.set_default_dtype(torch.float64)\n",
    "the default device holds no values": "import torch\ntorch.set_default_device('meta')\n",
    "gradients are off and random numbers are seeded": """
        import torch
        torch.set_grad_enabled(False)
        torch.inference_mode().__enter__()
        torch.manual_seed(1)
    """,
    "warnings are errors and the stack is short": """
        import sys, warnings
        warnings.simplefilter("error")
        sys.setrecursionlimit(60)
    """,
    "the kernel executes nothing more": """
        get_ipython().kernel.do_execute = None
    """,
    "malformed messages are on iopub": """
        kernel = get_ipython().kernel
        for parts in ([b"", b"noise"], [b"stream", b"<IDS|MSG>", b"x", b"{", b"{}", b"{}", b"{}"]):
            kernel.iopub_socket.send_multipart(parts)
    """,
    "the shell runs no cell": """
        get_ipython().run_cell = get_ipython().run_cell_async = lambda *_, **__: None
    """,
}


@pytest.mark.parametrize("label", MATES)
def test_a_right_answer_keeps_its_points(grader, label):
    assert not grader.attack(MATES[label] + WRONG, LIMITS).passed
