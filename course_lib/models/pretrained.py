"""Trained models by name: shipped, from torchvision, or from Hugging Face."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib import assets, storage
from course_lib.architectures.builders import (
    BERT_SHAPE,
    CAUSAL_LMS,
    CLASSIFIERS,
    TORCHVISION_OPTIONS,
    config_fields,
)
from course_lib.architectures.registry import ARCHITECTURE_ATTRIBUTE, build, describe
from course_lib.core.network import check_reachable
from course_lib.core.validation import check_choice
from course_lib.models.fetching import FETCHABLE, fetched_path
from course_lib.models.gguf_file import gguf_tokenizer, load_gguf

BASELINES = ("resnet18", "minilm")
SHIPPED = (*BASELINES, "tiny_llama")
HUB = "https://huggingface.co"
TORCHVISION_HOST = "https://download.pytorch.org"


def load(name: str, *, weights: str = "course") -> nn.Module:
    """A trained model in eval mode, with fp32 weights.

    Args:
        name: ``"resnet18"``, ``"minilm"``, ``"tiny_llama"`` or another of ``shipped_models()``, ``"smollm2"`` after
            ``course fetch smollm2``, a torchvision classifier with ``weights="imagenet"``, or the name or folder of a
            Hugging Face model.
        weights: ``"course"`` for the shipped ones, ``"imagenet"`` for torchvision's, ``"none"`` for untrained.

    Raises:
        ValueError: if ``weights`` or ``name`` is unknown.
        ConnectionError: if the weights must be downloaded and cannot be.
        FileNotFoundError: if it is one of ``FETCHABLE`` and not fetched.
    """
    check_choice("weights", weights, ("course", "imagenet", "none"))
    if weights == "imagenet":
        return _download(name, _load_torchvision)
    if name in FETCHABLE:
        fetched = load_gguf(fetched_path(name))
        return build(describe(fetched)) if weights == "none" else fetched
    if name not in shipped_models():
        check_available(name)
        return _download(name, _load_hugging_face)
    trained = storage.load(assets.path(name))
    return build(describe(trained)) if weights == "none" else trained


def shipped_models() -> list[str]:
    """Names of the models that come with the package: the baselines, and compressed ones of the lessons."""
    files = {name: entry["file"] for name, entry in assets.manifest().items()}
    return [*SHIPPED, *(name for name, file in files.items() if file.endswith(".safetensors") and name not in SHIPPED)]


def hugging_face_tokenizer(name: str) -> Any:
    """The tokenizer of a Hugging Face model, by name or from its folder, or of ``"smollm2"``.

    Raises:
        ConnectionError: if it must be downloaded and cannot be.
        FileNotFoundError: if it is one of ``FETCHABLE`` and not fetched.
    """
    if name in FETCHABLE:
        return gguf_tokenizer(fetched_path(name))
    check_available(name)
    from transformers import AutoTokenizer

    try:
        return _from_hub(name, partial(AutoTokenizer.from_pretrained, name))
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(f"the tokenizer of {name!r} could not be fetched ({reason})") from error


def _download(name: str, loader: Callable[[str], nn.Module]) -> nn.Module:
    try:
        return loader(name).eval()
    except OSError as error:
        raise _unavailable(name, error) from error


def _unavailable(name: str, reason: OSError) -> ConnectionError:
    return ConnectionError(
        f"model {name!r} is neither shipped nor on this machine and could not be fetched "
        f"({str(reason).splitlines()[0]}); connect to the network once, or use one of {', '.join(shipped_models())}"
    )


def _load_torchvision(name: str) -> nn.Module:
    from torchvision import models as torchvision_models

    check_choice("name", name, torchvision_models.list_models(module=torchvision_models))
    check_available(name, TORCHVISION_HOST)
    model = torchvision_models.get_model(name, weights="DEFAULT")
    options = {key: getattr(model, key) for key in TORCHVISION_OPTIONS if hasattr(model, key)}
    builder, own = ("resnet18", {}) if name == "resnet18" else ("torchvision", {"name": name, **options})
    setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": builder, "arguments": {**own, "num_classes": 1000}})
    return model


def check_available(name: str, host: str = "") -> None:
    """Return if a model is on this machine or could be downloaded; known at once, without importing its library.

    Args:
        host: from which it would be downloaded; the Hugging Face hub by default.

    Raises:
        ConnectionError: if it is not here and there is no network, with the names of the models that are.
    """
    if Path(name).is_dir() or any(any(folder.glob(pattern)) for folder, pattern in _downloads(name)):
        return
    try:
        if not host and os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            raise ConnectionError("HF_HUB_OFFLINE is set")
        check_reachable(host or os.environ.get("HF_ENDPOINT", HUB))
    except ConnectionError as error:
        raise _unavailable(name, error) from error


def _downloads(name: str) -> list[tuple[Path, str]]:
    """Folders of downloaded models, with the pattern of the files of this one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = Path(os.environ.get("HF_HOME", cache / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    file = glob.escape(name.replace("/", "--"))
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"  # googlenet-….pth, inception_v3_google-….pth
    return [(hub, f"models--{file}"), (checkpoints, f"{file}-*.pth"), (checkpoints, f"{file}_*-*.pth")]


def _from_hub(name: str, loader: Callable[..., Any]) -> Any:
    """``loader(local_files_only=…)``: what is on this machine, else from the hub."""
    try:
        return loader(local_files_only=True)
    except OSError:
        if Path(name).is_dir():
            raise
    return loader(local_files_only=False)


def _load_hugging_face(name: str) -> nn.Module:
    import transformers

    config = _from_hub(name, partial(transformers.AutoConfig.from_pretrained, name))
    classifier = any("SequenceClassification" in kind for kind in config.architectures or [])
    auto_model = transformers.AutoModelForSequenceClassification if classifier else transformers.AutoModelForCausalLM
    model = _from_hub(name, partial(auto_model.from_pretrained, name, dtype=torch.float32))
    fields = {key: value for key, value in config.to_diff_dict().items() if key in config_fields(type(config))}
    if not classifier and config.model_type in CAUSAL_LMS:
        arguments = {"model_type": config.model_type, **fields, "use_cache": False}
        setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": "causal_lm", "arguments": arguments})
    if classifier and config.model_type in CLASSIFIERS:
        own = {key: value for key, value in fields.items() if key not in ("id2label", "label2id")}
        arguments = {"model_type": config.model_type, **own, "num_labels": config.num_labels}
        setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": "classifier", "arguments": arguments})
    if classifier and config.model_type == "bert":
        arguments = {field: getattr(config, field) for field in BERT_SHAPE} | {"num_labels": config.num_labels}
        setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": "bert", "arguments": arguments})
    return model
