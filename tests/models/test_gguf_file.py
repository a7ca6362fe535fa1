"""Language models from GGUF files, which the tests make themselves."""

from __future__ import annotations

import gguf
import numpy
import pytest
import torch

from course_lib import data, models
from course_lib.core import extras
from course_lib.models import gguf_tokenizer, load_gguf

SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
}  # fmt: skip
HEADS = {"attn_q": 4, "attn_k": 2}
KINDS = gguf.GGMLQuantizationType
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def llama(tied=True):
    torch.manual_seed(0)
    arguments = {
        "model_type": "llama", **SHAPE, "tie_word_embeddings": tied, "use_cache": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    model = models.build({"builder": "causal_lm", "arguments": arguments})
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def permuted(weight, heads):
    """Rows in the order of llama.cpp, as its converter for Llama models writes them."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def byte_tokens():
    """The 256 characters of a byte-level vocabulary, some merges, special tokens first."""
    from tokenizers import pre_tokenizers

    merges = ["t h", "Ġ th", "e r", "i n", "Ġ a", "Ġth e"]
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge.split()) for merge in merges)]
    return tokens + [f"unused{number}" for number in range(SHAPE["vocab_size"] - len(tokens))], merges


def write(path, model, *, kind=KINDS.F16, architecture="llama", splitting="smollm", tied=True):
    """Write ``model`` as llama.cpp would, with linear weights of this kind."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(SHAPE["max_position_embeddings"])
    writer.add_embedding_length(SHAPE["hidden_size"])
    writer.add_feed_forward_length(SHAPE["intermediate_size"])
    writer.add_block_count(SHAPE["num_hidden_layers"])
    writer.add_head_count(SHAPE["num_attention_heads"])
    writer.add_head_count_kv(SHAPE["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(SHAPE["rms_norm_eps"])
    writer.add_rope_freq_base(5000.0)
    writer.add_vocab_size(SHAPE["vocab_size"])
    tokens, merges = byte_tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = {own: name for name, own in models.gguf_file.NAMES.items()}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        *inner, suffix = name.split(".")
        block = f"blk.{inner[2]}." if inner[:2] == ["model", "layers"] else ""
        short = names[".".join(inner[3:] if block else inner)]
        values = permuted(tensor, HEADS[short]) if short in HEADS else tensor
        matrix = values.dim() == 2
        content = gguf.quants.quantize(values.numpy(), kind if matrix else KINDS.F32)
        writer.add_tensor(f"{block}{short}.{suffix}", content, raw_dtype=kind if matrix else KINDS.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", llama())


@torch.no_grad()
def logits(model):
    ids = torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(0))
    return models.forward(model, {"input_ids": ids})


def test_the_model_computes_what_the_original_does(file):
    loaded, original = load_gguf(file), llama()
    assert not loaded.training and loaded.lm_head.weight is loaded.model.embed_tokens.weight
    state = {name: tensor.half().float() for name, tensor in original.state_dict().items()}
    assert {name: torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items()} == dict.fromkeys(
        state, True
    )
    original.load_state_dict(state)
    assert torch.equal(logits(loaded), logits(original))
    again = models.build(models.describe(loaded))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in loaded.state_dict().items()}


def test_an_output_matrix_of_its_own_is_read(tmp_path):
    loaded = load_gguf(write(tmp_path / "untied.gguf", llama(False), tied=False))
    assert loaded.lm_head.weight is not loaded.model.embed_tokens.weight
    assert torch.equal(loaded.lm_head.weight, llama(False).lm_head.weight.half().float())


@pytest.mark.parametrize(("kind", "tolerance"), [(KINDS.Q8_0, 0.02), (KINDS.Q4_1, 0.2)])
def test_quantized_weights_are_decoded_to_values_that_fp16_holds(tmp_path, kind, tolerance):
    loaded = load_gguf(write(tmp_path / "small.gguf", llama(), kind=kind))
    weight, original = loaded.model.layers[0].mlp.up_proj.weight, llama().model.layers[0].mlp.up_proj.weight
    assert torch.equal(weight, weight.half().float())
    assert 0 < (weight - original).norm() / original.norm() < tolerance


def test_the_tokenizer_merges_bytes_and_splits_digits(file):
    tokenizer = gguf_tokenizer(file)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("then the 12 é")["input_ids"])
    assert tokens == ["th", "e", "n", "Ġthe", "Ġ", "1", "2", "Ġ", "Ã", "©"]
    text = "<|im_start|>then the 12 é's <|im_end|>"
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1], tokenizer.decode(ids)) == (1, 2, text)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    windows = data.text_windows.token_ids(["then", "the"], tokenizer)
    assert windows.tolist().count(1) == 2 and windows[0] == 1


@pytest.mark.parametrize("keep", [0, 3, 200, 9_000, -40])
def test_a_truncated_file_is_refused(file, tmp_path, keep):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"damaged\.gguf cannot be read as a GGUF file of a Llama model"):
        load_gguf(damaged)


def test_another_kind_of_file_model_or_tokenizer_is_refused(tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\3\4" + bytes(2000))
    with pytest.raises(ValueError, match="cannot be read as a GGUF file"):
        load_gguf(other)
    with pytest.raises(ValueError, match="its architecture is 'falcon', not 'llama'"):
        load_gguf(write(tmp_path / "falcon.gguf", llama(), architecture="falcon"))
    with pytest.raises(ValueError, match="must be 'gpt2' with pre-tokenizer 'smollm', found 'gpt2', 'falcon'"):
        gguf_tokenizer(write(tmp_path / "words.gguf", llama(), splitting="falcon"))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_gguf(tmp_path / "missing.gguf")


def test_the_extra_is_named_where_it_is_missing(monkeypatch, file):
    monkeypatch.setattr(extras, "packages", lambda extra: ["gguf-of-nowhere"])
    with pytest.raises(extras.ExtraMissing, match=r"the extra \[llm\] is not installed"):
        load_gguf(file)


def test_values_are_permuted_back(file):
    weight = torch.from_numpy(numpy.arange(64.0).reshape(8, 8))
    assert torch.equal(models.gguf_file._unpermute(permuted(weight, 2), 2), weight)
