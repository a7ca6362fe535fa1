"""The panel of lesson 09: it shows what the loss computes, and every control moves it."""

import math

import pytest
import torch

from course_lib import distillation
from course_lib.widgets import distillation_panel
from course_lib.widgets.distillation import image_loss

CLASSES = ("shirt", "shoe", "bag", "coat")


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(8, 4, generator=generator), torch.randn(8, 4, generator=generator)


@pytest.fixture
def panel(logits):
    images = torch.randint(0, 256, (8, 28, 28), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return distillation_panel(*logits, torch.arange(8) % 4, CLASSES, images)


@pytest.mark.parametrize(("temperature", "alpha"), [(0.5, 0.0), (1.0, 1.0), (4.0, 0.7), (20.0, 0.3)])
def test_the_panel_shows_the_loss_and_the_gradient_of_the_library(logits, temperature, alpha):
    teacher, student = (one[0].double() for one in logits)
    shown = image_loss(teacher.numpy(), student.numpy(), 2, temperature, alpha)
    student = student[None].requires_grad_()
    total, soft, task = distillation.distillation_loss(student, teacher[None], torch.tensor([2]), alpha, temperature)
    total.backward()
    assert (shown.total, shown.soft, shown.task) == pytest.approx((total.item(), soft.item(), task.item()), rel=1e-4)
    assert shown.gradient == pytest.approx(student.grad[0].numpy(), abs=1e-5)


def test_every_control_moves_the_picture(panel):
    for name, value in (("picture", 3), ("temperature", 9.0), ("alpha", 0.1)):
        before = panel.picture.value + panel.numbers.value
        panel.controls[name].value = value
        assert panel.picture.value + panel.numbers.value != before, name


def test_it_reads_without_a_kernel(panel):
    assert "<svg" in panel.static_html() and "data:image/png" in panel.static_html()
    assert "in nats" in str(panel) and "bits" not in str(panel)


def test_very_sure_logits_stay_finite():
    shown = image_loss(torch.tensor([900.0, -900.0]).numpy(), torch.tensor([-900.0, 900.0]).numpy(), 0, 0.5, 0.5)
    assert all(abs(value) < 1e7 for value in (shown.total, shown.soft, shown.task, shown.entropy))


def test_logits_that_do_not_belong_together_are_refused(logits):
    with pytest.raises(ValueError, match="the same shape and one label per row"):
        distillation_panel(logits[0], logits[1][:3], torch.arange(8), CLASSES)


def test_what_was_measured_nearest_is_shown(logits):
    measured = {(1.0, 0.3): 0.71, (4.0, 0.9): 0.83, (16.0, 0.3): 0.65}
    panel = distillation_panel(*logits, torch.arange(8) % 4, CLASSES, temperature=5.0, alpha=0.8, measured=measured)
    assert "83.0 %" in panel.numbers.value and "T = 4, alpha = 0.9" in panel.numbers.value
    panel.controls["temperature"].value, panel.controls["alpha"].value = 14.0, 0.2
    assert "65.0 %" in panel.numbers.value


def test_the_entropy_is_in_nats_like_the_loss_beside_it():
    even = torch.zeros(8).numpy()
    assert image_loss(even, even, 0, 4.0, 0.5).entropy == pytest.approx(math.log(8))
