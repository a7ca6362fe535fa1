"""One exercise as `course check` and `course grade` see it: its questions, and the program that is run for a notebook.

Everything comes from the course and nothing from the learner's file but the sources of answer cells and helper cells.
An ``Exercise`` is read from the exercise that the course ships, an ``Assignment`` from its solution notebook.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_lib.grading import building, cells, probe_runtime, tree_shaking, visible_files
from course_lib.grading.helper_cells import Helper
from course_lib.grading.lint import defined

PACKAGE = Path(__file__).resolve().parents[1]
EXERCISES = PACKAGE / "learning" / "exercises"
IGNORE_OUTPUT = "nbval-ignore-output"
READABLE = 0o644
START = "import probe_runtime\nprobe_runtime.prepare()"


@dataclass(frozen=True)
class AssignedQuestion:
    """``name`` is what the learner defines; ``is_data`` says that it takes no arguments, so its value is judged."""

    id: str
    name: str
    points: float
    probe: str
    stub: str
    is_data: bool


@dataclass(frozen=True)
class Reference:
    """What a right answer prints for one seed; ``floors`` see ``probe_runtime``.

    ``value`` is the solution's own value of an answer without arguments, as ``probe_runtime.show_data`` prints it.
    """

    seed: int
    line: str
    floors: tuple[int, ...] = ()
    value: str = ""


class Exercise:
    """An exercise as learners get it, with the probes of its questions.

    Args:
        notebook: the exercise; only its code cells are used.
        modules: the folder of the exercise modules.

    Raises:
        ValueError: if a question has no probe.
        ShakeError: if a probe needs a reference answer.
    """

    def __init__(self, notebook: NotebookNode, name: str, modules: Path = EXERCISES) -> None:
        self.name, self.exercise, self.modules = name, notebook, modules
        self.places = cells.questions(notebook)
        self.lesson = next(iter(self.places))[:2] if self.places else ""
        self.code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.questions = self._questions()
        self.library = self._library()

    @classmethod
    def of_lesson(cls, lesson: str) -> Exercise:
        """The exercise that the course ships for a lesson, for example ``"03"``.

        Raises:
            ValueError: if there is none.
        """
        file = EXERCISES / f"lesson_{lesson}" / building.PUBLISHED
        if not file.is_file():
            raise ValueError(f"there is no exercise of lesson {lesson!r}; there are {', '.join(published_lessons())}")
        stored = json.loads(file.read_text(encoding="utf-8"))
        return cls(nbformat.from_dict(stored["notebook"]), stored["name"])

    @property
    def module(self) -> str:
        """The module of the probes."""
        return f"{tree_shaking.PACKAGE}.{tree_shaking.questions_of(self.lesson)}"

    def notebook(
        self, answers: Mapping[str, str], references: Mapping[str, Reference], helpers: Collection[Helper] = ()
    ) -> NotebookNode:
        """The program to run: pristine definitions, these answers and helper cells, and a probe for each reference.

        Args:
            answers: question id → source of the answer cell; stubs stand where there is none.
            references: question id → what its probe is compared with; questions without are not probed.
        """
        return self.program(
            answers,
            {id: self.probe_cell(self.questions[id], reference) for id, reference in references.items()},
            helpers,
        )

    def program(
        self, answers: Mapping[str, str], judged: Mapping[str, NotebookNode], helpers: Collection[Helper] = ()
    ) -> NotebookNode:
        """The same with these cells in the places of the checks: question id → cell."""
        kept = [_unchecked(START, "start"), *_placed(helpers, -1)]
        for index, cell in enumerate(self.code):
            kind, question = cells.question_of(cells.grade_id(cell)) or ("", "")
            if kind == "answer":
                source = answers.get(question, self.questions[question].stub)
                kept.append(_unchecked(source, cells.cell_id("answer", question)))
            elif kind == "check" and question in judged:
                kept.append(judged[question])
            elif not kind and (source := definitions(cell.source)):
                kept.append(_unchecked(source, f"pristine-{index}"))
            kept += _placed(helpers, index)
        return new_notebook(cells=kept)

    def probe_cell(self, question: AssignedQuestion, reference: Reference) -> NotebookNode:
        """The cell that prints a question's values, with the values expected as its stored output."""
        call = f'show("{self.module}", "{question.probe}", {question.name}, {reference.seed}, {list(reference.floors)})'
        if question.is_data:
            call = f"show_data({question.name})"
        cell = new_code_cell(f"import probe_runtime\nprobe_runtime.{call}", id=cells.cell_id("probe", question.id))
        if question.is_data:
            cell.metadata.tags = [IGNORE_OUTPUT]
            return cell
        cell.outputs = [new_output("stream", name="stdout", text=reference.line + "\n")]
        cell.execution_count = 1  # nbval compares nothing in a cell that was never run
        return cell

    def stage(self, folder: Path) -> dict[str, Path]:
        """Write the reduced modules to ``folder``; returns every file that the kernel may see, by its path inside.

        The user of the sandbox can read each of them, whatever the umask and the modes of the course's files.
        """
        here = Path(__file__).parent
        visible = {name: here / name for name in ("probe_runtime.py", "sandbox_kernel.py")}
        visible |= {f"course_lib/{name}": PACKAGE / name for name in self._visible}
        exercises = "course_lib/learning/exercises"
        made = {f"{exercises}/{name.replace('.', '/')}.py": source for name, source in self.library.items()}
        made |= {f"course_lib/{name}": source for name, source in visible_files.STUBS.items()}
        for inside, source in made.items():
            visible[inside] = folder / inside.replace("/", "+")
            visible[inside].write_text(source, encoding="utf-8")
            visible[inside].chmod(READABLE)
        visible |= {f"{exercises}/{file.relative_to(self.modules).as_posix()}": file for file in self._data_files()}
        return {inside: _readable(file, folder, inside) for inside, file in visible.items()}

    @cached_property
    def _visible(self) -> list[str]:
        """The files of the package that the exercise needs; to find them takes a third of a second."""
        code = [cell.source for cell in self.code]
        return visible_files.visible([*code, *self.library.values()], PACKAGE)

    def _data_files(self) -> list[Path]:
        """What the playgrounds of the exercise read."""
        folders = {self.modules / name.split(".")[0] for name in self.library if name.endswith(".playground")}
        return [file for folder in folders for file in folder.glob("*.json") if file.name != building.PUBLISHED]

    def _questions(self) -> dict[str, AssignedQuestion]:
        probes = tree_shaking.probes(self.modules, self.lesson) if self.lesson else {}
        found = {}
        for question, place in self.places.items():
            stub = self.exercise.cells[place.answer].source
            if question not in probes:
                raise ValueError(f"question {question} of {self.name} has no probe")
            name = defined(stub)[-1]
            found[question] = AssignedQuestion(
                question, name, place.points, probes[question], stub, _takes_nothing(stub, name)
            )
        return found

    def _library(self) -> dict[str, str]:
        """The exercise modules without checks and reference answers, by their dotted names, with their packages."""
        wanted = tree_shaking.imported(self.exercise)
        probes = wanted.setdefault(tree_shaking.questions_of(self.lesson), set())
        probes.update(one.probe for one in self.questions.values())
        if self.lesson:
            probes.update(tree_shaking.exclusions(self.modules, self.lesson))
        secrets = {name for one in self.questions.values() for name in defined(one.stub)}
        modules = tree_shaking.shake(self.modules, wanted, secrets)
        packages = dict.fromkeys(["__init__", *(f"{name.split('.')[0]}.__init__" for name in modules)], "")
        return {**packages, **modules}


class Assignment(Exercise):
    """An exercise that is graded, read from its solution notebook.

    Raises:
        ValueError: if a question has no probe, or the file is no notebook.
        ShakeError: if a probe needs a reference answer.
    """

    def __init__(self, solution: str | Path, modules: Path = EXERCISES) -> None:
        self.path = Path(solution)
        self.solution = cells.read(self.path)
        super().__init__(building.exercise(self.solution), self.path.stem, modules)

    @property
    def answers(self) -> dict[str, str]:
        """The answers of the solution: question id → source."""
        return {id: self.solution.cells[self.places[id].answer].source for id in self.questions}

    @cached_property
    def digest(self) -> str:
        """sha256 of everything that determines a verdict, except the seeds."""
        parts = [self.path.read_bytes(), Path(probe_runtime.__file__).read_bytes()]
        parts += [f"{name}\n{source}".encode() for name, source in sorted(self.library.items())]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


def published_lessons() -> list[str]:
    """The lessons for which the course ships an exercise, for example ``"03"``."""
    return sorted(file.parent.name[-2:] for file in EXERCISES.glob(f"lesson_*/{building.PUBLISHED}"))


def definitions(source: str) -> str:
    """The statements of a pristine cell that later cells may need: all except bare expressions and magics."""
    tree = ast.parse(cells.plain(source))
    tree.body = [node for node in tree.body if not isinstance(node, ast.Expr)]
    return ast.unparse(tree)


def _readable(file: Path, folder: Path, inside: str) -> Path:
    """``file``, or a copy in ``folder`` that all users can read if it is private to its owner."""
    if file.stat().st_mode & stat.S_IROTH:
        return file
    copied = folder / inside.replace("/", "+")
    shutil.copyfile(file, copied)
    copied.chmod(READABLE)
    return copied


def _unchecked(source: str, name: str) -> NotebookNode:
    return new_code_cell(source, id=name, metadata={"tags": [IGNORE_OUTPUT]})


def _placed(helpers: Collection[Helper], after: int) -> Iterator[NotebookNode]:
    for helper in helpers:
        if helper.after == after:
            yield _unchecked(helper.source, helper.id)


def _takes_nothing(source: str, name: str) -> bool:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return not any([node.args.posonlyargs, node.args.args, node.args.kwonlyargs, node.args.vararg])
    return False
