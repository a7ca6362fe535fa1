"""The ``course`` command, also as ``python -m course_lib.cli``."""

from course_lib.cli.app import main

__all__ = ["main"]
