"""What JupyterLab saves of a panel: its static picture.

JupyterLab stores a live widget by the number of its model. When the kernel has been restarted, a notebook that is
opened again then shows "model not found" in place of every panel. The hook removes that number while a notebook is
saved, so that the picture stored beside it is shown; running the cell brings the panel back.

``start.py`` switches it on with ``--ContentsManager.pre_save_hook=course_lib.notebook.saved_widgets.keep_pictures``.
"""

from __future__ import annotations

from typing import Any

from course_lib.notebook.clean_outputs import WIDGET_VIEW


def keep_pictures(model: dict[str, Any], **_: Any) -> None:
    """Before saving: remove the live view from each output that also holds HTML, and each progress bar.

    Args:
        model: Jupyter Server's model of the file, changed in place; anything but a notebook of format 4 is left alone.
    """
    content = model.get("content")
    if model.get("type") != "notebook" or not isinstance(content, dict) or content.get("nbformat") != 4:
        return
    for cell in content.get("cells", []):
        if cell.get("cell_type") == "code":
            cell["outputs"] = [output for output in cell.get("outputs", []) if _keep(output)]


def _keep(output: dict[str, Any]) -> bool:
    """Drop the live view of an output; False for a progress bar, which has nothing else to show later."""
    data = output.get("data", {})
    if WIDGET_VIEW not in data:
        return True
    if "text/html" in data:
        del data[WIDGET_VIEW]
        return True
    return "%|" not in str(data.get("text/plain"))
