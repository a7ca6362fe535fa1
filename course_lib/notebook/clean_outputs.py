"""Make an executed notebook fit to be stored: the same results give the same file, which needs no kernel to be read."""

from __future__ import annotations

import base64
import hashlib
import re

from nbformat import NotebookNode

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_CLASSES = re.compile(r'<div class="([^"]*)"')
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_PAGE_ONLY = re.compile(
    r"course-(?!panel)|learn|widget|jupyter|noUi|table|@|body|html|\b(?:t[hd]|h4|dl|code|details)\b"
)
_SVG = re.compile(r"<svg\b[^>]*>.*?</svg>", re.DOTALL)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Clean a notebook in place, and return it: no timings, widget state, progress bars or warnings.

    A widget is stored as its static picture (``text/html``); one without a static picture is dropped. Drawings become
    pictures that need no stylesheet (see ``still``). Code cells are counted from 1: nbval takes a cell without a count
    for one that was never run, and refuses its outputs.
    """
    executed = 0
    notebook.metadata = NotebookNode(kernelspec=dict(KERNELSPEC), language_info={"name": "python"})
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", hashlib.sha256(f"{index}:{cell.source}".encode()).hexdigest()[:8])
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            executed += 1
            cell.execution_count = executed
            cell.outputs = _tidy_outputs(cell.outputs)
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = executed
    return notebook


def still(html: str) -> str:
    """``html`` with each ``<svg>`` as an ``<img>`` of the same drawing.

    A front end that did not run the notebook itself does not trust it, and drops drawings and stylesheets from its
    outputs; pictures stay. Colours and classes of the page are put into the drawing.
    """
    every = _RULE.findall("".join(_STYLE.findall(html)))
    rules = "".join(f"{selector}{{{body}}}" for selector, body in every if not _PAGE_ONLY.search(selector))
    classes = " ".join(dict.fromkeys(" ".join(_CLASSES.findall(html)).split()))
    return _SVG.sub(lambda drawing: _image(drawing[0], rules, classes), html)


def _image(drawing: str, rules: str, classes: str) -> str:
    width, height = (float(number) for number in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)[0])
    inner = drawing if "xmlns=" in drawing else drawing.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16:g} {height + 16:g}" class="{classes}" '
        f'style="background:#fff;padding:0;border:0"><style>{rules}</style>'
        f'{re.sub("<svg", f"""<svg width="{width:g}" height="{height:g}" """, inner, count=1)}</svg>'
    )
    words = re.search(r'aria-label="([^"]*)"', drawing)
    code = base64.b64encode(whole.encode()).decode()
    return (
        f'<img alt="{words[1] if words else ""}" width="{1.2 * width:.0f}" style="max-width:100%" '
        f'src="data:image/svg+xml;base64,{code}">'
    )


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
    if "<svg" in (output.data.get("text/html") or ""):
        output.data["text/html"] = still(output.data["text/html"])
    if output.data.pop(WIDGET_VIEW, None) is None:
        return True
    return "text/html" in output.data
