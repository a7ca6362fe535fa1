"""The builders make the architectures of their libraries, unchanged."""

from course_lib import models


def test_resnet18_is_torchvisions_unchanged_architecture():
    model = models.build({"builder": "resnet18", "arguments": {"num_classes": 10}})
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_181_642
