"""The shipped sentences with their ratings, and their tokens for MiniLM."""

from __future__ import annotations

import csv
from typing import Any

import torch
from torch import Tensor

from course_lib import assets
from course_lib.data.splits import SPLIT_NAMES, Split, Splits

SENTIMENT_CLASSES = ("negative", "positive")
SENTIMENT_DOMAINS = ("movies", "amazon", "tweets")
MAX_TOKENS = 64


def tokenizer() -> Any:
    """The WordPiece tokenizer of the shipped MiniLM."""
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(assets.path("minilm_vocab").parent, local_files_only=True)


def tokenize(texts: list[str], max_tokens: int = MAX_TOKENS) -> dict[str, Tensor]:
    """Token ids and attention mask ``(N, L)`` of sentences, padded to the longest and truncated to ``max_tokens``."""
    tokens = tokenizer()(
        texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt", return_token_type_ids=False
    )
    return {key: tokens[key] for key in ("input_ids", "attention_mask")}


def sentences() -> dict[tuple[str, str], tuple[str, ...]]:
    """(domain, split) → its shipped sentences, as plain text."""
    texts: dict[tuple[str, str], list[str]] = {}
    for row in _sentence_rows():
        texts.setdefault((row["domain"], row["split"]), []).append(row["text"])
    return {key: tuple(lines) for key, lines in texts.items()}


def _sentence_rows() -> list[dict[str, str]]:
    with assets.path("sentiment").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def load_sentiment(domain: str) -> Splits:
    """The three splits of one domain; the label is the sign of the mean rating."""
    rows = [row for row in _sentence_rows() if row["domain"] == domain]

    def split(name: str) -> Split:
        chosen = [row for row in rows if row["split"] == name]
        texts = [row["text"] for row in chosen]
        labels = torch.tensor([float(row["mean_rating"]) > 0 for row in chosen]).long()
        return Split(f"sentiment/{domain}", name, tokenize(texts), labels, SENTIMENT_CLASSES, texts=tuple(texts))

    return Splits(*(split(name) for name in SPLIT_NAMES))
