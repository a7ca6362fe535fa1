"""Entry point of ``python -m course_lib.cli``."""

from course_lib.cli.app import main

main()
