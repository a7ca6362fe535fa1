"""GPTQ onto uniform grids: against solving for the free columns, Hessians, matched moments, pruned weights, text."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import coding, models, storage
from course_lib.coding import sequential
from course_lib.data import Split, TestSplitError
from course_lib.training.input_statistics import inverse_factor
from tests.toys import one_layer_bert, small_convolutional


def correlated(rows=200, width=12):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=generator) @ torch.randn(width, width, generator=generator)
    return x, x.T @ x / rows


@pytest.fixture(scope="module")
def fisher(folded, train):
    return coding.fisher_information(folded, train)


def test_each_column_leaves_the_later_ones_at_the_least_squares_optimum():
    _, H = correlated()
    H, W, step = H.double(), torch.randn(3, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([0.3] * 3)
    free, fixed = W.double().clone(), torch.zeros(3, 12, dtype=torch.float64)
    for column in range(12):
        fixed[:, column] = (free[:, column] / 0.3).round() * 0.3
        done, later = slice(0, column + 1), slice(column + 1, 12)
        if column < 11:
            gap = W.double()[:, done] - fixed[:, done]
            free[:, later] = W.double()[:, later] + torch.linalg.solve(H[later, later], H[later, done] @ gap.T).T
    found = coding.gptq_levels(W, inverse_factor(H, 0.0), step)
    assert torch.allclose(found * 0.3, fixed.float(), atol=1e-5)


def test_the_output_error_is_below_that_of_rounding_to_nearest():
    x, H = correlated()
    W, steps = torch.randn(8, 12, generator=torch.Generator().manual_seed(1)), torch.full((8,), 0.5)
    nearest = coding.quantize_levels(W, steps)
    found = coding.gptq_levels(W, inverse_factor(H, 0.01), steps)
    errors = [(x @ (W - levels * 0.5).T).square().sum() for levels in (found, nearest)]
    assert errors[0] < 0.8 * errors[1]


def test_without_correlation_it_is_rounding_to_nearest():
    W, steps = torch.randn(4, 5), torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert torch.equal(coding.gptq_levels(W, torch.eye(5), steps), coding.quantize_levels(W, steps))


def test_blocks_do_not_change_the_result(monkeypatch):
    _, H = correlated()
    W, U = torch.randn(4, 12), inverse_factor(H, 0.01)
    whole = coding.gptq_levels(W, U, torch.full((4,), 0.4))
    monkeypatch.setattr(sequential, "LAZY_BLOCK", 5)
    assert torch.equal(coding.gptq_levels(W, U, torch.full((4,), 0.4)), whole)


def test_pruned_weights_stay_zero_and_their_neighbours_are_corrected():
    _, H = correlated()
    W = torch.randn(6, 12, generator=torch.Generator().manual_seed(2))
    W[:, ::2] = 0
    levels = coding.gptq_levels(W, inverse_factor(H, 0.01), torch.full((6,), 0.3), keep_zeros=True)
    assert not levels[:, ::2].any() and levels[:, 1::2].any()


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 2}, {"dilation": 2}, {"groups": 4}])
def test_the_hessian_of_a_convolution_gives_the_error_of_its_outputs(options):
    torch.manual_seed(0)
    layer, images = nn.Conv2d(4, 8, 3, bias=False, **options), torch.randn(5, 4, 9, 9)
    change = torch.randn_like(layer.weight)
    wanted = F.conv2d(images, change, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    H = sequential.layer_hessians(layer, images)
    assert len(H) == layer.groups
    rows = change.flatten(1).chunk(layer.groups)
    errors = torch.cat([((part @ h) * part).sum(1) for part, h in zip(rows, H, strict=True)])
    assert torch.allclose(errors, wanted.square().mean(dim=(0, 2, 3)), rtol=1e-4)


def test_the_hessian_of_a_linear_layer_is_a_mean_over_rows():
    x = torch.randn(3, 4, 5)
    (H,) = sequential.layer_hessians(nn.Linear(5, 2), x)
    assert torch.allclose(H, torch.stack([row[:, None] * row for row in x.reshape(-1, 5)]).mean(0), atol=1e-6)


def test_steps_trade_bits_for_loss_at_the_same_rate():
    """f_i d step² is c² for every row: hand-worked with H = diag(4, 1) and no damping."""
    H = torch.diag(torch.tensor([4.0, 1.0]))
    fisher = torch.tensor([[8.0, 2.0], [80.0, 20.0]])  # f_i = 2 and 20: output Fisher information times E[x²]
    steps = coding.row_steps(fisher, H, inverse_factor(H, 0.0), 0.1)
    assert steps.tolist() == pytest.approx([0.1 / (2 * 2.5) ** 0.5, 0.1 / (20 * 2.5) ** 0.5])


def outputs_of(model, name, split):
    with models_capture(model, name) as captured:
        models.forward(model, split.example(len(split)))
    return captured[name]


def models_capture(model, name):
    from course_lib.models.hooks import capture_outputs

    return capture_outputs(model, [name])


def test_outputs_get_the_moments_of_the_original(folded, train, fisher):
    coarse = coding.quantize_sequentially(folded, train, fisher, 0.0005)
    unmatched = coding.quantize_sequentially(folded, train, fisher, 0.0005, match=False)
    wanted = outputs_of(folded, "block.conv2", train)
    gaps = []
    for model in (coarse, unmatched):
        found = outputs_of(model, "block.conv2", train)
        gaps.append(((found.mean((0, 2, 3)) - wanted.mean((0, 2, 3))).abs() / wanted.std((0, 2, 3))).mean().item())
        gaps.append((found.std((0, 2, 3)) / wanted.std((0, 2, 3)) - 1).abs().mean().item())
    assert gaps[0] < 0.5 * gaps[2] and gaps[1] < 0.06 and gaps[1] < gaps[3]


def test_a_smaller_c_costs_more_bits_and_changes_the_outputs_less(folded, train, fisher):
    images, bits, errors = train.example(48), [], []
    for c in (0.05, 0.01, 0.002):
        model = coding.quantize_sequentially(folded, train, fisher, c)
        bits.append(storage.code_length([levels for levels, _ in coding.levels_of(model).values()]))
        errors.append((models.forward(model, images) - models.forward(folded, images)).square().mean().item())
    assert bits[0] < bits[1] < bits[2] and errors[0] > errors[1] > errors[2]


def test_the_file_holds_the_levels_and_the_original_is_not_changed(folded, train, fisher, tmp_path):
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    model = coding.quantize_sequentially(folded, train, fisher, 0.01)
    assert all(torch.equal(before[name], value) for name, value in folded.state_dict().items())
    loaded = storage.load(storage.save(model, tmp_path / "c.safetensors", coder="arithmetic", dtype="fp16"))
    images = train.example(4)
    assert torch.equal(models.forward(loaded, images), models.forward(model, images))
    assert set(coding.levels_of(loaded)) == {name for name in folded.state_dict() if "conv" in name or "fc" in name}


def test_no_label_is_read(folded, train, fisher):
    other = Split("noise", "train", train.inputs, 9 - train.labels, train.classes)
    one, two = (coding.quantize_sequentially(folded, data, fisher, 0.01) for data in (train, other))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_zeros_of_a_pruned_net_stay_zero(folded, train, fisher):
    pruned = coding.quantize_uniform(folded, {})
    mask = torch.rand(pruned.block.conv1.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    pruned.block.conv1.weight.data[mask] = 0
    kept, free = (
        coding.quantize_sequentially(pruned, train, fisher, 0.002, keep_zeros=keep).block.conv1.weight[mask]
        for keep in (True, False)
    )
    assert not kept.any() and free.any()


def test_a_dead_channel_and_a_layer_without_gradients_do_not_break_it(folded, train, fisher):
    dead = coding.quantize_uniform(folded, {})
    dead.block.conv1.weight.data[2] = 0
    blind = {name: torch.zeros_like(value) for name, value in fisher.items()}
    for information in (fisher, blind):
        model = coding.quantize_sequentially(dead, train, information, 0.01)
        assert all(value.isfinite().all() for value in model.state_dict().values())


def test_bad_arguments_are_refused(folded, train, fisher):
    with pytest.raises(TestSplitError):
        coding.quantize_sequentially(
            folded, Split("noise", "test", train.inputs, train.labels, train.classes), fisher, 0.01
        )
    with pytest.raises(ValueError, match="c must be greater than 0"):
        coding.quantize_sequentially(folded, train, fisher, 0.0)
    with pytest.raises(ValueError, match="BatchNorm"):
        coding.quantize_sequentially(small_convolutional(), train, fisher, 0.01)


def sentences(name="train", size=24):
    generator = torch.Generator().manual_seed(5)
    mask = (torch.arange(8)[None] < torch.randint(3, 9, (size, 1), generator=generator)).long()
    tokens = {"input_ids": torch.randint(1, 30, (size, 8), generator=generator) * mask, "attention_mask": mask}
    return Split("words", name, tokens, torch.zeros(size, dtype=torch.int64), ("a", "b"))


def test_a_transformer_with_its_embeddings(tmp_path):
    model, text = one_layer_bert(), sentences()
    fisher = coding.fisher_information(model, text)
    coded = coding.quantize_sequentially(model, text, fisher, 1e-5)
    file = storage.save(coded, tmp_path / "bert.safetensors", coder="arithmetic")
    inputs = text.example(24)
    assert torch.equal(models.forward(storage.load(file), inputs), models.forward(coded, inputs))
    gap = (models.forward(coded, inputs) - models.forward(model, inputs)).abs().max()
    assert gap < 0.1 * models.forward(model, inputs).std()


def test_words_that_calibration_lacks_get_coarser_steps():
    model, text = one_layer_bert(), sentences()
    fisher = coding.fisher_information(model, text)
    counts = coding.embedding_counts(model, text)
    coded = coding.quantize_sequentially(model, text, fisher, 1e-4, counts=counts)
    _, steps = coding.levels_of(coded)["bert.embeddings.word_embeddings.weight"]
    seen = torch.bincount(text.inputs["input_ids"][text.inputs["attention_mask"].bool()], minlength=50) > 0
    assert steps[seen].float().max() < steps[~seen].float().min()


def test_padding_does_not_count():
    text = sentences()
    longer = {key: F.pad(value, (0, 5)) for key, value in text.inputs.items()}
    padded = Split("words", "train", longer, text.labels, text.classes)
    model = one_layer_bert()
    fisher = coding.fisher_information(model, text)
    layer = model.bert.encoder.layer[0].intermediate.dense
    rows = torch.randn(24, 8, 16)
    mask = text.inputs["attention_mask"].bool()
    assert torch.equal(sequential.output_rows(layer, rows, mask), rows[mask])
    one, two = (coding.quantize_sequentially(model, split, fisher, 1e-3) for split in (text, padded))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
