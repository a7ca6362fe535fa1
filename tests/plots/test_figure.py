"""A picture has words from the start, and labels of points keep apart."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from course_lib import plots
from course_lib.plots.figure import Picture


def test_a_picture_knows_its_words_from_the_start():
    assert Picture().alt == ""


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
