"""The files of the course that an exercise's sandbox contains: an allow list, so that a new file stays invisible.

A file is visible if the exercise's notebook or probes import it, directly or through visible files of the allowed
packages. The packages of the techniques are what exercises rebuild: in their place stand ``STUBS``, which say so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from course_lib.grading import cells

COURSE = "course_lib"
SHARED = {
    "architectures", "assets", "core", "data", "learning", "models", "plots", "profiling", "report", "storage",
    "training",
}  # fmt: skip
TECHNIQUES = {
    "calculator", "coding", "deploy", "distillation", "lowrank", "pipeline", "pruning", "quantization", "search",
}  # fmt: skip
DATA_FILES = {
    "assets": (
        "manifest.json", "fashion_mnist.safetensors.xz", "resnet18.safetensors", "sentiment.tsv", "minilm/vocab.txt",
        "minilm/minilm.safetensors", "tiny_llama/tiny_llama.safetensors", "tiny_llama/tokenizer.json",
    ),
    "learning": ("style.css", "lessons.yaml"),
    "plots": ("course.mplstyle",),
    "report": ("table.css",),
}  # fmt: skip
STUBS = {
    f"{room}/__init__.py": f'raise ImportError("{COURSE}.{room} is not here: using it does not count as an answer")\n'
    for room in sorted(TECHNIQUES)
}
"""Path within the package → source."""
GENERATED = f"{COURSE}.learning.exercises"
"""Its files are not taken from the package; ``tree_shaking`` makes them."""
PROBES_NEED = f"import {COURSE}.learning.answer"


def visible(sources: Iterable[str], package: Path) -> list[str]:
    """Paths within ``package`` that code with these sources may see, sorted.

    Args:
        sources: code of the exercise: its notebook's cells and its reduced modules.
        package: the folder of ``course_lib``.
    """
    queue = [name for source in (*sources, PROBES_NEED) for name in _imported(source)]
    found: set[str] = set()
    while queue:
        name = queue.pop()
        if _room(name) not in {"", *SHARED} or f"{name}.".startswith(f"{GENERATED}."):
            continue
        if (file := _file(name, package)) and file not in found:
            found.add(file)
            queue += _imported((package / file).read_text(encoding="utf-8"))
    data = [f"{room}/{name}" for room, names in DATA_FILES.items() if f"{room}/__init__.py" in found for name in names]
    return sorted([*found, *data])


def _imported(source: str) -> Iterator[str]:
    """Every dotted name that may be a module of the course, with the packages above it."""
    for node in ast.walk(ast.parse(cells.plain(source))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == COURSE:
                yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _room(name: str) -> str:
    """``"course_lib.pruning.masks"`` → ``"pruning"``; empty for the course itself."""
    return name.split(".")[1] if "." in name else ""


def _file(name: str, package: Path) -> str | None:
    """The file of a module, relative to ``package``; None if the name is no module."""
    folder = package.joinpath(*name.split(".")[1:])
    for file in (folder / "__init__.py", folder.with_suffix(".py")):
        if file.is_file():
            return file.relative_to(package).as_posix()
    return None
