"""Measure the shipped baselines on the test splits, and write the cards of models and data.

    python benchmarks/write_cards.py
    python benchmarks/write_cards.py --quick     # measure the shipped baselines again, write no card

Numbers come from the shipped files, never from the training run; tests compare with the JSON beside the cards.
"""

from __future__ import annotations

from typing import Any

import torch
from common import CARDS, Results, Row, parser, read, sentiment, table_lines, write, write_card

from course_lib import assets, data, models, storage, training


def domains(name: str) -> dict[str, data.Split]:
    """Label → test split on which a baseline is reported; the first is the domain that it was trained on."""
    if name == "resnet18":
        return {"fashion_mnist": data.load("fashion_mnist").test}
    return {domain: splits.test for domain, splits in sentiment().items()}


def measure(name: str) -> dict[str, Any]:
    """Test accuracy of a shipped file with its interval, per domain and per class."""
    model = models.load(name)
    record: dict[str, Any] = {"bytes": storage.stored_bytes(assets.path(name)), "domains": {}}
    for domain, split in domains(name).items():
        result = training.evaluate(model, split, progress=True)
        record["domains"][domain] = {
            "examples": len(split), "accuracy": round(result.accuracy, 4), "loss": round(result.loss, 4),
            "interval": [round(bound, 4) for bound in result.interval],
            "per_class": {label: round(value, 4) for label, value in result.per_class().items()},
        }  # fmt: skip
    return record


def model_card(name: str, domains: dict[str, Row]) -> None:
    """Write the card of a baseline, with its accuracy in each domain and its training record."""
    run = read(CARDS / f"{name}_training.json")
    accuracies, per_class = [], []
    for domain, row in domains.items():
        low, high = row["interval"]
        accuracies.append([domain, f"{row['examples']:,}", f"{row['accuracy']:.2%}", f"{low:.2%} to {high:.2%}"])
        classes = table_lines([label, f"{value:.1%}"] for label, value in row["per_class"].items())
        per_class.append(f"Per class, {domain}:\n\n| class | accuracy |\n|---|---|\n{classes}")
    scores = "; ".join(
        f"{label}: {', '.join(f'{value:.2%}' for value in history['validation_accuracy'])}"
        for label, history in run["runs"].items()
    )
    write_card(
        name, **assets.manifest()[name], accuracies=table_lines(accuracies), per_class="\n\n".join(per_class),
        recipe=", ".join(f"{key} {value}" for key, value in run["recipe"].items()), scores=scores,
    )  # fmt: skip


def data_card(name: str, parts: dict[str, data.Splits]) -> None:
    """Write the card of a data set, with the number of examples per class and split."""
    rows, classes = [], next(iter(parts.values())).classes
    for part, splits in parts.items():
        for split in (splits.train, splits.validation, splits.test):
            counts = torch.bincount(split.labels, minlength=len(split.classes)).tolist()
            rows.append([part, split.name, f"{len(split):,}", ", ".join(map(str, counts))])
    write_card(name, **assets.manifest()[name], rows=table_lines(rows), classes=", ".join(classes))


def summary(table: dict[str, Any]) -> list[Row]:
    """Accuracy measured now, and the one stored beside the cards."""
    stored = read(CARDS / "baselines.json")
    return [
        {"model": name, "test split": domain, "examples": row["examples"], "accuracy": row["accuracy"],
         "in the card": stored[name]["domains"][domain]["accuracy"]}
        for name, record in table.items() for domain, row in record["domains"].items()
    ]  # fmt: skip


def main() -> None:
    """Measure the baselines and write all cards."""
    options = parser(__doc__, quick="measure the shipped baselines again, write no card").parse_args()
    results = Results(__doc__, options)
    table = {name: measure(name) for name in models.BASELINES}
    if not options.quick:
        data_card("fashion_mnist", {"images": data.load("fashion_mnist")})
        data_card("sentiment", sentiment())
        for name, record in table.items():
            model_card(name, record["domains"])
        write(CARDS / "baselines.json", table, indent=2)
    results.table("baselines", summary(table))
    results.save()


if __name__ == "__main__":
    main()
