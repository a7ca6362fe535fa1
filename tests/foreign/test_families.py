"""Models of other families: the published table holds, it has no wrong cell, and a few families are done again."""

from __future__ import annotations

from collections import Counter

import foreign_models
import pytest
import torch
from common import RESULTS, read
from foreign_families import FAMILIES
from foreign_operations import OPERATIONS, NotApplicable, relative
from torch import nn

from course_lib import models, storage

ROWS = read(RESULTS / "foreign_models.json")["cells"]["rows"]
CELLS = {(row["family"], row["operation"]): row for row in ROWS}
AGAIN = ("ConvNeXt", "ViT (torchvision)", "Qwen2", "GPT-2")
WIDE = (
    "MobileNet v3", "EfficientNet", "ShuffleNet", "ConvNeXt", "ViT (torchvision)", "Llama", "Qwen2", "Mistral", "Gemma",
    "DistilBERT", "RoBERTa", "GPT-2",
)  # fmt: skip


def test_every_family_has_a_cell_for_every_operation():
    assert set(CELLS) == {(family, operation) for family in FAMILIES for operation in OPERATIONS}
    torchvision = sum(bool(family.image) for family in FAMILIES.values())
    assert torchvision >= 14 and len(FAMILIES) - torchvision >= 10


def test_no_cell_is_wrong_and_most_work():
    verdicts = Counter(row["verdict"] for row in ROWS)
    assert verdicts["wrong"] == 0
    assert verdicts["works"] >= 0.85 * (verdicts["works"] + verdicts["refused"])
    assert all(row["error"] <= OPERATIONS[row["operation"]][1] for row in ROWS if row["verdict"] == "works")


def test_the_families_that_were_refused_once_work():
    assert all(CELLS[family, "structured pruning"]["verdict"] == "works" for family in WIDE)
    for family in ("Qwen2", "Mistral", "Gemma"):
        assert CELLS[family, "save and load"]["verdict"] == CELLS[family, "SmoothQuant"]["verdict"] == "works"
    assert CELLS["DenseNet", "BatchNorm folding"]["verdict"] == CELLS["DenseNet", "PTQ int8"]["verdict"] == "works"


def test_the_page_shows_the_results():
    assert foreign_models.PAGE.read_text(encoding="utf-8") == foreign_models.page(ROWS)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("family", AGAIN)
def test_a_cell_is_what_the_table_says(family, operation):
    found, shown = foreign_models.cell(family, operation), CELLS[family, operation]
    assert (found["verdict"], found["reason"]) == (shown["verdict"], shown["reason"])


@pytest.mark.parametrize(
    ("work", "verdict"),
    [
        (lambda model, family: 0.0, "works"),
        (lambda model, family: 1.0, "wrong"),
        (lambda model, family: model(torch.zeros(1)), "wrong"),
        (lambda model, family: torch.zeros(2).view(3), "wrong"),
        (lambda model, family: int("a message of Python"), "wrong"),
        (lambda model, family: models.build({"builder": "nothing"}), "refused"),
    ],
)
def test_only_an_error_of_ours_counts_as_a_refusal(monkeypatch, work, verdict):
    monkeypatch.setitem(foreign_models.OPERATIONS, "MACs", (work, 0.01))
    assert foreign_models.cell("ConvNeXt", "MACs")["verdict"] == verdict


def test_what_does_not_apply_is_no_refusal(monkeypatch):
    def nothing(model, family):
        raise NotApplicable

    monkeypatch.setitem(foreign_models.OPERATIONS, "MACs", (nothing, 0.01))
    assert foreign_models.cell("ConvNeXt", "MACs")["verdict"] == "not applicable"


def test_another_shape_or_nan_is_an_infinite_error():
    assert relative(torch.ones(2, 3), torch.ones(3, 2)) == float("inf")
    assert relative(torch.tensor([float("nan")]), torch.ones(1)) == float("inf")
    assert relative(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 5.0])) == pytest.approx(0.2)


def test_a_model_that_draws_until_its_weights_lie_within_bounds_is_loaded():
    assert foreign_models.cell("ViT (transformers)", "low rank")["verdict"] == "works"


@pytest.mark.parametrize(
    "operation", ["structured pruning", "low rank", "PTQ int8", "weight-only 4 bits", "save and load"]
)
def test_damage_in_a_file_is_found(monkeypatch, operation):
    load = storage.load

    def damaged(path):
        model = load(path)
        with torch.no_grad():
            next(module for module in model.modules() if isinstance(module, nn.Linear)).weight.mul_(1.5)
        return model

    monkeypatch.setattr(storage, "load", damaged)
    assert foreign_models.cell("ViT (torchvision)", operation)["verdict"] == "wrong"
