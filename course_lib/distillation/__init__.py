"""Distillation: a small student is trained to match a large teacher."""

from course_lib.distillation.augmented_views import Views, view_logits, views
from course_lib.distillation.distillers import KnowledgeDistiller, ProgressiveDistiller, Stage
from course_lib.distillation.distilling import DistillationResult, Recipe, distil
from course_lib.distillation.initialization import main_directions
from course_lib.distillation.losses import (
    attention_map_loss,
    attention_transfer,
    hidden_state_loss,
    relational_loss,
    triple_loss,
)
from course_lib.distillation.matching import (
    Projection,
    attention_maps,
    attention_transfer_loss,
    feature_maps,
    hidden_states,
    layer_map,
    match_layers,
)
from course_lib.distillation.students import BertSize, bert_student, frequent_tokens, resnet_student
from course_lib.distillation.targets import as_split, frozen, joined, teacher_logits
from course_lib.distillation.text_augmentation import Rewriting, rewritten, rewritten_split
from course_lib.training.losses import distillation_loss, soft_target_loss, soft_targets

__all__ = [
    "BertSize", "DistillationResult", "KnowledgeDistiller", "ProgressiveDistiller", "Projection", "Recipe", "Rewriting",
    "Stage", "Views",
    "as_split", "attention_map_loss", "attention_maps", "attention_transfer", "attention_transfer_loss",
    "bert_student", "distil", "distillation_loss", "feature_maps", "frequent_tokens", "frozen", "hidden_state_loss",
    "hidden_states", "joined", "layer_map", "main_directions", "match_layers", "relational_loss", "resnet_student",
    "rewritten", "rewritten_split", "soft_target_loss", "soft_targets", "teacher_logits", "triple_loss", "view_logits",
    "views",
]  # fmt: skip
