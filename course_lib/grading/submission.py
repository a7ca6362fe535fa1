"""Take the answers from a submission: the sources of its answer cells, and nothing else.

Outputs, metadata, tags, kernelspec and all other cells are dropped. An answer that cannot be taken is a finding and
costs only its question; a file that is no notebook is refused with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from course_lib.grading import cells
from course_lib.grading.assignment import AssignedQuestion

NOTEBOOK_BYTES = 50_000_000
SOURCE_CHARACTERS = 20_000
MAX_CELLS = 2_000


class Refused(ValueError):
    """A file or answer cell that is not accepted; the text says why."""


@dataclass(frozen=True)
class Extracted:
    """``answers``: question → source; ``findings``: question → why its answer was not taken."""

    answers: dict[str, str] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)


def parse(content: bytes, limit: int = NOTEBOOK_BYTES) -> list[Any]:
    """The cells of a notebook as they are in the file, unchecked; at most ``limit`` bytes are accepted.

    Raises:
        Refused: if it is too large, not JSON in UTF-8, not of format 4, or has too many cells.
    """
    if len(content) > limit:
        raise Refused(f"the notebook has {len(content):,} bytes; {limit:,} are allowed")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused("the file is not text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"the file is not a notebook: its JSON cannot be read ({type(error).__name__})") from error
    if not isinstance(notebook, dict) or type(notebook.get("nbformat")) is not int:
        raise Refused("the file is not a notebook: it has no format number")
    if notebook["nbformat"] != 4:
        raise Refused(f"the notebook has format {notebook['nbformat']}; save it as format 4")
    if not isinstance(notebook.get("cells"), list):
        raise Refused("the notebook has no list of cells")
    if len(notebook["cells"]) > MAX_CELLS:
        raise Refused(f"the notebook has {len(notebook['cells']):,} cells; {MAX_CELLS:,} are allowed")
    return notebook["cells"]


def lesson(content: list[Any]) -> str | None:
    """The lesson to which most answer cells of a notebook belong, for example ``"03"``; None without such cells."""
    found = [question[:2] for entry in content if (question := _answered(entry))]
    return max(set(found), key=found.count) if found else None


def extract(content: list[Any], questions: Mapping[str, AssignedQuestion]) -> Extracted:
    """Sources of the answer cells of these questions."""
    sources: dict[str, list[Any]] = {question: [] for question in questions}
    for entry in content:
        if (question := _answered(entry)) in sources:
            sources[question].append(entry)
    extracted = Extracted()
    for question, entries in sources.items():
        try:
            extracted.answers[question] = _source(entries)
        except Refused as problem:
            extracted.findings[question] = str(problem)
    return extracted


def is_untouched(source: str, stub: str) -> bool:
    """Whether an answer equals the stub, except for white space at line ends."""

    def lines(text: str) -> list[str]:
        return [line.rstrip() for line in text.strip().splitlines()]

    return lines(source) == lines(stub)


def _answered(entry: Any) -> str | None:
    """The question in the metadata of an answer cell; None for all other cells."""
    if not isinstance(entry, dict) or not isinstance(entry.get("metadata"), dict):
        return None
    metadata = entry["metadata"].get("nbgrader")
    found = cells.question_of(metadata.get("grade_id")) if isinstance(metadata, dict) else None
    return found[1] if found and found[0] == "answer" else None


def _source(entries: list[dict[str, Any]]) -> str:
    if not entries:
        raise Refused("the answer cell is missing")
    if len(entries) > 1:
        raise Refused(f"{len(entries)} cells claim to be the answer; there must be one")
    if entries[0].get("cell_type") != "code":
        raise Refused("the answer cell is not a code cell")
    source = entries[0].get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Refused("the answer cell has no source text")
    if len(source) > SOURCE_CHARACTERS:
        raise Refused(f"the answer has {len(source):,} characters; {SOURCE_CHARACTERS:,} are allowed")
    if "\0" in source or any("\ud800" <= character <= "\udfff" for character in source):
        raise Refused("the answer has characters that cannot be in a program")
    return source
