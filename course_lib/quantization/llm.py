"""``LLMQuantizer``: weight-only quantization of a transformer by name, with RTN, GPTQ or AWQ."""

from __future__ import annotations

from typing import Any

from torch import nn

from course_lib import data, models
from course_lib.core.validation import check_positive
from course_lib.data import Split, refuse_test, text_windows
from course_lib.quantization.awq import awq
from course_lib.quantization.gptq import gptq
from course_lib.quantization.rtn import rtn
from course_lib.quantization.weight_only import WeightOnly

SAMPLES = 128


class LLMQuantizer:
    """Quantize the weights of a language model to a few bits, by GPTQ or AWQ.

    ``model`` is never changed; each method returns a quantized copy, so that they can be compared.

    Args:
        model_name: ``"tiny_llama"`` or ``"minilm"`` (shipped), a folder, or the name of a Hugging Face model.
        calibration: examples from train or validation; by default drawn from the train split of the shipped sentences,
            tokenized for the model.
        samples: number of examples to draw; for MiniLM per domain, which kept it closest to the original on validation
            (`benchmarks/quantization_llm.py`, table `calibration`).

    Raises:
        ConnectionError: if the model or its tokenizer has to be downloaded and the network is not reachable.
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if the model is no transformer with linear layers.
    """

    def __init__(
        self, model_name: str = "tiny_llama", calibration: Split | None = None, *, samples: int = SAMPLES
    ) -> None:
        check_positive("samples", samples)
        if calibration is not None:
            refuse_test(calibration, "used for calibration")
        self.model_name, self.model = model_name, models.load(model_name)
        if not hasattr(self.model, "config"):
            raise ValueError(
                f"model_name must name a transformer; {model_name!r} is a {type(self.model).__name__}, for which "
                "quantization.AdvancedQuantizer is made"
            )
        self.calibration = calibration or default_calibration(model_name, self.model, samples)

    def gptq_quantization(self, bits: int = 4, **options: Any) -> WeightOnly:
        """GPTQ (Frantar et al., 2022); ``options`` as in ``gptq``: ``group_size``, ``act_order``, ``damping``, …."""
        return gptq(self.model, self.calibration, bits, **options)

    def awq_quantization(self, bits: int = 4, **options: Any) -> WeightOnly:
        """AWQ (Lin et al., 2023); ``options`` as in ``awq``: ``group_size``, ``clip``, ``fold``, …."""
        return awq(self.model, self.calibration, bits, **options)

    def rtn_quantization(self, bits: int = 4, **options: Any) -> WeightOnly:
        """Round-to-nearest, the baseline of the other two; ``options`` as in ``rtn``."""
        return rtn(self.model, bits, **options)


def longest_input(model: nn.Module) -> int:
    """Number of tokens that the position embeddings of a transformer allow.

    RoBERTa counts positions from ``padding_idx + 1``, so that its table has that many rows more.
    """
    config: Any = model.config
    longest = int(getattr(config, "max_position_embeddings", text_windows.WINDOW))
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    offsets = [table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None]
    return longest - max(offsets, default=0)


def default_calibration(model_name: str, model: nn.Module, samples: int = SAMPLES) -> Split:
    """Examples of the shipped train split: token windows, or sentences of all domains for MiniLM."""
    if model_name == "minilm":
        domains = [data.load("sentiment", domain=domain) for domain in data.SENTIMENT_DOMAINS]
        return data.join([one.train.subset(samples) for one in domains])
    encoder = None if model_name == "tiny_llama" else models.hugging_face_tokenizer(model_name)
    longest = longest_input(model)
    return text_windows.load(min(text_windows.WINDOW, longest), encoder).train.subset(samples)
