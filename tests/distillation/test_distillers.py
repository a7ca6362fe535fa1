from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from course_lib import distillation, storage, training
from course_lib.distillation import KnowledgeDistiller, ProgressiveDistiller
from tests.distillation.conftest import bert, token_split

SMALL = {"hidden_size": 8, "num_heads": 2, "num_layers": 2, "intermediate_size": 16}
OPTIONS = {"learning_rate": 0.01, "batch_size": 16, "progress": False}


def test_the_defaults_are_those_of_the_source_page():
    distiller = KnowledgeDistiller(bert(hidden_size=384, num_attention_heads=12, num_hidden_layers=6,
                                        intermediate_size=1536), {})  # fmt: skip
    config = distiller.student.config
    assert (distiller.alpha, distiller.temperature) == (0.7, 4)
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (384, 6, 6)
    assert config.intermediate_size == 1536


def test_the_loss_has_its_three_parts(teacher):
    distiller = KnowledgeDistiller(teacher, SMALL)
    logits, labels = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0])
    total, soft, task = distiller.distillation_loss(logits, logits.flip(0), labels)
    assert total.item() == pytest.approx(0.7 * soft.item() + 0.3 * task.item())


def test_the_projection_is_made_once_and_can_be_trained(teacher, sentences):
    distiller = KnowledgeDistiller(teacher, SMALL)
    inputs = sentences.example(4)
    features = [
        distillation.hidden_states(model(**inputs, output_hidden_states=True))
        for model in (distiller.student, distiller.teacher)
    ]
    loss = distiller.feature_distillation(*features)
    first = distiller.projection
    loss.backward()
    assert all(parameter.grad is not None for parameter in first.parameters())
    distiller.feature_distillation(*features)
    assert distiller.projection is first
    with pytest.raises(ValueError, match="output_hidden_states"):
        distiller.feature_distillation([], features[1])


def test_train_student_takes_a_split_or_a_loader(teacher, sentences):
    before = copy.deepcopy(teacher.state_dict())
    training.fit(teacher, sentences, epochs=10, **OPTIONS)
    columns = [sentences.inputs["input_ids"], sentences.inputs["attention_mask"], sentences.labels]

    def collate(rows):
        words, mask, labels = (torch.stack(column) for column in zip(*rows, strict=True))
        return {"input_ids": words, "attention_mask": mask}, labels

    batches = DataLoader(TensorDataset(*columns), batch_size=16, collate_fn=collate)
    for loader in (sentences, batches):
        distiller = KnowledgeDistiller(teacher, SMALL)
        student = distiller.train_student(loader, 10, **OPTIONS)
        assert student is distiller.student
        assert training.evaluate(student, sentences).accuracy > 0.8
        assert len(distiller.result.history.train_loss) == 10
    assert before.keys() == teacher.state_dict().keys()


def test_an_image_student_is_trained_on_logits_only(vision_teacher, images):
    distiller = KnowledgeDistiller(vision_teacher, {"channels": [4], "blocks": [1], "num_classes": 2, "shrink": 2})
    assert len(distiller.result.history.train_loss if distiller.result else []) == 0
    distiller.train_student(images, 1, **OPTIONS)
    assert len(distiller.result.history.train_loss) == 1


def test_a_given_student_is_used_unchanged(vision_teacher, vision_student):
    assert KnowledgeDistiller(vision_teacher, vision_student).student is vision_student


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"hiden_size": 8}, {}, "student_config must be one of 'hidden_size'.*got 'hiden_size'"),
        ({"hidden_size": 8, "num_heads": 3}, {}, "num_heads must divide hidden_size"),
        (SMALL, {"alpha": 2}, "alpha must lie in"),
        (SMALL, {"temperature": 0}, "temperature must be greater than 0"),
    ],
)
def test_a_distiller_with_wrong_arguments_is_refused(teacher, config, options, message):
    with pytest.raises(ValueError, match=message):
        KnowledgeDistiller(teacher, config, **options)


@pytest.mark.parametrize(
    ("loader", "message"), [([], "the loader is empty"), ([1, 2], "a batch must be"), ([{"a": 1}], "a batch must be")]
)
def test_a_loader_without_usable_batches_is_refused(teacher, loader, message):
    with pytest.raises(ValueError, match=message):
        KnowledgeDistiller(teacher, SMALL).train_student(loader)


def test_a_teacher_in_training_mode_causes_one_warning(teacher):
    with pytest.warns(UserWarning, match="training mode") as caught:
        KnowledgeDistiller(teacher.train(), SMALL)
    assert len([one for one in caught if "training mode" in str(one.message)]) == 1


def test_a_teacher_that_is_frozen_already_is_not_copied_again(teacher):
    copied = KnowledgeDistiller(teacher, SMALL).teacher
    assert copied is not teacher
    assert KnowledgeDistiller(copied, SMALL).teacher is copied
    copied.bert.encoder.layer[0].train()
    assert KnowledgeDistiller(copied, SMALL).teacher is not copied


STAGES = [{"hidden_size": 12, "num_heads": 2, "num_layers": 3, "intermediate_size": 24}, SMALL]


def test_every_stage_is_evaluated_and_saved_and_teaches_the_next(teacher, sentences, tmp_path):
    validation = token_split(16, "validation", seed=3)
    progressive = ProgressiveDistiller(teacher, STAGES)
    last = progressive.multi_stage_distillation(sentences, 2, validation=validation, folder=tmp_path, **OPTIONS)
    first, second = progressive.finished
    assert last is second.model
    assert first.parameters > second.parameters
    for stage in progressive.finished:
        assert stage.accuracy == training.evaluate(storage.load(stage.file), validation).accuracy
    again = ProgressiveDistiller(teacher, STAGES)
    resumed = again.multi_stage_distillation(sentences, 2, validation=validation, folder=tmp_path, **OPTIONS)
    assert all(torch.equal(value, last.state_dict()[name]) for name, value in resumed.state_dict().items())


@pytest.mark.parametrize(("weight", "same"), [(1.0, True), (0.0, False), (0.5, False)])
def test_the_original_teacher_helps_in_every_stage(teacher, sentences, weight, same, monkeypatch):
    seen = []
    original = distillation.distillers.distil

    def watch(*arguments, targets, **options):
        seen.append(targets)
        return original(*arguments, targets=targets, **options)

    monkeypatch.setattr(distillation.distillers, "distil", watch)
    progressive = ProgressiveDistiller(teacher, STAGES, original_weight=weight)
    progressive.multi_stage_distillation(sentences, 1, **OPTIONS)
    assert torch.equal(seen[0], seen[1]) is same
    if weight == 0.5:
        stage = distillation.teacher_logits(progressive.finished[0].model, sentences)
        assert torch.allclose(seen[1], (seen[0] + stage) / 2, atol=1e-5)


def test_stages_and_weights_that_cannot_be_are_refused(teacher):
    with pytest.raises(ValueError, match="at least one"):
        ProgressiveDistiller(teacher, [])
    with pytest.raises(ValueError, match="original_weight must lie in"):
        ProgressiveDistiller(teacher, STAGES, original_weight=1.5)


@pytest.mark.parametrize("family", ["Roberta", "DistilBert"])
def test_a_teacher_of_another_family_needs_a_student_as_a_module(family):
    import transformers

    config = getattr(transformers, f"{family}Config")(vocab_size=40, num_hidden_layers=1, num_attention_heads=2)
    for name, value in {"hidden_size": 16, "dim": 16, "intermediate_size": 32, "hidden_dim": 32}.items():
        setattr(config, name, value)
    teacher = getattr(transformers, f"{family}ForSequenceClassification")(config).eval()
    with pytest.raises(ValueError, match=rf"got {family}ForSequenceClassification.*a student of your own as a module"):
        KnowledgeDistiller(teacher, {"hidden_size": 8, "num_layers": 1})
