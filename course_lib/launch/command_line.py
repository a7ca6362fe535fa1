"""The command line of ``start.py``."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from course_lib.launch import inspection, suite
from course_lib.launch.environment import Environment
from course_lib.launch.errors import EnvironmentDamaged, LaunchError
from course_lib.launch.preparation import prepare, repair

ROOT = Path(__file__).resolve().parents[2]
FIRST_NOTEBOOK = "notebooks/00_start_here.ipynb"
PRE_SAVE_HOOK = "course_lib.notebook.saved_widgets.keep_pictures"
DEFAULT_PORT = 8888
TEST_EXTRAS = ("classroom", "llm", "dev")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of ``start.py`` and return its exit code; a ``LaunchError`` is printed as one line."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(options, Environment(ROOT))
    except LaunchError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; run the same command again to continue.", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of ``start.py``; ``options.pip`` holds the arguments passed on to pip."""
    own, pip = list(arguments), []
    if "--" in own:
        separator = own.index("--")
        own, pip = own[:separator], own[separator + 1 :]
    parser = _parser()
    options = parser.parse_args(own)
    if options.lessons and options.command != "run":
        parser.error(f"lessons can only be named after 'run', got {' '.join(options.lessons)}")
    options.pip = [argument for index in options.wheels for argument in ("--extra-index-url", index)] + pip
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="start.py",
        description="Set up the course in .venv (once), then open it in JupyterLab.",
        epilog="Arguments after -- are passed to pip, for example: start.py -- --proxy ADDRESS",
    )
    parser.add_argument("command", nargs="?", choices=("open", "run", "test"), default="open")
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lessons for 'run', for example 00 03 (default: all)")
    parser.add_argument("--no-browser", action="store_true", help="start the server without opening a browser")
    port_help = f"port of JupyterLab (default: the first free one from {DEFAULT_PORT})"
    parser.add_argument("--port", type=int, help=port_help)
    wheels_help = "address of an extra package index, for example one with CPU-only builds of torch (saves 5 GB)"
    parser.add_argument("--wheels", metavar="INDEX", action="append", default=[], help=wheels_help)
    return parser


def _run(options: argparse.Namespace, environment: Environment) -> int:
    inspection.check_folder(environment.root)
    inspection.check_assets()
    port = inspection.choose_port(options.port, DEFAULT_PORT) if options.command == "open" else None
    _prepare(environment, TEST_EXTRAS if options.command == "test" else (), options.pip)
    if options.command == "test":
        return suite.run(environment)
    if options.command == "run":
        return environment.call("-m", "course_lib.cli", "run", *options.lessons)
    assert port is not None
    return _open(environment, port, browser=not options.no_browser)


def _prepare(environment: Environment, extras: Sequence[str], pip_options: Sequence[str]) -> None:
    prepare(environment, extras, pip_options)
    try:
        inspection.check_kernel(environment)
    except EnvironmentDamaged:
        print("Packages are missing in .venv; installing them again.", flush=True)
        if not repair(environment, extras, pip_options):
            raise
        inspection.check_kernel(environment)


def _open(environment: Environment, port: int, *, browser: bool) -> int:
    command = [
        "-m", "jupyterlab", f"--ServerApp.root_dir={environment.root}", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}",
        f"--ContentsManager.pre_save_hook={PRE_SAVE_HOOK}",
    ]  # fmt: skip
    if not browser:
        command.append("--no-browser")
    if inspection.is_root():
        command.append("--allow-root")
    _trust_notebooks(environment)
    print(f"JupyterLab starts on port {port}; press Ctrl-C here to stop it.", flush=True)
    try:
        return environment.call(*command)
    except subprocess.SubprocessError as error:
        raise LaunchError(f"JupyterLab did not start ({error}); details: {environment.log}") from error


def _trust_notebooks(environment: Environment) -> None:
    """Sign the course's notebooks, so that JupyterLab shows their stored outputs with their styles.

    Where signatures cannot be stored, the outputs are shown without styles, and JupyterLab starts all the same.
    """
    numbered = (path for folder in ("notebooks", "exercises") for path in (environment.root / folder).glob("*.ipynb"))
    names = [str(path.relative_to(environment.root)) for path in sorted(numbered) if path.name[:2].isdigit()]
    command = [str(environment.python), "-m", "nbformat.sign", *names]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            command, cwd=environment.root, env=environment.variables(), capture_output=True, check=False, timeout=120
        )
