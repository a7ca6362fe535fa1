"""What a stopped benchmark keeps in runs/: trained models and measurements are made once, trainings are resumed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import Row, read, timed
from safetensors.torch import load_file, save
from torch import Tensor, nn

from course_lib import data, storage, training
from course_lib.core.atomic_write import write_atomically

RUNS = Path(__file__).parents[1] / "runs"


def stop_if_interrupted(history: training.History) -> None:
    """Go on with the interruption that ``training.fit`` has caught; a checkpoint keeps what is trained."""
    if history.interrupted:
        raise KeyboardInterrupt


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Interrupt the block after ``seconds``, as Ctrl+C would; checkpoints keep the finished epochs."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    except KeyboardInterrupt:
        print("out of time; run again to continue", flush=True)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def made_once(file: Path, make: Callable[[], nn.Module], dtype: str = "fp16") -> Path:
    """``file`` with the model of ``make``, which is called only if there is no such file.

    The checkpoint of its training, if it has the name of the file with the ending ``.checkpoint``, is removed then.
    """
    if not file.exists():
        seconds, model = timed(make)
        storage.save(model, file, dtype=dtype)
        file.with_suffix(".checkpoint").unlink(missing_ok=True)
        print(f"{file.stem}: {seconds:.0f} s", flush=True)
    return file


def measured_once(file: Path, measure: Callable[[], Row]) -> Row:
    """The row in ``file``, which is measured only if there is no such file."""
    if not file.exists():
        write_atomically(file, json.dumps(measure()))
    return read(file)


def computed_once(file: Path, compute: Callable[[], Tensor]) -> Tensor:
    """The tensor in ``file``, which is computed only if there is no such file."""
    if not file.exists():
        write_atomically(file, save({"values": compute()}))
    return load_file(file)["values"]


def evaluated_once(file: Path, split: data.Split, evaluate: Callable[[], training.Evaluation]) -> training.Evaluation:
    """An evaluation on ``split`` whose predictions are kept in ``file``; its loss is not."""
    predictions = computed_once(file, lambda: evaluate().predictions)
    return training.Evaluation(predictions, split.labels, float("nan"), split.classes)
