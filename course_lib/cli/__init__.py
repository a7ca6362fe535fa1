"""The ``course`` command."""

from course_lib.cli.app import app, main

__all__ = ["app", "main"]
