from __future__ import annotations

import pytest
import torch

from course_lib import distillation
from tests.distillation.conftest import bert


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "expected"),
    [
        (3, 6, "uniform", (1, 3, 5)),
        (2, 6, "uniform", (2, 5)),
        (4, 6, "uniform", (0, 2, 3, 5)),
        (6, 6, "uniform", (0, 1, 2, 3, 4, 5)),
        (3, 6, "last", (3, 4, 5)),
        (1, 6, "uniform", (5,)),
        (3, 6, [0, 2, 4], (0, 2, 4)),
    ],
)
def test_layer_maps(student, teacher, kind, expected):
    assert distillation.layer_map(student, teacher, kind) == expected


@pytest.mark.parametrize(
    ("student", "kind", "message"),
    [
        (7, "uniform", "at most the teacher's 6, got 7"),
        (0, "uniform", "student_layers must be greater than 0"),
        (3, "first", "kind must be one of 'uniform', 'last'"),
        (3, [0, 2], "name 3 layers"),
        (3, [0, 2, 6], "from 0 to 5"),
        (3, [4, 2, 0], "rising order"),
        (3, [-1, 2, 4], "from 0 to 5"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(student, kind, message):
    with pytest.raises(ValueError, match=message):
        distillation.layer_map(student, 6, kind)


def test_a_projection_between_equal_widths_has_nothing_to_train():
    assert not list(distillation.Projection(8, 8, 3).parameters())
    assert len(list(distillation.Projection(4, 8, 3).parameters())) == 6


def test_layers_are_matched_along_the_map():
    teacher = [torch.full((1, 2, 4), float(layer)) for layer in range(6)]
    student = [torch.full((1, 2, 4), float(layer)) for layer in (1, 3, 5)]
    same = distillation.Projection(4, 4, 3)
    assert distillation.match_layers(student, teacher, (1, 3, 5), same).item() == 0.0
    assert distillation.match_layers(student, teacher, (0, 2, 4), same).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="chosen must name one of the teacher's"):
        distillation.match_layers(student, teacher, (1, 3), same)
    with pytest.raises(ValueError, match="output_hidden_states"):
        distillation.match_layers([], teacher, (1, 3, 5), same)


def test_states_and_attention_must_have_been_asked_for(sentences):
    model, inputs = bert(attn_implementation="sdpa"), sentences.example(2)
    with pytest.raises(ValueError, match="output_hidden_states=True"):
        distillation.hidden_states(model(**inputs))
    assert len(distillation.hidden_states(model(**inputs, output_hidden_states=True))) == 4
    with pytest.raises(ValueError, match="eager"):
        distillation.attention_maps(model(**inputs))


def test_eager_attention_gives_its_maps(sentences):
    model = bert(attn_implementation="eager")
    maps = distillation.attention_maps(model(**sentences.example(2), output_attentions=True))
    assert len(maps) == 4
    assert maps[0].shape == (2, 4, 6, 6)


def test_feature_maps_come_stage_by_stage_and_leave_no_hooks(vision_student, images):
    logits, maps = distillation.feature_maps(vision_student, images.example(2))
    assert logits.shape == (2, 2)
    assert [tuple(one.shape) for one in maps] == [(2, 4, 2, 2), (2, 4, 1, 1)]
    assert not any(module._forward_hooks for module in vision_student.modules())
    loss = distillation.attention_transfer_loss(maps, maps, (0, 1))
    assert loss.item() == pytest.approx(0.0)


def test_a_model_without_stages_is_refused(images):
    with pytest.raises(ValueError, match="no stages"):
        distillation.feature_maps(torch.nn.Flatten(), images.example(2))
