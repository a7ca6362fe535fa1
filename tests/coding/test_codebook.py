"""k-means codebooks: hand-worked values, an independent search for the best clusters, empty clusters."""

from __future__ import annotations

import itertools

import pytest
import torch

from course_lib import coding

VALUES = torch.tensor([0.0, 1.0, 2.0, 10.0])


def squared_error(values, codebook):
    return (values - codebook.values()).square().sum().item()


def best_error(values, k):
    """Smallest error of any division of the sorted values into k neighbouring groups."""
    ordered = values.sort().values
    cuts = itertools.combinations(range(1, len(ordered)), k - 1)
    groups = ([ordered[a:b] for a, b in itertools.pairwise((0, *cut, len(ordered)))] for cut in cuts)
    return min(sum((part - part.mean()).square().sum().item() for part in parts) for parts in groups)


def test_linear_initialisation_is_equally_spaced_from_the_smallest_to_the_largest():
    assert coding.initial_centroids(VALUES, 3, "linear").tolist() == [0, 5, 10]


def test_density_initialisation_is_equally_spaced_on_the_cumulative_distribution():
    values = torch.cat([torch.zeros(6), torch.ones(2)])
    assert coding.initial_centroids(values, 2, "density").tolist() == [0, 1]
    assert coding.initial_centroids(torch.arange(8.0), 4, "density").tolist() == [1, 3, 5, 7]


def test_random_initialisation_draws_different_values_and_depends_on_the_seed():
    values = torch.tensor([3.0] * 50 + [1.0, 2.0])
    assert coding.initial_centroids(values, 3, "random").tolist() == [1, 2, 3]
    drawn = {tuple(coding.initial_centroids(torch.arange(9.0), 2, "random", seed).tolist()) for seed in range(9)}
    assert len(drawn) > 1


def test_an_update_is_the_mean_of_each_cluster():
    indices = coding.assign(VALUES, torch.tensor([0.0, 5.0, 10.0]))
    assert indices.tolist() == [0, 0, 0, 2]
    assert coding.update(VALUES, torch.tensor([0, 0, 1, 1]), torch.tensor([0.0, 5.0])).tolist() == [0.5, 6.0]


def test_an_empty_cluster_gets_the_value_that_lies_farthest_from_its_centroid():
    centroids = torch.tensor([0.0, 5.0, 10.0])
    updated = coding.update(VALUES, torch.tensor([0, 0, 0, 2]), centroids)
    assert updated.tolist() == [0, 1, 10]  # the mean of 0, 1, 2 is 1; 0 and 2 lie farthest from it, the first is taken


def test_two_empty_clusters_get_two_values():
    updated = coding.update(torch.tensor([0.0, 1.0, 5.0]), torch.zeros(3, dtype=torch.int64), torch.zeros(3))
    assert updated.tolist() == [0, 2, 5]


def test_ties_go_to_the_lower_centroid():
    assert coding.assign(torch.tensor([1.0]), torch.tensor([0.0, 2.0])).tolist() == [0]


@pytest.mark.parametrize("method", coding.INITIALIZATIONS)
def test_no_division_of_few_values_is_better_by_much(method):
    values = torch.randn(12, generator=torch.Generator().manual_seed(3))
    errors = [squared_error(values, coding.k_means(values, 3, method=method, seed=seed)) for seed in range(5)]
    best = best_error(values, 3)
    assert min(errors) >= best - 1e-5
    assert min(errors) <= 2 * best


def test_as_many_clusters_as_values_leave_no_error():
    book = coding.k_means(VALUES, 4)
    assert book.values().tolist() == VALUES.tolist() and book.centroids.tolist() == [0, 1, 2, 10]


def test_every_value_is_at_its_nearest_centroid_and_every_centroid_at_the_mean():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).view(20, 20)
    book = coding.k_means(values, 8)
    distances = (values[..., None] - book.centroids).abs()
    assert torch.equal(distances.argmin(-1), book.indices)
    means = torch.stack([values[book.indices == cluster].mean() for cluster in range(8)])
    assert torch.allclose(means, book.centroids, atol=1e-5)


@pytest.mark.parametrize(("k", "message"), [(5, "4, got 5"), (0, "greater than 0")])
def test_impossible_numbers_of_clusters_are_refused(k, message):
    with pytest.raises(ValueError, match=message):
        coding.k_means(VALUES, k)


def test_a_constant_layer_has_one_cluster():
    assert coding.k_means(torch.ones(5), 1).values().tolist() == [1] * 5
    with pytest.raises(ValueError, match="different values, 1, got 2"):
        coding.k_means(torch.ones(5), 2)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        coding.k_means(torch.tensor([1.0, float("nan")]), 1)


def test_the_gradient_of_a_centroid_is_the_sum_over_its_weights():
    centroids = torch.tensor([1.0, 2.0], requires_grad=True)
    indices = torch.tensor([[0, 1], [1, 1]])
    gradient = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    centroids[indices].backward(gradient)
    assert torch.equal(coding.centroid_gradients(gradient, indices, 2), centroids.grad)
    assert centroids.grad.tolist() == [1, 9]


def test_bits_of_a_layer():
    assert coding.codebook_bits(100, 16) == 100 * 4 + 16 * 32
    assert coding.codebook_bits(100, 17, value_bits=16) == 100 * 5 + 17 * 16
    assert coding.codebook_bits(100, 1) == 32
