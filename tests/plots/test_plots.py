import io
import subprocess
import sys
from types import SimpleNamespace

import pandas
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from course_lib import plots
from course_lib.core.palette import LIGHT
from course_lib.plots.figure import Picture

SPARSITIES = [0.0, 0.5, 0.9, 0.95]
CURVES = {"cut only": (SPARSITIES, [0.93, 0.9, 0.4, 0.1]), "fine-tuned": (SPARSITIES, [0.93, 0.93, 0.92, 0.9])}
ROOF = SimpleNamespace(peak_gflops=100.0, bandwidth_gbs=20.0, ridge=5.0)


def layers() -> pandas.DataFrame:
    rows = [
        ("conv1", 9_000, 7_000_000, 0.5, 50.0, 28.0),
        ("layer4.1.conv2", 2_400_000, 3_000_000, 0.6, 4.4, 10.0),
        ("fc", 5_000, 5_000, 0.1, 0.5, 0.1),
        ("(between layers)", 0, 0, 0.2, 0.0, 0.0),
    ]
    return pandas.DataFrame(rows, columns=["name", "parameters", "macs", "latency_ms", "intensity", "achieved_gflops"])


def scan() -> pandas.DataFrame:
    rows = [(name, s, drop) for name, drop in (("conv1", 0.2), ("fc", 0.01)) for s in (0.5, 0.9)]
    return pandas.DataFrame([(n, s, d * s) for n, s, d in rows], columns=["layer", "sparsity", "drop"])


def seeds() -> pandas.DataFrame:
    rows = [(name, mean + 0.002 * seed) for name, mean in (("random", 0.9), ("l2", 0.91)) for seed in range(3)]
    return pandas.DataFrame(rows, columns=["criterion", "validation"])


PICTURES = {
    "seeds": lambda: plots.seed_intervals(
        seeds(), by="criterion", value="validation", title="Three seeds", x_label="validation accuracy (%)", level=0.905
    ),
    "weights": lambda: plots.weight_histogram(torch.linspace(-1, 1, 1001), threshold=0.5, title="A layer"),
    "accuracy": lambda: plots.accuracy_curves(CURVES, baseline=0.93, chance=0.1),
    "schedule": lambda: plots.schedule_curves({"cubic": ([0, 50, 100], [0, 0.8, 0.9])}),
    "layers": lambda: plots.layer_bars(layers(), top=2),
    "sensitivity": lambda: plots.sensitivity_map(scan()),
    "front": lambda: plots.size_front(
        ["baseline", "90 %", "95 %"], [44.7e6, 5.9e6, 3.1e6], [1.0, 0.995, 0.985], [None, (0.99, 1.0), (0.98, 0.99)]
    ),
    "roofline": lambda: plots.roofline(layers(), ROOF),
}


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


def test_lines_have_the_colours_of_the_course_and_different_markers():
    axes = PICTURES["accuracy"]().axes[0]
    lines = {line.get_color(): line.get_marker() for line in axes.lines if len(line.get_xdata()) == len(SPARSITIES)}
    assert lines == {LIGHT["before"]: "s", LIGHT["kept"]: "o"}


@pytest.mark.parametrize("name", PICTURES)
def test_every_plot_has_a_title_labels_and_no_legend_box(name):
    picture = PICTURES[name]()
    title = picture.get_suptitle() or picture.axes[0].get_title(loc="left")
    assert title and picture.alt.startswith(title)
    assert all(axes.get_xlabel() and axes.get_legend() is None for axes in picture.axes)


def test_the_bars_of_a_column_add_up_to_the_whole():
    for axes in PICTURES["layers"]().axes:
        assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(100)


def test_the_alternative_text_says_what_the_picture_shows():
    assert "most is lost in conv1 at 90 % cut: 18.0 points" in PICTURES["sensitivity"]().alt
    assert "2 of 3 layers wait for memory" in PICTURES["roofline"]().alt
    assert "95 % 3.1 MB, 98.5 %" in PICTURES["front"]().alt


def test_names_of_neighbouring_points_do_not_cover_each_other():
    names = [f"model number {index}" for index in range(5)]
    picture = plots.size_front(names, [10e6, 9.8e6, 9.7e6, 9.6e6, 9.5e6], [1.0, 0.999, 0.999, 0.998, 0.998])
    renderer = FigureCanvasAgg(picture).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in picture.axes[0].texts]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[:index])


@pytest.mark.parametrize("smallest", [1e6, 9e6])
def test_a_long_name_at_the_left_stays_inside_the_axes(smallest):
    names = [
        "baseline",
        "data-aware SVD of the whole encoder, fine-tuned, fp16",
        "the smallest of all the files, fp16 values",
    ]
    picture = plots.size_front(names, [10e6, 1.2 * smallest, smallest], [1.0, 0.99, 0.98], [None, (0.98, 1), (0.9, 1)])
    renderer = FigureCanvasAgg(picture).get_renderer()
    frame = picture.axes[0].get_window_extent(renderer)
    assert all(text.get_window_extent(renderer).x0 >= frame.x0 - 2 for text in picture.axes[0].texts)


def test_pyplot_is_not_imported():
    code = "import sys; from course_lib import plots; plots.schedule_curves({'cubic': ([0, 1], [0, 1])}).png(); "
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_picture_knows_its_words_from_the_start():
    assert Picture().alt == ""
