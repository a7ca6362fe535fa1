"""The sandbox contains the files that an exercise imports, and nothing that was added beside them."""

import shutil

import pytest

from course_lib.grading import assignment, building, visible_files
from course_lib.grading.assignment import Assignment

LESSONS = [path.name[:2] for path in sorted(building.SOLUTIONS.glob("*.ipynb"))]
NEVER = ("grading/", "cli/", "launch/", "doctor.py", "widgets/", "learning/quizzes", "assets/results", "assets/cards")


def staged(lesson, folder):
    (path,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    return Assignment(path).stage(folder)


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The package without its data, with a new file in a visible package, a new package, and new data."""
    package = tmp_path_factory.mktemp("copy") / "course_lib"
    skipped = shutil.ignore_patterns("__pycache__", "results", "cards", "*.safetensors", "*.xz")
    shutil.copytree(assignment.PACKAGE, package, ignore=skipped)
    for name in visible_files.DATA_FILES["assets"]:
        (package / "assets" / name).touch()
    (package / "training" / "secret_recipe.py").write_text("def answer(): ...\n")
    (package / "learning" / "exercises" / "lesson_03" / "notes.py").write_text("ANSWER = 1\n")
    (package / "oracle").mkdir()
    (package / "oracle" / "__init__.py").write_text("ANSWER = 1\n")
    (package / "assets" / "answers.json").write_text("{}")
    return package


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_new_file_and_a_new_package_are_not_visible(lesson, copied, tmp_path, monkeypatch):
    before = set(staged(lesson, tmp_path))
    monkeypatch.setattr(assignment, "PACKAGE", copied)
    after = staged(lesson, tmp_path)
    assert set(after) == before
    shown = [path for path in after.values() if path.is_relative_to(copied)]
    assert len(shown) > 10 and all(path.is_file() for path in after.values())
    assert not any("secret_recipe" in name or "oracle" in name or "answers.json" in name for name in after)


@pytest.mark.parametrize("lesson", LESSONS)
def test_checks_references_and_the_grader_are_not_visible(lesson, tmp_path):
    for name, path in staged(lesson, tmp_path).items():
        assert not name.removeprefix("course_lib/").startswith(NEVER), name
        assert not name.endswith("/reference.py"), name
        if "/exercises/" in name and path.name != "plans.json":
            assert path.is_relative_to(tmp_path) and "@question" not in path.read_text()


def test_a_new_file_is_visible_once_a_visible_file_imports_it(copied):
    source = "from course_lib import training"
    assert "training/secret_recipe.py" not in visible_files.visible([source], copied)
    assert "training/secret_recipe.py" in visible_files.visible(
        [source, "from course_lib.training.secret_recipe import answer"], copied
    )


TECHNIQUES = tuple(f"{room}/" for room in visible_files.TECHNIQUES)


@pytest.mark.parametrize(
    "source",
    ["from course_lib import pruning", "import course_lib.pruning.masks", "from course_lib.pruning import x"],
)
def test_a_technique_is_not_visible_to_an_exercise_that_names_it(copied, source):
    assert not [name for name in visible_files.visible([source], copied) if name.startswith(TECHNIQUES)]


@pytest.mark.parametrize("lesson", LESSONS)
def test_in_place_of_the_techniques_stand_stubs_that_say_so(lesson, tmp_path):
    files = staged(lesson, tmp_path)
    inside = {name.removeprefix("course_lib/"): path for name, path in files.items()}
    shown = {name: path.read_text() for name, path in inside.items() if name.startswith(TECHNIQUES)}
    assert shown == visible_files.STUBS
    with pytest.raises(ImportError, match=r"course_lib\.pruning is not here: using it does not count as an answer"):
        exec(shown["pruning/__init__.py"])


@pytest.mark.parametrize(
    "source", ["import course_lib.grading", "from course_lib import cli, oracle, widgets, nothing"]
)
def test_naming_a_package_that_is_not_allowed_does_not_show_it(copied, source):
    assert visible_files.visible([source], copied) == visible_files.visible([], copied)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_visible_files_are_enough_to_import_the_probes(lesson, tmp_path):
    """In a fresh interpreter with nothing but these files."""
    import subprocess
    import sys

    home = tmp_path / "course"
    (tmp_path / "library").mkdir()
    for name, path in staged(lesson, tmp_path / "library").items():
        if path.stat().st_size < 1_000_000:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, home / name)
    code = "from course_lib.learning import check, hint; import probe_runtime\n"
    code += f"import course_lib.learning.exercises.lesson_{lesson}.questions\n"
    (path,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    code += "\n".join(
        line for cell in Assignment(path).code for line in cell.source.splitlines() if "playground" in line
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env={"PYTHONPATH": str(home)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
