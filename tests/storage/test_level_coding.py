"""Levels of every size and shape come back; contexts, order and code length are what the model says."""

import hashlib

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import storage
from course_lib.storage.level_coding import LevelModel
from course_lib.storage.level_contexts import MAGNITUDE_CONTEXTS, SIGN_CONTEXTS, LevelContexts, _log2
from course_lib.storage.level_order import LARGEST_BLOCK, blocks, from_planes, plane_shape, to_planes
from course_lib.storage.range_coding import Decoder, Encoder

LARGEST = 2**31 - 1


def stream_of(*tensors):
    encoder, model = Encoder(), LevelModel()
    for levels in tensors:
        model.code(encoder, levels.shape, levels)
    return encoder.finish()


def assert_comes_back(*tensors):
    stream = stream_of(*tensors)
    decoder, model = Decoder(stream), LevelModel()
    for levels in tensors:
        decoded = model.code(decoder, levels.shape, None)
        assert decoded.shape == levels.shape and numpy.array_equal(decoded, levels)
    decoder.finish()
    return len(stream)


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=3),
    largest=st.sampled_from([0, 1, 3, 20, 1000, LARGEST]),
    seed=st.integers(0, 2**31),
)
def test_levels_of_any_shape_and_size_come_back(shapes, largest, seed):
    generator = numpy.random.default_rng(seed)
    assert_comes_back(*(generator.integers(-largest, largest, shape, endpoint=True) for shape in shapes))


@pytest.mark.parametrize(
    "levels",
    [
        numpy.array(LARGEST), numpy.array([-LARGEST, LARGEST]), numpy.zeros((0, 3, 3, 3), int),
        numpy.full((1, 500), -7), numpy.full((500, 1), 10**6), numpy.eye(60, dtype=int) * LARGEST,
        numpy.arange(-300, 300).reshape(20, 30),
        numpy.arange(2 * 2 * 64).reshape(2, 2, 8, 8), numpy.ones((64, 4, 7, 7), int),
    ],
    ids=lambda levels: str(levels.shape),
)  # fmt: skip
def test_extreme_tensors_come_back(levels):
    assert_comes_back(levels)


def test_empty_tensors_take_no_memory_whatever_their_shape():
    for shape in [(0, 2**30), (2**30, 0), (8, 8, 2**30, 0), (0, 8, 2**30)]:
        assert LevelModel().code(Decoder(b""), shape, None).shape == shape


def test_what_never_changes_costs_next_to_nothing():
    assert assert_comes_back(numpy.zeros((512, 512), int)) < 60
    assert assert_comes_back(numpy.full((512, 512), -1)) < 160


def test_huge_levels_cost_about_their_bits():
    levels = numpy.random.default_rng(0).integers(-(2**20), 2**20, (60, 60))
    assert assert_comes_back(levels) * 8 < 1.03 * 21 * levels.size


def test_the_model_learns_rows_columns_kernels_and_signs():
    generator = numpy.random.default_rng(0)
    plain = generator.laplace(0, 1, (64, 64, 3, 3)).round().astype(int)

    def bits(levels):
        return storage.code_length([torch.from_numpy(levels)])

    def entropy(levels):
        shares = numpy.unique(levels, return_counts=True)[1] / levels.size
        return -(shares * numpy.log2(shares)).sum() * levels.size

    assert bits(plain) < 1.02 * entropy(plain)
    factors = {
        "rows": numpy.exp(generator.normal(0, 1, (64, 1, 1, 1))),
        "columns": numpy.exp(generator.normal(0, 1, (1, 64, 1, 1))),
        "kernels": numpy.exp(generator.normal(0, 1.5, (64, 64, 1, 1))),
    }
    for factor in factors.values():
        scaled = (generator.laplace(0, 1, plain.shape) * factor).round().astype(int)
        assert bits(scaled) < 0.99 * bits(generator.permutation(scaled.ravel()).reshape(scaled.shape))
    of_one_sign = abs(plain) * generator.choice([-1, 1], (64, 1, 1, 1))
    assert bits(of_one_sign) < bits(plain) - 0.8 * numpy.count_nonzero(plain)


def test_the_code_length_is_that_of_the_stream_and_depends_on_the_order():
    generator = numpy.random.default_rng(0)
    first, second = (generator.integers(-3, 4, (40, 40)), generator.integers(-30, 31, (40, 40)))
    together = storage.code_length([torch.from_numpy(first), torch.from_numpy(second)])
    assert together <= 8 * len(stream_of(first, second)) < together + 72
    assert together == pytest.approx(storage.code_length([torch.from_numpy(second), torch.from_numpy(first)]), rel=0.05)
    assert storage.code_length([]) == 0


def test_the_stream_of_known_levels_never_changes():
    state, levels = 1, []
    for _ in range(32 * 24 * 9):  # a generator of its own, so that no library can change the numbers
        state = state * 6364136223846793005 % 2**64 + 1442695040888963407
        levels.append(((state >> 40) % 7 - 3) * ((state >> 50) % 3) ** 6)
    stream = stream_of(numpy.array(levels).reshape(32, 24, 3, 3), numpy.array(levels[:100]))
    assert (len(stream), hashlib.sha256(stream).hexdigest()[:16]) == GOLDEN


GOLDEN = (4652, "4c3a411b657ffdf7")


def test_planes_go_from_the_centre_outwards():
    kernel = numpy.arange(64 * 9).reshape(8, 8, 3, 3)
    planes = to_planes(kernel)
    assert plane_shape(kernel.shape) == planes.shape == (9, 8, 8)
    assert planes[:, 0, 0].tolist() == [4, 1, 3, 5, 7, 0, 2, 6, 8]
    assert numpy.array_equal(from_planes(planes, kernel.shape), kernel)
    assert plane_shape(()) == (1, 1, 1) and plane_shape((5,)) == (1, 1, 5) and plane_shape((2, 3, 5)) == (1, 2, 15)


@pytest.mark.parametrize("shape", [(1, 1, 100_000), (1, 100_000, 1), (9, 64, 64), (3, 10, 512), (2, 0, 5), (1, 300, 7)])
def test_blocks_cover_each_level_once_and_grow(shape):
    covered, sizes = numpy.zeros(shape, int), []
    for plane, rows, columns in blocks(shape):
        covered[plane, rows, columns] += 1
        sizes.append(covered[plane, rows, columns].size)
    assert (covered == 1).all()
    assert max(sizes, default=0) <= 1.6 * LARGEST_BLOCK
    assert len(sizes) < 500
    if sizes:
        assert sizes[0] <= 24


def test_logarithms_are_exact_integers():
    values = numpy.array([1, 2, 3, 4, 6, 2**40, 2**52])
    assert _log2(values).tolist() == [0, 32, 48, 64, 80, 40 * 32, 52 * 32]


def test_contexts_follow_the_expected_magnitude_and_sign():
    contexts = LevelContexts(4, 4)
    everything = slice(0, 4)
    before = contexts.magnitude(0, everything, everything)
    assert (before == before[0, 0]).all()
    assert (contexts.sign(everything, everything) == SIGN_CONTEXTS // 2).all()
    levels = numpy.array([[100, 100, 100, 100], [1, 1, 1, 1], [0, 0, 0, 0], [-9, -9, -9, -9]])
    for _ in range(20):
        contexts.add(everything, everything, levels)
    after = contexts.magnitude(0, everything, everything)[:, 0]
    assert after[0] > after[3] > after[1] > after[2]
    signs = contexts.sign(everything, everything)[:, 0]
    assert signs[0] == signs[1] > signs[2] > signs[3]
    assert 0 <= signs.min() <= signs.max() < SIGN_CONTEXTS and after.max() < MAGNITUDE_CONTEXTS


def test_a_decoded_level_beyond_32_bits_is_refused():
    generator = numpy.random.default_rng(0)
    for _ in range(30):
        decoder = Decoder(generator.bytes(4 * 50))
        try:
            levels = LevelModel().code(decoder, (20, 20), None)
        except storage.FormatError as error:
            assert "level beyond 2147483647" in str(error) or "damaged" in str(error)
        else:
            assert abs(levels.astype(int)).max() <= LARGEST
