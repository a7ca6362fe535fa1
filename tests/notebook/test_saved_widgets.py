"""A saved notebook keeps the pictures of its panels instead of the numbers of their models."""

from __future__ import annotations

import json

import nbformat
import pytest

from course_lib.learning import quiz
from course_lib.notebook.clean_outputs import WIDGET_VIEW
from course_lib.notebook.saved_widgets import keep_pictures
from course_lib.widgets import calculator_panel

BAR = {WIDGET_VIEW: {"model_id": "b"}, "text/plain": "  0%|          | 0/36 [00:00<?, ?cell/s]"}


def notebook(*bundles):
    outputs = [nbformat.v4.new_output("display_data", data) for data in bundles]
    outputs.append(nbformat.v4.new_output("stream", text="printed"))
    cells = [nbformat.v4.new_markdown_cell("text"), nbformat.v4.new_code_cell("panel()", outputs=outputs)]
    return json.loads(json.dumps(nbformat.v4.new_notebook(cells=cells)))


@pytest.mark.parametrize("make", [calculator_panel, lambda: quiz("03")], ids=["panel", "quiz"])
def test_a_panel_is_saved_as_its_picture(make):
    bundle = make()._repr_mimebundle_()
    assert WIDGET_VIEW in bundle
    model = {"type": "notebook", "content": notebook(bundle, BAR)}
    keep_pictures(model=model, path="a.ipynb")
    picture, printed = model["content"]["cells"][1]["outputs"]
    assert picture["data"] == {key: value for key, value in bundle.items() if key != WIDGET_VIEW}
    assert printed["text"] == "printed"
    nbformat.validate(nbformat.from_dict(model["content"]))


def test_a_widget_without_a_picture_stays():
    own = {WIDGET_VIEW: {"model_id": "c"}, "text/plain": "IntSlider(value=0)"}
    model = {"type": "notebook", "content": notebook(own)}
    keep_pictures(model=model)
    assert model["content"]["cells"][1]["outputs"][0]["data"] == own


@pytest.mark.parametrize(
    "model",
    [
        {"type": "file", "content": "text"},
        {"type": "notebook", "content": None},
        {"type": "notebook", "content": {"nbformat": 3}},
    ],
)
def test_other_files_are_left_alone(model):
    before = json.dumps(model)
    keep_pictures(model=model)
    assert json.dumps(model) == before


def test_a_server_with_the_hook_saves_without_live_views(tmp_path):
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

    from course_lib.launch.command_line import PRE_SAVE_HOOK

    config = Config({"ServerApp": {"root_dir": str(tmp_path)}, "ContentsManager": {"pre_save_hook": PRE_SAVE_HOOK}})
    server = ServerApp(config=config, open_browser=False, token="", allow_root=True)
    server.initialize(argv=[], find_extensions=False, new_httpserver=False, starter_extension=None)
    try:
        content = notebook(calculator_panel()._repr_mimebundle_())
        model = {"type": "notebook", "format": "json", "content": content}
        server.io_loop.run_sync(lambda: server.contents_manager.save(model, "a.ipynb"))
    finally:
        server.clear_instance()
    assert WIDGET_VIEW not in (tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert "course-panel" in (tmp_path / "a.ipynb").read_text(encoding="utf-8")
