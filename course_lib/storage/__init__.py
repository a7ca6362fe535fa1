"""One file that holds a model; its size is the "stored size" of this course.

The container is safetensors. Its metadata has one key, ``course``: JSON with the format version, the architecture
(builder and arguments, see ``architectures``), and the encoding, dtype and shape of each tensor. Codebooks, scales,
masks and headers are in the file, so its size is the whole size. The same model always gives the same bytes.

Exactness: with ``dtype="fp32"`` every value comes back bit for bit (NaN and infinity too), except that the bitmask
encoding gives ``0.0`` for ``-0.0``. With ``dtype="fp16"`` the stored model is ``model.half().float()``.

``save(..., coder="arithmetic")`` or ``"huffman"`` entropy-codes everything: same models, same exactness, smaller files.
Their layout is in ``coded_file``. Decoders work in integers, so that a file is the same model on every platform.

A model whose weights stand for integers or codes is a plain module that holds the decoded values. ``set_encodings``
attaches to it how each of these tensors is stored; ``save`` uses these encodings, and ``load`` attaches them again.

A file is data, never code: builders and encodings are looked up by name among those that are registered, every claim
of the header is checked against the bytes of the file, and the model is first built without memory. A coded file cannot
be checked so before it is decoded: what it may claim is limited by its size.
"""

from course_lib.storage.attached_encodings import encodings_of, set_encodings
from course_lib.storage.code_length import code_length
from course_lib.storage.coded_file import CodedSize
from course_lib.storage.columns import encode_columns
from course_lib.storage.encodings import Encoded, FormatError, decode, register
from course_lib.storage.loading import coded_size, inspect, load, stored_bytes
from course_lib.storage.packed import encode_codebook, encode_packed, packed_parts
from course_lib.storage.saving import save
from course_lib.storage.stored_tensors import TensorRecord
from course_lib.storage.uniform import coarse_steps, encode_uniform

__all__ = [
    "CodedSize", "Encoded", "FormatError", "TensorRecord", "coarse_steps", "code_length", "coded_size", "decode",
    "encode_codebook", "encode_columns", "encode_packed", "encode_uniform", "encodings_of", "inspect", "load",
    "packed_parts", "register", "save", "set_encodings", "stored_bytes",
]  # fmt: skip
