"""A description can only fold a BatchNorm into the layer before it."""

import pytest
from torch import nn

from course_lib import models
from course_lib.architectures.folded_batchnorm import replace_norms
from tests.toys import small_convolutional


@pytest.mark.parametrize(
    "folds", [[["conv"]], [["conv", "nowhere"]], [["bn", "conv"]], ["ab"], [["conv", "relu"]], [["block", "bn"]]]
)
def test_a_description_with_impossible_folds_is_refused(folds):
    architecture = models.describe(small_convolutional())
    with pytest.raises(ValueError, match="folds holds"):
        models.build({**architecture, "arguments": {**architecture["arguments"], "folds": folds}})


def test_what_replaces_a_norm_has_its_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    assert not any(module.training for module in replace_norms(model, [["0", "1"]]).modules())
