"""Rules for all figures: a small image with alternative text, a title, labels, and the same bytes for the same data."""

import base64
import io
import re
import subprocess
import sys
from html import unescape

import pytest
from matplotlib.figure import Figure
from PIL import Image

from course_lib import plots
from course_lib.core.palette import DARK_THEMES
from tests.plots.examples import PICTURES


def test_there_is_an_example_of_every_figure():
    assert len(PICTURES) == len(plots.__all__)


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_shows_a_small_image_with_alternative_text(name):
    picture = PICTURES[name]()
    assert isinstance(picture, Figure)
    bundle = picture._repr_mimebundle_()
    shown = re.search(
        r'<img [^>]*alt="([^"]*)" width="(\d+)"[^>]* src="data:image/png;base64,([^"]*)">', bundle["text/html"]
    )
    assert bundle["text/plain"] == picture.alt == unescape(shown[1])
    assert len(picture.alt) > 40 and picture.alt.endswith(".")
    content = base64.b64decode(shown[3])
    assert content == picture.png() and len(content) < 60_000
    assert Image.open(io.BytesIO(content)).width == int(shown[2])
    assert all(f"{theme} img.course-figure" in bundle["text/html"] for theme in DARK_THEMES)


def test_the_same_data_give_the_same_bytes():
    picture = PICTURES["front"]()
    assert picture.png() == picture.png() == PICTURES["front"]().png()


@pytest.mark.parametrize("name", PICTURES)
def test_every_plot_has_a_title_labels_and_no_legend_box(name):
    picture = PICTURES[name]()
    title = picture.get_suptitle() or picture.axes[0].get_title(loc="left")
    assert title and picture.alt.startswith(title)
    assert all(axes.get_legend() is None for axes in picture.axes)
    assert all(axes.get_xlabel() or axes.images for axes in picture.axes), "images of filters have no axes"


def test_pyplot_is_not_imported():
    code = "import sys; from course_lib import plots; plots.schedule_curves({'cubic': ([0, 1], [0, 1])}).png(); "
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_room_is_an_attribute_of_the_package():
    """In a fresh process, where nothing else has imported the room before."""
    code = "import course_lib, sys; assert 'course_lib.plots' not in sys.modules; course_lib.plots.bars"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
