"""Entropy coding: a weight costs the bits that its probability says, not a fixed number.

From what everybody tries first to what works best:

* ``lossless``: what general compressors make of a file, and the entropy of signs, exponents and mantissas;
* ``codebook``, ``huffman``, ``deep_compression``: shared values and Huffman codes, as published in 2016;
* ``interval``: arithmetic coding in exact fractions, to be read;
* ``uniform``, ``fisher``, ``sequential``: uniform grids whose steps follow from the sensitivity of the loss, for an
  adaptive arithmetic coder, with GPTQ and matched statistics::

      fisher = fisher_information(folded, train)                      # no labels
      coded = quantize_sequentially(folded, train, fisher, c=1e-3)    # c: larger for fewer bits
      storage.save(coded, path, coder="arithmetic", dtype="fp16")

* ``rate_distortion``: levels that minimise D + λR, weight by weight (RDOQ) or along a path (dependent quantization);
* ``training``: the number of bits in the loss;
* ``shipped_results``: what was measured, as tables.

The coders themselves, and everything that a file needs to be read, are in ``storage``.
"""

from course_lib.coding.codebook import (
    INITIALIZATIONS,
    Codebook,
    assign,
    centroid_gradients,
    codebook_bits,
    initial_centroids,
    k_means,
    update,
)
from course_lib.coding.deep_compression import (
    PublishedBytes,
    SharedWeights,
    published_bytes,
    share_weights,
    train_centroids,
    with_shared_weights,
)
from course_lib.coding.embeddings import embedding_counts
from course_lib.coding.fisher import fisher_information
from course_lib.coding.huffman import (
    canonical_codes,
    code_bits,
    code_lengths,
    decode,
    encode,
    entropy,
    gaps,
    huffman_bits_per_symbol,
    huffman_tree,
)
from course_lib.coding.interval import (
    Interval,
    arithmetic_decode,
    arithmetic_encode,
    narrowing_intervals,
    shortest_bits,
)
from course_lib.coding.lossless import (
    FORMATS,
    FieldEntropy,
    compressed_sizes,
    compressors,
    exponent_coded_bits,
    field_entropy,
    fields,
    join_fields,
    layer_entropies,
)
from course_lib.coding.rate_distortion import (
    RatePoint,
    dependent_quantize,
    dependent_values,
    empirical_bits,
    rdoq,
    rdoq_point,
)
from course_lib.coding.sequential import gptq_levels, quantize_sequentially, row_steps
from course_lib.coding.shipped_results import (
    coders_table,
    nncodec_table,
    shipped_rows,
    stages_table,
)
from course_lib.coding.training import expected_bits, expected_magnitudes, train_through_coder
from course_lib.coding.uniform import (
    entropy_bits,
    fisher_steps,
    levels_of,
    quantize_levels,
    quantize_uniform,
    set_levels,
    storable_steps,
    variance_steps,
    weights_of,
)

__all__ = [
    "FORMATS", "INITIALIZATIONS", "Codebook", "FieldEntropy", "Interval", "PublishedBytes", "RatePoint",
    "SharedWeights", "arithmetic_decode", "arithmetic_encode", "assign", "canonical_codes", "centroid_gradients",
    "code_bits", "code_lengths", "codebook_bits", "coders_table", "compressed_sizes", "compressors", "decode",
    "dependent_quantize", "dependent_values", "embedding_counts", "empirical_bits", "encode", "entropy",
    "entropy_bits", "expected_bits", "expected_magnitudes", "exponent_coded_bits", "field_entropy", "fields",
    "fisher_information", "fisher_steps", "gaps", "gptq_levels", "huffman_bits_per_symbol", "huffman_tree",
    "initial_centroids", "join_fields", "k_means", "layer_entropies", "levels_of", "narrowing_intervals",
    "nncodec_table", "published_bytes", "quantize_levels", "quantize_sequentially", "quantize_uniform", "rdoq",
    "rdoq_point", "row_steps", "set_levels", "share_weights", "shipped_rows", "shortest_bits", "stages_table",
    "storable_steps", "train_centroids", "train_through_coder", "update", "variance_steps", "weights_of",
    "with_shared_weights",
]  # fmt: skip
