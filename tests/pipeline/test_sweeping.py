"""Sweeps: records with provenance, several writers, failed and killed pipelines, an existing scheduler."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
import sys
import threading
import time

import psutil
import pytest
from typer.testing import CliRunner

from course_lib.cli.app import app
from course_lib.pipeline import Pipeline, append_record, read_records, run, sweep
from tests.pipeline.toy_pipelines import MEASURED, toy_model, toy_splits

PLANS = {f"{bits} bits": Pipeline([{"quantize": {"method": "rtn", "bits": bits}}, "code"]) for bits in (8, 4, 2)}
FAILING = Pipeline([{"remove_channels": {"ratio": 0.001}}])
SLOW = Pipeline([{"fine_tune": {"epochs": 60, "batch_size": 8, "alpha": 0}}])


def swept(plans, folder, **options):
    options = {"workers": 2, "progress": False, **options}
    return sweep(plans, folder / "r.jsonl", model=toy_model(), splits=toy_splits(), cache=folder / "cache", **options)


def append_many(path, writer):
    for number in range(25):
        append_record(path, {"writer": writer, "number": number, "padding": "x" * 5000})


def test_several_writers_append_whole_lines(tmp_path):
    file = tmp_path / "r.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(file, writer)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = {(one["writer"], one["number"]) for one in read_records(file)}
    assert found == {(writer, number) for writer in range(4) for number in range(25)}
    assert len(file.read_text().splitlines()) == 100


def test_a_line_that_a_killed_writer_left_unfinished_costs_only_itself(tmp_path):
    file = tmp_path / "r.jsonl"
    append_record(file, {"name": "first"})
    with file.open("ab") as stream:
        stream.write(b'{"name": "unfin')
    append_record(file, {"name": "second"})
    assert [one["name"] for one in read_records(file)] == ["first", "second"]
    assert read_records(tmp_path / "absent.jsonl") == []


def test_a_sweep_has_a_record_for_every_pipeline_and_a_failed_one_costs_only_itself(tmp_path):
    records = swept({**PLANS, "fails": FAILING}, tmp_path)
    assert [one["name"] for one in records] == [*PLANS, "fails"]
    assert [one["status"] for one in records] == ["done"] * 3 + ["failed"]
    assert "step 1 (remove_channels)" in records[3]["error"]
    sizes = [one["row"]["stored_bytes"] for one in records[:3]]
    assert sizes == sorted(sizes, reverse=True)
    assert {"course", "torch", "machine", "host", "process", "threads", "seconds"} < records[0]["provenance"].keys()
    assert len({one["provenance"]["process"] for one in records}) == 2
    # a second run makes nothing again but what failed
    again = swept({**PLANS, "fails": FAILING}, tmp_path)
    assert again[:3] == records[:3] and again[3]["provenance"] != records[3]["provenance"]
    assert len(read_records(tmp_path / "r.jsonl")) == 5


def workers_of_this_process():
    return [
        child for child in psutil.Process().children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE
    ]  # fmt: skip


def test_a_killed_worker_costs_no_result(tmp_path):
    killed = []

    def kill_one():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list((tmp_path / "cache").glob("*.checkpoint")):
            time.sleep(0.02)
        if victims := workers_of_this_process():
            victims[0].kill()
            killed.append(victims[0].pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    records = swept({"slow": SLOW, **PLANS}, tmp_path, workers=1)
    killer.join()
    assert killed and [one["status"] for one in records] == ["done"] * 4


def test_an_existing_scheduler_gives_the_same_results(tmp_path):
    options = {"model": toy_model(), "splits": toy_splits(), "cache": tmp_path / "here", **MEASURED}
    here = [run(plan, **options).file.read_bytes() for plan in PLANS.values()]
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster:
        there = swept(PLANS, tmp_path / "there", scheduler=cluster.scheduler_address)
    assert [one["sha256"] for one in there] == [hashlib.sha256(content).hexdigest() for content in here]


def test_a_sweep_must_not_choose_on_test(tmp_path):
    with pytest.raises(ValueError, match="on must be one of 'train', 'validation'; got 'test'"):
        swept(PLANS, tmp_path, on="test")


def test_the_command_runs_a_pipeline_and_prints_its_rows(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("model: student_400\ndata: fashion_mnist\nsteps:\n- quantize: {method: rtn, bits: 4}\n- code\n")
    command = ["pipeline", "run", str(plan), "--cache", str(tmp_path), "--no-latency", "--json"]
    shown = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "small.safetensors")])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.stdout)["comparison"]["rows"]
    assert rows[-1]["stored_bytes"] == (tmp_path / "small.safetensors").stat().st_size < rows[0]["stored_bytes"]


def test_a_wrong_pipeline_file_is_one_line_with_exit_code_2(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("model: student_400\ndata: fashion_mnist\nsteps: [cod]\n")
    command = [sys.executable, "-m", "course_lib.cli", "pipeline", "run", str(plan)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith("course: step 1 is unknown: 'cod' (did you mean 'code'?)")
    assert len(finished.stderr.splitlines()) == 1


def test_the_command_prints_the_records_of_a_sweep_and_fails_if_one_failed(tmp_path):
    from course_lib.cli.pipelines import table

    row = {"stored_bytes": 1000, "ratio": 5.0, "retained": 0.99, "retained_low": 0.98, "retained_high": 1.0}
    shown = table([{"name": "a", "status": "done", "row": row}, {"name": "b", "status": "failed", "error": "why"}])
    assert "1 kB" in shown and "99.0 %" in shown and shown.endswith("failed: b: why")
