"""An answer that would be right if it found the solution, a reference or a secret finds none of them."""

import os
import textwrap

import pytest

from tests.hostile.conftest import KEY

NEEDLE = "math.prod(shape) * bits"
SEARCH = """
    FOUND = []
    def keep(text):
        if isinstance(text, (bytes, bytearray)):
            text = bytes(text).decode("latin-1")
        if "math.prod(shape) * bits" in text or "the secret of" + " these tests" in text:
            FOUND.append(text)
{search}
    import math
    def dense_bytes(shapes, dtype):
        if not FOUND:
            return 0
        bits = {{"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}}[dtype]
        total = 0
        for shape in shapes:
            total += math.ceil(math.prod(shape) * bits // 1 / 8)
        return total
"""
READ = """
    import os
    def read(path):
        try:
            with open(path, "rb") as file:
                keep(file.read(3_000_000))
        except OSError:
            pass
"""
PLACES = {
    "solutions and references on the disk": READ + """
    for top in ("/course", "/work", "/home", "/root", "/tmp", "/etc", "/var", "/srv", "/mnt", "/opt"):
        for folder, names, files in os.walk(top):
            if "site-packages" in folder and "course" not in folder:
                names[:] = [name for name in names if "course" in name]
            for name in files:
                if name.endswith((".py", ".ipynb", ".json", ".db", ".txt", "secret")):
                    read(os.path.join(folder, name))
    """,
    "the environment": READ + """
    keep(str(dict(os.environ)))
    read("/proc/self/environ")
    """,
    "the process list": READ + """
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            for part in ("cmdline", "environ", "maps", "status"):
                read(f"/proc/{name}/{part}")
    """,
    "the connection file": READ + """
    from ipykernel.connect import get_connection_file
    read(get_connection_file())
    """,
    "the notebook that is being run": READ + """
    for place in (".", "..", "/tmp", "/tmp/home", os.environ["HOME"]):
        for name in ("notebook.ipynb", "report.json", "settings.json"):
            read(os.path.join(place, name))
    """,
    "the memory of the parent": """
    import os
    for pid in (os.getppid(), 1):
        try:
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
                for line in maps:
                    low, high = (int(part, 16) for part in line.split()[0].split("-"))
                    memory.seek(low)
                    keep(memory.read(min(high - low, 1_000_000)))
        except (OSError, ValueError):
            pass
    """,
    "the garbage collector": """
    import gc
    for thing in gc.get_objects():
        try:
            if isinstance(thing, dict):
                for entry in list(thing.values()):
                    if isinstance(entry, str) and len(entry) < 20_000 and "FOUND" not in entry:
                        keep(entry)
        except Exception:
            pass
    """,
    "inherited file descriptors": """
    import os, stat
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISREG(os.fstat(int(name)).st_mode):
                keep(os.pread(int(name), 1_000_000, 0))
        except OSError:
            pass
    """,
}  # fmt: skip
SHORTCUTS = {
    "the reference in site-packages": "from course_lib.learning.exercises.lesson_01.reference import dense_bytes",
    "the check that knows the answer": (
        "from course_lib.learning.exercises.lesson_01.questions import reference\ndense_bytes = reference.dense_bytes"
    ),
    "the grader itself": "from course_lib.grading import probes\ndense_bytes = probes.reference",
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_found_in(grader, place, monkeypatch):
    monkeypatch.setenv("COURSE_GRADING_SECRET", KEY.decode())
    assert grader.attack(SEARCH.format(search=PLACES[place])).status == "wrong"


@pytest.mark.parametrize("name", SHORTCUTS)
def test_what_knows_the_answer_cannot_be_imported(grader, name):
    assert not grader.attack(SHORTCUTS[name]).passed


def test_the_stack_of_a_probe_holds_no_expected_value(grader):
    source = """
        import inspect, math
        def dense_bytes(shapes, dtype):
            texts = [str(value) for frame in inspect.stack() for value in frame.frame.f_locals.values()
                     if type(value) in (str, list, dict)]
            return 7 if any("EXPECTED" in text for text in texts) else 0
    """.replace("EXPECTED", grader.references["01.1"].line)
    assert grader.attack(source).status == "wrong"


def test_the_probe_in_the_sandbox_carries_no_reference_answer(grader):
    exercises = [path for name, path in grader.files.items() if name.startswith("course_lib/learning/exercises/")]
    assert any("def probe_" in path.read_text() for path in exercises)
    for path in exercises:
        assert "def dense_bytes" not in path.read_text() and "def check_" not in path.read_text()
    assert not any("grading" in name or "quizzes" in name for name in grader.files)


def test_the_search_itself_would_succeed_without_a_sandbox():
    """The same search finds the secret where it is visible."""
    namespace: dict = {}
    source = SEARCH.format(search='    keep("the secret of" + " these tests")')
    exec(textwrap.dedent(source), namespace)
    assert namespace["dense_bytes"]([(5,)], "int4") == 3 and os.environ.get("COURSE_GRADING_SECRET") is None
