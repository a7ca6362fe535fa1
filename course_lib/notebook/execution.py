"""Execute the cells of one notebook in a fresh kernel of this Python, and measure the kernel's memory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm.auto import tqdm
from traitlets.config import Config

from course_lib.core import memory
from course_lib.notebook import ipc_kernels

CELL_TIMEOUT = 300
QUIET_KERNEL = "--IPKernelApp.log_level=ERROR"  # it warns at every start that it talks over loopback
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Execution:
    """One run of all cells.

    Args:
        error: one line for a failure, else empty.
        seconds: wall-clock time, the kernel's start included.
        peak_mb: highest resident memory of the kernel, in MB (10^6 bytes).
    """

    error: str
    seconds: float
    peak_mb: float


class _OwnKernelManager(AsyncKernelManager):
    """Starts the kernel of the running interpreter, whatever kernels the machine has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir="", **get_kernel_dict())


class _Meter:
    """Shows finished cells on a progress bar, and records the kernel's peak resident memory."""

    def __init__(self, notebook: NotebookNode, name: str) -> None:
        self.bar = tqdm(total=len(code_cells(notebook)), desc=name, unit="cell", leave=False)
        self.client: NotebookClient | None = None
        self.peak_mb = 0.0
        self.started = 0

    async def on_cell_execute(self, **_: Any) -> None:
        self.started += 1

    async def on_cell_executed(self, **_: Any) -> None:
        self.bar.update()
        provisioner = getattr(self.client and self.client.km, "provisioner", None)
        if isinstance(provisioner, LocalProvisioner) and provisioner.pid:
            self.peak_mb = max(self.peak_mb, memory.peak_bytes(provisioner.pid) / 1e6)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: NotebookNode, path: Path, timeout: float) -> Execution:
    """Run all cells of ``notebook``, which receives the outputs, in the folder of its file ``path``.

    Args:
        timeout: seconds that one cell may take.
    """
    meter, started = _Meter(notebook, path.stem), time.monotonic()
    with ipc_kernels.connection_settings() as connection:
        client = NotebookClient(
            notebook, timeout=timeout, kernel_name="python3", kernel_manager_class=_OwnKernelManager,
            resources={"metadata": {"path": str(path.resolve().parent)}}, on_cell_execute=meter.on_cell_execute,
            on_cell_executed=meter.on_cell_executed, store_widget_state=True, record_timing=False,
            extra_arguments=[QUIET_KERNEL], config=Config({"KernelManager": connection}),
        )  # fmt: skip
        meter.client = client
        error = _error(client, meter)
    seconds = time.monotonic() - started
    return Execution(error or _hidden_error(notebook, client.widget_state), seconds, meter.peak_mb)


def kernel_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of the kernel: two threads by default, errors of panels are raised, no progress is stored."""
    threads = str(min(2, os.cpu_count() or 1))
    return {"OMP_NUM_THREADS": threads, "COURSE_PROGRESS": "memory", **variables, "COURSE_STRICT_WIDGETS": "1"}


def _error(client: NotebookClient, meter: _Meter) -> str:
    """Run all cells; returns one line for a failure, else an empty string."""
    try:
        client.execute(env=kernel_variables(os.environ))
    except CellExecutionError as error:
        return f"code cell {meter.started}: {error.ename}: {error.evalue}".splitlines()[0]
    except CellTimeoutError:
        return f"code cell {meter.started}: took longer than {client.timeout:g} s"
    except DeadKernelError:
        return f"code cell {meter.started}: the kernel died (out of memory?)"
    except RuntimeError as error:
        return f"the kernel did not start: {error}"
    finally:
        meter.bar.close()
    return ""


def _hidden_error(notebook: NotebookNode, widget_state: Mapping[str, Mapping[str, Any]]) -> str:
    """An error that did not stop the run: a traceback on stderr, or one caught by an Output widget."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        if "raises-exception" in cell.metadata.get("tags", ()):
            continue
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr" and TRACEBACK in output.text:
                return f"code cell {number}: {output.text.strip().splitlines()[-1]}"
    for state in widget_state.values():
        for output in state.get("outputs", ()):
            if output.get("output_type") == "error":
                return f"in a widget: {output.get('ename')}: {output.get('evalue')}"
    return ""
