"""A stored file, to be read or damaged."""

import pytest

from course_lib import storage
from tests.storage.models_and_forgeries import sparse_mlp


@pytest.fixture(scope="session")
def stored_mlp(tmp_path_factory):
    """A file with bitmask and dense tensors; forgeries of it lie beside it."""
    return storage.save(sparse_mlp(), tmp_path_factory.mktemp("stored") / "m.safetensors")
