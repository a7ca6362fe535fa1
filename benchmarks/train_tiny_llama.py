"""Train the tiny Llama and its tokenizer on the shipped sentences, and write their files and card.

    python benchmarks/train_tiny_llama.py                 # about 5 minutes on two idle cores
    python benchmarks/train_tiny_llama.py --quick         # measure the shipped model again, train nothing

Seeded; an interrupted run resumes from runs/. The tokenizer and the model see the train splits only; the number of
epochs was chosen on validation, and test is read once, for the card.
"""

from __future__ import annotations

import math

from build_assets import build_manifest
from common import CARDS, Results, Row, parser, read, table_lines, write, write_card
from resuming import RUNS
from torch import nn
from train_baselines import store

from course_lib import assets, data, models, profiling, training
from course_lib.core.atomic_write import write_atomically
from course_lib.data import text_windows
from course_lib.training import language_modeling

SEED = 0
VOCABULARY = 1024
LLAMA = {
    "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 192, "intermediate_size": 512,
    "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 6, "max_position_embeddings": 512,
    "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0, "use_cache": False,
}  # fmt: skip
RECIPE = {
    "epochs": 5, "learning_rate": 4e-3, "optimizer": "adamw", "weight_decay": 0.1, "schedule": "one_cycle",
    "batch_size": 16, "precision": "bf16", "seed": SEED,
}  # fmt: skip


def train_tokenizer() -> None:
    """A byte-level BPE vocabulary over the train splits (Sennrich et al., 2016)."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers import models as tokenizer_models

    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[text_windows.START], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    texts = data.sentences()
    lines = [line for domain in data.SENTIMENT_DOMAINS for line in texts[domain, "train"]]
    tokenizer.train_from_iterator(lines, trainer)
    file = assets.FOLDER / "tiny_llama" / "tokenizer.json"
    write_atomically(file, tokenizer.to_str() + "\n")


def train() -> None:
    """Train from random weights and store the model with its training record."""
    train_tokenizer()
    build_manifest()
    splits = text_windows.load()
    training.seed_everything(SEED)
    model = models.build({"builder": "causal_lm", "arguments": LLAMA})
    validation: list[float] = []
    steps_per_epoch = math.ceil(len(splits.train) / RECIPE["batch_size"])
    tokens = splits.train.inputs["input_ids"].numel()
    print(f"{profiling.count_parameters(model):,} parameters, {tokens:,} tokens")

    def validate(model: nn.Module, step: int, total: int) -> None:
        if step % steps_per_epoch == 0 or step == total:
            validation.append(round(language_modeling.perplexity(model, splits.validation), 3))
            print(f"step {step} of {total}: perplexity {validation[-1]} on validation", flush=True)

    training.fit(
        model, splits.train, loss=language_modeling.next_token_loss, after_step=validate,
        checkpoint=RUNS / "tiny_llama.checkpoint", progress=False, **RECIPE,
    )  # fmt: skip
    store("tiny_llama", model, {"recipe": RECIPE, "perplexity": {"validation": validation}})


def measure() -> list[Row]:
    """Perplexity of the shipped file on every split, and on each domain of test."""
    model, splits = models.load("tiny_llama"), text_windows.load()
    parts = {"validation": splits.validation, "test": splits.test}
    parts |= {f"test, {name}": text_windows.domain(splits.test, name) for name in data.SENTIMENT_DOMAINS}
    return [
        {"split": name, "windows": len(part), "perplexity": round(language_modeling.perplexity(model, part), 3)}
        for name, part in parts.items()
    ]


def card(rows: list[Row]) -> None:
    """Write the card, and add the measured rows to the training record."""
    file = CARDS / "tiny_llama_training.json"
    record = read(file)
    write_card(
        "tiny_llama", **LLAMA, **assets.manifest()["tiny_llama"], window=text_windows.WINDOW,
        rows=table_lines([row["split"], f"{row['windows']:,}", f"{row['perplexity']:.2f}"] for row in rows),
        parameters=profiling.count_parameters(models.load("tiny_llama")),
        recipe=", ".join(f"{key} {value}" for key, value in record["recipe"].items()),
        history=", ".join(f"{value:.2f}" for value in record["perplexity"]["validation"]),
    )  # fmt: skip
    write(file, record | {"measured": rows}, indent=2)


def main() -> None:
    """Train the model, then measure it and write its card."""
    options = parser(__doc__, quick="measure the shipped model again, train nothing").parse_args()
    results = Results(__doc__, options)
    if not options.quick:
        train()
    rows = measure()
    if not options.quick:
        card(rows)
    results.table("perplexity", rows)
    results.save()


if __name__ == "__main__":
    main()
