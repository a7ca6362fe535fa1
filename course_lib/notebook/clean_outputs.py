"""Clean the outputs of an executed notebook before it is stored.

The same results give the same file, and the file shows them without a kernel.
"""

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


def clean_outputs(notebook: NotebookNode) -> NotebookNode:
    """Clean a notebook in place, and return it: no timings, widget state, progress bars or warnings.

    A widget is stored as its static picture (``text/html``); one without a static picture is dropped. Inline SVG
    becomes images (see ``svg_to_img``). Code cells are numbered from 1: nbval refuses outputs of unnumbered cells.
    """
    executed = 0
    notebook.metadata = NotebookNode(kernelspec=dict(KERNELSPEC), language_info={"name": "python"})
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", hashlib.sha256(f"{index}:{cell.source}".encode()).hexdigest()[:8])
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            executed += 1
            cell.execution_count = executed
            cell.outputs = _clean_cell_outputs(cell.outputs)
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = executed
    return notebook


def svg_to_img(html: str) -> str:
    """``html`` with each ``<svg>`` replaced by an ``<img>`` of the same drawing.

    A front end that has not run the notebook does not trust it, and removes SVG and stylesheets from its outputs;
    images stay. The style rules and classes of the page are copied into each image.
    """
    page_rules = _RULE.findall("".join(_STYLE.findall(html)))
    rules = "".join(f"{selector}{{{body}}}" for selector, body in page_rules if not _PAGE_ONLY.search(selector))
    classes = " ".join(dict.fromkeys(" ".join(_CLASSES.findall(html)).split()))
    return _SVG.sub(lambda svg: _image(svg[0], rules, classes), html)


def _image(svg: str, rules: str, classes: str) -> str:
    width, height = (float(number) for number in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    inner = svg if "xmlns=" in svg else svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16:g} {height + 16:g}" class="{classes}" '
        f'style="background:#fff;padding:0;border:0"><style>{rules}</style>'
        f'{re.sub("<svg", f"""<svg width="{width:g}" height="{height:g}" """, inner, count=1)}</svg>'
    )
    label = re.search(r'aria-label="([^"]*)"', svg)
    data = base64.b64encode(whole.encode()).decode()
    return (
        f'<img alt="{label[1] if label else ""}" width="{1.2 * width:.0f}" style="max-width:100%" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def _clean_cell_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            _add_stream(kept, output)
        elif output.output_type == "error" or _drop_widget_view(output):
            kept.append(output)
    return kept


def _add_stream(kept: list[NotebookNode], output: NotebookNode) -> None:
    """Drop stderr (warnings, progress bars); join the parts of one printed text."""
    if output.name == "stderr":
        return
    if kept and kept[-1].output_type == "stream":
        kept[-1].text += output.text
    else:
        kept.append(output)


def _drop_widget_view(output: NotebookNode) -> bool:
    """Remove the live view from a rich output; returns whether a static output is left to store."""
    if "<svg" in (output.data.get("text/html") or ""):
        output.data["text/html"] = svg_to_img(output.data["text/html"])
    if output.data.pop(WIDGET_VIEW, None) is None:
        return True
    return "text/html" in output.data
