"""A description can only fold a BatchNorm into the layer before it."""

import pytest

from course_lib import models
from tests.toys import small_convolutional


@pytest.mark.parametrize(
    "folds", [[["conv"]], [["conv", "nowhere"]], [["bn", "conv"]], ["ab"], [["conv", "relu"]], [["block", "bn"]]]
)
def test_a_description_with_impossible_folds_is_refused(folds):
    architecture = models.describe(small_convolutional())
    with pytest.raises(ValueError, match="folds holds"):
        models.build({**architecture, "arguments": {**architecture["arguments"], "folds": folds}})
