"""Encodings are attached only to a model that holds their values."""

import pytest
import torch

from course_lib import storage
from tests.storage.models_and_forgeries import PACKED, packed_mlp


def test_attached_encodings_must_hold_the_values_of_the_model():
    model = packed_mlp()
    attached = storage.encodings_of(model)
    with pytest.raises(ValueError, match=r"'2\.weight', which is no tensor of the model"):
        storage.set_encodings(model, {"2.weight": attached[PACKED]})
    with torch.no_grad():
        model.get_parameter(PACKED).zero_()
    with pytest.raises(ValueError, match="holds other values than the model"):
        storage.set_encodings(model, attached)
