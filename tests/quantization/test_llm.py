"""LLMQuantizer: defaults, folders, names that cannot be fetched, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from course_lib import assets, data, models, quantization, storage
from course_lib.data import text_windows
from course_lib.quantization import LLMQuantizer
from course_lib.training import language_modeling
from tests.quantization.small_transformers import KINDS, small


@pytest.fixture(scope="module")
def quantizer():
    return LLMQuantizer(samples=8)


def test_it_takes_the_tiny_llama_and_four_bits_unless_told_otherwise(quantizer):
    assert quantizer.model_name == "tiny_llama" and quantizer.calibration.name == "train"
    result = quantizer.gptq_quantization()
    assert set(result.report["bits"]) == {4} and result.method == "gptq"
    assert quantizer.awq_quantization().method == "awq"


def test_minilm_is_calibrated_with_what_was_measured_to_be_best():
    found = quantization.llm.default_calibration("minilm", models.load("minilm"), 4)
    rows = assets.results("quantization_llm")["calibration"]["rows"]
    total: dict[tuple[int, ...], float] = {}
    for row in rows:
        if row["counts"] and row["corrected"]:
            total[tuple(row["counts"])] = total.get(tuple(row["counts"]), 0) + row["divergence"]
    best = min(total, key=total.__getitem__)
    assert best == (128, 128, 128) and quantization.llm.SAMPLES == 128
    assert len(found) == 4 * len(best) and found.name == "train"


def test_methods_do_not_stack_and_the_model_stays(quantizer):
    before = {name: value.clone() for name, value in quantizer.model.state_dict().items()}
    first = quantizer.gptq_quantization(bits=3)
    quantizer.awq_quantization(bits=2)
    again = quantizer.gptq_quantization(bits=3)
    assert all(torch.equal(before[name], value) for name, value in quantizer.model.state_dict().items())
    pairs = zip(first.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_clever_methods_beat_rounding_to_nearest_at_three_bits(quantizer):
    some = text_windows.load().validation.subset(24)
    nearest, gptq, awq = (
        language_modeling.perplexity(method(3).model, some)
        for method in (quantizer.rtn_quantization, quantizer.gptq_quantization, quantizer.awq_quantization)
    )
    assert gptq < nearest and awq < nearest


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert"])
def test_a_local_folder_is_quantized_with_its_own_tokenizer(kind, tmp_path):
    model = small(kind)
    if kind == "llama":
        model.config.max_position_embeddings = 64
    model.save_pretrained(tmp_path / "model")
    inner = Tokenizer.from_file(str(assets.path("tiny_llama_tokenizer")))
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>").save_pretrained(tmp_path / "model")
    ids = data.Split(
        "fake", "train", {"input_ids": torch.randint(0, 200, (6, 20)), "attention_mask": torch.ones(6, 20).long()},
        torch.zeros(6).long(), ("a",),
    )  # fmt: skip
    result = LLMQuantizer(str(tmp_path / "model"), ids).gptq_quantization(group_size=16)
    again = storage.load(result.save(tmp_path / "small.safetensors"))
    assert type(again) is type(model)
    assert models.forward(again, ids.inputs).shape == (6, 20, 200)


def test_calibration_for_a_folder_is_cut_by_its_own_tokenizer(tmp_path):
    from course_lib.quantization.llm import default_calibration

    inner = Tokenizer.from_file(str(assets.path("tiny_llama_tokenizer")))
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>").save_pretrained(tmp_path)
    model = small("opt")
    found = default_calibration(str(tmp_path), model, 4)
    assert found.inputs["input_ids"].shape == (4, 40) and found.name == "train"


def test_a_name_that_cannot_be_fetched_says_what_there_is(monkeypatch):
    def offline(*_, **__):
        raise OSError("We couldn't connect to the server")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(ConnectionError, match=r"'someone/some-llama' is neither shipped.*tiny_llama"):
        LLMQuantizer("someone/some-llama")


def test_a_model_that_is_no_transformer_is_refused():
    with pytest.raises(ValueError, match="model_name must name a transformer; 'resnet18' is a ResNet"):
        LLMQuantizer("resnet18")


def test_the_test_split_is_refused_at_once():
    with pytest.raises(data.TestSplitError):
        LLMQuantizer("tiny_llama", text_windows.load().test)
    with pytest.raises(ValueError, match="samples must be greater than 0"):
        LLMQuantizer(samples=0)


@pytest.mark.parametrize(("family", "longest"), [("Roberta", 18), ("OPT", 20), ("Bert", 20)])
def test_the_longest_input_leaves_out_positions_that_padding_takes(family, longest):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "max_position_embeddings": 20}
    extra = {"ffn_dim": 32, "word_embed_proj_dim": 16} if family == "OPT" else {"intermediate_size": 32}
    config = getattr(transformers, f"{family}Config")(vocab_size=40, pad_token_id=1, **sizes, **extra)
    suffix = "ForCausalLM" if family == "OPT" else "ForSequenceClassification"
    model = getattr(transformers, f"{family}{suffix}")(config).eval()
    assert quantization.llm.longest_input(model) == longest
    tokens = torch.full((1, longest), 7)
    with torch.no_grad():
        assert model(input_ids=tokens).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, longest + 1), 7), attention_mask=torch.ones(1, longest + 1))
