"""Every test run works on files of its own: no progress, cache or network of the person who runs it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

SCRATCH = tempfile.mkdtemp(prefix="course-tests-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

os.environ["COURSE_PROGRESS"] = os.path.join(SCRATCH, "progress.json")
os.environ["COURSE_CACHE"] = os.path.join(SCRATCH, "cache")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
