"""The launcher behind ``start.py``: prepare the environment, then open, run or test the course.

It runs before anything is installed, so it imports only the standard library and ``assets``.
"""

from course_lib.launch.command_line import main, parse

__all__ = ["main", "parse"]
