"""Models are built again from their descriptions; a wrong description is refused."""

import pytest
import torch

from course_lib import models
from tests.toys import one_layer_bert


def test_a_description_rebuilds_the_same_shapes():
    model = one_layer_bert()
    again = models.build(models.describe(model))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.build({"builder": "vgg"}), "builder must be one of 'resnet18'"),
        (lambda: models.build({"builder": "resnet18", "arguments": {"depth": 3}}), "cannot use the arguments"),
        (lambda: models.describe(torch.nn.Linear(2, 2)), "Linear has no description"),
    ],
)
def test_a_wrong_description_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
