"""The options of start.py."""

from __future__ import annotations

from course_lib import launch


def test_pips_own_options_and_another_index_pass_through():
    options = launch.parse(["run", "03", "--wheels", "https://a.example/cpu", "--", "--proxy", "b:1"])
    assert (options.command, options.lessons) == ("run", ["03"])
    assert options.pip == ["--extra-index-url", "https://a.example/cpu", "--proxy", "b:1"]


def test_the_courses_notebooks_are_trusted_and_others_are_not(tmp_path, monkeypatch):
    import sys
    from pathlib import Path

    import nbformat
    from nbformat.sign import NotebookNotary

    from course_lib.launch.command_line import _trust_notebooks
    from course_lib.launch.environment import Environment

    class ThisPython(Environment):
        python = Path(sys.executable)

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    output = nbformat.v4.new_output("display_data", {"text/html": "<style>p{}</style>"})
    for name in ("notebooks/00_start.ipynb", "exercises/01 ü.ipynb", "notebooks/scratch.ipynb"):
        cell = nbformat.v4.new_code_cell("1", outputs=[output])
        (tmp_path / name).parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"name": name}), tmp_path / name)
    _trust_notebooks(ThisPython(tmp_path))
    notary = NotebookNotary(data_dir=str(tmp_path / "jupyter"))
    trusted = {
        path.name: notary.check_signature(nbformat.read(path, as_version=4)) for path in tmp_path.glob("*/*.ipynb")
    }
    assert trusted == {"00_start.ipynb": True, "01 ü.ipynb": True, "scratch.ipynb": False}
