"""Make an executed notebook fit to be stored: the same results give the same file, which needs no kernel to be read."""

from __future__ import annotations

import hashlib

from nbformat import NotebookNode

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Clean a notebook in place, and return it: no timings, counters, widget state, progress bars or warnings.

    A widget is stored as its static picture (``text/html``); one without a static picture is dropped.
    """
    notebook.metadata = NotebookNode(kernelspec=dict(KERNELSPEC), language_info={"name": "python"})
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", hashlib.sha256(f"{index}:{cell.source}".encode()).hexdigest()[:8])
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = _tidy_outputs(cell.outputs)
    return notebook


def _tidy_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            _add_stream(kept, output)
        elif output.output_type == "error" or _without_widget(output):
            kept.append(output)
    return kept


def _add_stream(kept: list[NotebookNode], output: NotebookNode) -> None:
    """Warnings and terminal progress bars go; pieces of one printed text are joined."""
    if output.name == "stderr":
        return
    if kept and kept[-1].output_type == "stream":
        kept[-1].text += output.text
    else:
        kept.append(output)


def _without_widget(output: NotebookNode) -> bool:
    """Remove the live view from a rich output; returns whether something worth storing is left."""
    if "execution_count" in output:
        output.execution_count = None
    if output.data.pop(WIDGET_VIEW, None) is None:
        return True
    return "text/html" in output.data
