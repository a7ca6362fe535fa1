"""The data sets have the promised sizes, share no example between splits, and load by name."""

import pytest
import torch

from course_lib import data


@pytest.fixture(scope="module")
def fashion():
    return data.load("fashion_mnist")


def test_fashion_has_the_promised_sizes_and_balanced_test_classes(fashion):
    assert [len(split) for split in (fashion.train, fashion.validation, fashion.test)] == [20_000, 2_000, 10_000]
    assert torch.bincount(fashion.test.labels).tolist() == [1000] * 10


def test_fashion_splits_share_no_image(fashion):
    def digests(split):
        return {image.numpy().tobytes() for image in split.inputs}

    assert not digests(fashion.train) & digests(fashion.validation)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("mnist"), "name must be one of 'fashion_mnist'"),
        (lambda: data.load("sentiment", domain="books"), "domain must be one of 'movies'"),
    ],
)
def test_an_unknown_name_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist_full", "imagenette"])
def test_a_missing_download_says_what_to_do(name, tmp_path):
    with pytest.raises(ConnectionError, match="shipped 'fashion_mnist'"):
        data.load(name, root=tmp_path, download=False)


def fake_torchvision_set(length):
    """Stands for a torchvision data set: same attributes, a handful of made-up images."""

    class Fake:
        classes = ("x", "y")

        def __init__(self, root, train, download, **_):
            self.data = torch.zeros(length if train else 6, 32, 32, 3, dtype=torch.uint8).numpy()
            self.targets = [index % 2 for index in range(len(self.data))]

    return Fake


def test_cifar_comes_as_three_splits_through_the_standard_loader(monkeypatch, tmp_path):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", fake_torchvision_set(40))
    splits = data.load("cifar10", root=tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [38, 2, 6]
    assert splits.test.example(2).shape == (2, 3, 32, 32)
