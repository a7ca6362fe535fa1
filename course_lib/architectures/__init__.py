"""Architectures that can be built from a description, and their compressed forms."""

from course_lib.architectures import builders
from course_lib.architectures.registry import build, describe

__all__ = ["build", "builders", "describe"]
