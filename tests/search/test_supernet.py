"""Sorted channels, shared weights, extraction, training and calibration."""

from __future__ import annotations

import random

import pytest
import torch

from course_lib import data, models, profiling, search, storage, training
from course_lib.data import TestSplitError


@pytest.fixture(scope="module")
def resnet18():
    return models.load("resnet18")


@pytest.fixture(scope="module")
def fashion():
    return data.load("fashion_mnist")


def test_sorted_channels_compute_the_same_and_fall_in_importance(resnet18, fashion):
    images = fashion.validation.example(4)
    before = {name: tensor.clone() for name, tensor in resnet18.state_dict().items()}
    ordered = search.sort_channels(resnet18)
    assert torch.allclose(ordered(images), resnet18(images), atol=1e-4)
    for group in search.channel_groups((2, 2, 2, 2)):
        importance = search.channel_importance(ordered, group)
        assert (importance.diff() <= 1e-4 * importance.max()).all()
    assert all(torch.equal(before[name], tensor) for name, tensor in resnet18.state_dict().items())


def test_the_groups_cover_every_layer_once(resnet18):
    groups = search.channel_groups((2, 2, 2, 2))
    written = [name for group in groups for pair in group.written for name in pair]
    convolutions = {n for n, m in resnet18.named_modules() if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d)}
    assert sorted(written) == sorted(convolutions)
    read = [name for group in groups for name in group.read]
    assert len(read) == len(set(read)) and set(read) == {
        n for n in convolutions if "conv" in n or (".0" in n and "downsample.0" in n)
    } - {"conv1"} | {"fc"}


def test_an_extracted_net_computes_what_the_supernet_does(supernet, subnets, tmp_path):
    images = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        for subnet in subnets:
            plain = supernet.extract(subnet)
            assert (plain(images) - supernet(images, subnet)).abs().max() <= 1e-5
            again = storage.load(storage.save(plain, tmp_path / "net.safetensors"))
            assert torch.equal(again(images), plain(images))


def test_an_extracted_net_has_its_own_weights(supernet, space):
    plain = supernet.extract(space.smallest)
    plain.conv1.weight.data.zero_()
    assert supernet.net.conv1.weight.abs().sum() > 0


def test_a_supernet_starts_from_the_first_channels_of_the_sorted_net(resnet18):
    supernet = search.supernet_from(resnet18)
    ordered = search.sort_channels(resnet18)
    assert torch.equal(supernet.net.layer2[1].conv1.weight, ordered.layer2[1].conv1.weight[:64, :64])
    assert torch.equal(supernet.net.fc.weight, ordered.fc.weight[:, :256])


def test_a_net_of_another_shape_is_refused(resnet18, supernet, space):
    with pytest.raises(ValueError, match=r"net must have conv1\.weight of shape"):
        search.Supernet(resnet18, space)
    with pytest.raises(ValueError, match=r"but layer1\.1\.conv2 is missing"):
        search.supernet_from(supernet.extract(space.smallest))
    narrow = search.Subnet(56, (2,) * 4, (16, 24, 48, 96), (1.0,) * 4)
    with pytest.raises(ValueError, match="must be at least as wide"):
        search.supernet_from(supernet.extract(narrow))


def test_a_seeded_step_is_repeatable_and_all_four_subnets_learn(fashion, resnet18):
    train = fashion.train.subset(64)
    ends = []
    for _ in range(2):
        supernet = search.supernet_from(resnet18)
        history = training.fit(
            supernet, train, epochs=1, learning_rate=1e-3, batch_size=32, loss=search.sandwich_loss(supernet.space),
            progress=False,
        )  # fmt: skip
        ends.append((history.train_loss, supernet.net.conv1.weight.detach().clone()))
    assert ends[0][0] == ends[1][0] and torch.equal(ends[0][1], ends[1][1])
    start = search.supernet_from(resnet18)
    loss = search.sandwich_loss(start.space, sampled=0)(start.train(), train.example(16), train.labels[:16])
    loss.backward()
    gradient = start.net.layer4[0].conv1.weight.grad
    assert (gradient[:16, :48].abs().sum() > 0) and (gradient[200:].abs().sum() > 0)


def test_in_place_distillation_sends_no_gradient_into_the_teacher(resnet18, fashion):
    supernet = search.supernet_from(resnet18).train()
    images, labels = next(fashion.train.batches(16))
    torch.manual_seed(3)
    alone = torch.nn.functional.cross_entropy(supernet(images), labels)
    (expected,) = torch.autograd.grad(alone, supernet.net.layer4[1].conv2.weight)
    torch.manual_seed(3)
    loss = search.sandwich_loss(supernet.space, sampled=0)(supernet, images, labels)
    (found,) = torch.autograd.grad(loss, supernet.net.layer4[1].conv2.weight)
    assert torch.allclose(found, expected, atol=1e-6)  # the smallest subnet does not use this block


def test_calibration_replaces_the_statistics_and_helps(resnet18, fashion):
    supernet = search.supernet_from(resnet18)
    plain = supernet.extract(supernet.space.sample(random.Random(0)))
    before = plain.bn1.running_mean.clone()
    calibrated = search.recalibrate_batchnorm(plain, fashion.train.subset(256), batch_size=256)
    assert torch.equal(plain.bn1.running_mean, before) and not calibrated.training
    with torch.no_grad():
        outputs = calibrated.conv1(search.resize_images(fashion.train.subset(256).example(256), plain.resolution))
    assert torch.allclose(calibrated.bn1.running_mean, outputs.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(calibrated.bn1.running_var, outputs.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert calibrated.bn1.momentum == plain.bn1.momentum


def test_calibration_refuses_the_test_split(supernet, fashion, space):
    with pytest.raises(TestSplitError):
        search.recalibrate_batchnorm(supernet.extract(space.smallest), fashion.test)


def test_a_net_of_a_lower_resolution_resizes_its_images(supernet, space):
    net = supernet.extract(space.smallest)
    images = torch.randn(1, 3, 56, 56)
    direct = models.build(search.architecture(space.smallest, resized=False))
    direct.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.allclose(direct(search.resize_images(images, 28)), net(images), atol=1e-6)
    assert profiling.count_macs(net, images) == search.macs(space.smallest)
