"""Rules for all figures: a small PNG with alternative text, a title, labels, and the same bytes for the same data."""

import io
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from PIL import Image

from course_lib import plots
from tests.plots.examples import PICTURES


def test_there_is_an_example_of_every_figure():
    assert len(PICTURES) == len(plots.__all__)


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_shows_a_small_png_with_alternative_text(name):
    picture = PICTURES[name]()
    assert isinstance(picture, Figure)
    bundle, metadata = picture._repr_mimebundle_()
    assert bundle["text/plain"] == picture.alt == metadata["image/png"]["alt"]
    assert len(picture.alt) > 40 and picture.alt.endswith(".")
    image = Image.open(io.BytesIO(bundle["image/png"]))
    assert image.width == metadata["image/png"]["width"] and len(bundle["image/png"]) < 60_000


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
