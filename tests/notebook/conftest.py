"""Small lessons to run."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture(scope="session")
def lesson():
    """A function that writes a notebook of these code cells into a folder and returns its path."""

    def write(folder, name, *sources, tags=()):
        cells = [new_markdown_cell("# A lesson")]
        cells += [new_code_cell(source.strip(), metadata={"tags": list(tags)} if tags else {}) for source in sources]
        path = folder / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        return path

    return write
