"""What a subnet costs, by formula: multiply-accumulates, stored bytes, and peak activation memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from course_lib.search.space import Subnet, layer_widths

FP32_BYTES, FP16_BYTES = 4, 2


@dataclass(frozen=True)
class Convolution:
    """One convolution of a subnet: its name, channels, kernel, and the height and width of its input and output."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    size_in: int
    size_out: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.inputs * self.outputs * self.kernel**2 * self.size_out**2

    @property
    def values_out(self) -> int:
        """Numbers in its output for one image."""
        return self.outputs * self.size_out**2


def halved(size: int) -> int:
    """Height of the output of a stride-2 layer with ResNet's padding."""
    return (size + 1) // 2


def stage_sizes(resolution: int) -> tuple[int, ...]:
    """Height of the feature maps of the four stages."""
    sizes = [halved(halved(resolution))]
    for _ in range(3):
        sizes.append(halved(sizes[-1]))
    return tuple(sizes)


def convolutions(subnet: Subnet) -> Iterator[Convolution]:
    """All convolutions, in order; the shortcut of a block comes after its two convolutions."""
    widths = layer_widths(subnet)
    sizes = stage_sizes(subnet.resolution)
    yield Convolution("conv1", widths["conv1"][0], widths["conv1"][1], 7, subnet.resolution, halved(subnet.resolution))
    size = sizes[0]
    for stage, depth in enumerate(subnet.depths, start=1):
        for number in range(depth):
            block, after = f"layer{stage}.{number}", sizes[stage - 1]
            yield Convolution(
                f"{block}.conv1", widths[f"{block}.conv1"][0], widths[f"{block}.conv1"][1], 3, size, after
            )
            yield Convolution(
                f"{block}.conv2", widths[f"{block}.conv2"][0], widths[f"{block}.conv2"][1], 3, after, after
            )
            if f"{block}.downsample.0" in widths:
                yield Convolution(
                    f"{block}.downsample.0",
                    widths[f"{block}.downsample.0"][0],
                    widths[f"{block}.downsample.0"][1],
                    1,
                    size,
                    after,
                )
            size = after


def macs(subnet: Subnet, num_classes: int = 10) -> int:
    """Multiply-accumulates for one image, as ``profiling.count_macs`` counts them."""
    return sum(layer.macs for layer in convolutions(subnet)) + subnet.widths[-1] * num_classes


def parameters(subnet: Subnet, num_classes: int = 10) -> int:
    """Weights, biases and BatchNorm scales and shifts."""
    layers = list(convolutions(subnet))
    filters = sum(layer.inputs * layer.outputs * layer.kernel**2 + 2 * layer.outputs for layer in layers)
    return filters + (subnet.widths[-1] + 1) * num_classes


def stored_bytes(subnet: Subnet, num_classes: int = 10) -> int:
    """Bytes of the file that ``storage.save(net, path, dtype="fp16")`` writes, estimated.

    Parameters and BatchNorm statistics take 2 bytes each; the header takes about 160 bytes for each tensor.
    """
    layers = list(convolutions(subnet))
    statistics = sum(2 * layer.outputs for layer in layers)
    tensors = 6 * len(layers) + 2  # of a convolution and its BatchNorm, and of the classifier
    counters = 8 * len(layers)
    return FP16_BYTES * (parameters(subnet, num_classes) + statistics) + counters + HEADER_BYTES * tensors + 1024


HEADER_BYTES = 160


def peak_activation_bytes(subnet: Subnet, bytes_per_value: int = FP32_BYTES) -> int:
    """Largest memory for activations of one image while the net runs layer by layer, its input image included.

    BatchNorm is folded, ReLU and the addition of the shortcut work in place. While a layer runs, its input and output
    exist, and in a block also the input of the block, which the shortcut needs.

    Source: Lin et al., MCUNet, 2020 (peak memory as a constraint of search).
    """
    image = 3 * subnet.resolution**2
    return bytes_per_value * (image + max(live_values(subnet)))


def live_values(subnet: Subnet) -> Iterator[int]:
    """Numbers alive in each step, without the input image."""
    layers = {layer.name: layer for layer in convolutions(subnet)}
    stem = layers["conv1"].values_out
    block_input = subnet.widths[0] * stage_sizes(subnet.resolution)[0] ** 2
    yield stem + block_input  # max pooling
    for name in [name for name in layers if name.endswith(".conv1")]:
        block = name.removesuffix(".conv1")
        inner, outer = layers[name].values_out, layers[f"{block}.conv2"].values_out
        yield block_input + inner
        yield block_input + inner + outer
        if f"{block}.downsample.0" in layers:
            yield block_input + outer + layers[f"{block}.downsample.0"].values_out
        block_input = outer
