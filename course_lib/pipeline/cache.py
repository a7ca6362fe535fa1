"""Results of steps, cached by content: weights, step, arguments, data, seed and version.

An entry is a model file and a record beside it, which holds the file's sha256. The record is written last, so that an
entry is whole or is not there; a file that does not have this sha256 is made again. An entry of another version has
another key: it is neither read nor changed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

import course_lib
from course_lib import assets, models, storage
from course_lib.core.atomic_write import write_atomically
from course_lib.data import Split, Splits

FORMAT = 1


def versions() -> dict[str, Any]:
    """What decides, beside its input, what a step returns."""
    return {"cache": FORMAT, "course": course_lib.__version__, "torch": torch.__version__}


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def data_digest(splits: Splits) -> str:
    """A hash of the examples and labels of train and validation; steps never see test."""
    digest = hashlib.sha256()
    for split in (splits.train, splits.validation):
        _add_split(digest, split)
    return digest.hexdigest()


def split_digest(split: Split) -> str:
    """A hash of the examples and labels of one split."""
    digest = hashlib.sha256()
    _add_split(digest, split)
    return digest.hexdigest()


def _add_split(digest: Any, split: Split) -> None:
    digest.update(repr((split.name, split.classes, split.upscale)).encode())
    named: Mapping[str, Tensor] = split.inputs if isinstance(split.inputs, Mapping) else {"": split.inputs}
    for name, tensor in [*sorted(named.items()), ("labels", split.labels)]:
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())


def key_of(**facts: Any) -> str:
    """A hash of facts that can be written as JSON, and of the versions."""
    return hashlib.sha256(json.dumps({**facts, **versions()}, sort_keys=True).encode()).hexdigest()[:32]


def write_model(model: nn.Module, path: Path, form: Mapping[str, Any] | None) -> Path:
    """The file of a model: as the arguments of ``code`` say, else exactly, in fp32 without a coder."""
    return storage.save(model, path, **(form or {"dtype": "fp32"}))


@dataclass(frozen=True)
class Entry:
    """One cached result.

    Args:
        folder: of the cache.
        key: from ``key_of``.
    """

    folder: Path
    key: str

    @property
    def file(self) -> Path:
        """The stored model."""
        return self.folder / f"{self.key}.safetensors"

    @property
    def record_file(self) -> Path:
        """Facts about it, as JSON."""
        return self.folder / f"{self.key}.json"

    def lock(self) -> FileLock:
        """Held while the entry is made, so that two processes do not make it twice; free when its holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / f"{self.key}.lock")

    def read(self) -> dict[str, Any] | None:
        """The record, or None if there is none or the file is not the one that it describes."""
        try:
            record = json.loads(self.record_file.read_text(encoding="utf-8"))
            return record if file_digest(self.file) == record["sha256"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, model: nn.Module, form: Mapping[str, Any] | None, **facts: Any) -> dict[str, Any]:
        """Write the model and then its record."""
        write_model(model, self.file, form)
        record = {**facts, "sha256": file_digest(self.file), "versions": versions()}
        write_atomically(self.record_file, json.dumps(record, indent=1) + "\n")
        return record


def original_file(model: nn.Module | str | Path, folder: Path) -> Path:
    """A file of the model that a pipeline starts from: a shipped or given file, or one that is written here.

    Raises:
        FileNotFoundError: if it looks like a file and is not there.
        ValueError: if a module has no description (see ``models.builder``).
    """
    if isinstance(model, str) and model in models.shipped_models():
        return assets.path(model)
    if isinstance(model, str | Path) and Path(model).is_file():
        return Path(model)
    if isinstance(model, str | Path) and Path(model).suffix == ".safetensors":
        raise FileNotFoundError(f"model names the file {model}, which is not there")
    loaded = model if isinstance(model, nn.Module) else models.load(str(model), weights="imagenet")
    written = storage.save(loaded, folder / "originals" / f"{secrets.token_hex(8)}.safetensors")
    return written.replace(written.with_name(f"{file_digest(written)[:32]}.safetensors"))
