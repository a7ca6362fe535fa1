"""Start the course: python3 start.py [test | run [00 01 ...]]; needs nothing but Python 3.11 or newer."""

# Any Python must be able to parse this file, so that an old one prints the message below and no syntax error.
import os
import sys

if sys.version_info < (3, 11):
    sys.exit(
        "The course needs Python 3.11 or newer, this is Python %d.%d; install a newer one, then: python3.11 start.py"
        % sys.version_info[:2]
    )

# python3 -I and PYTHONSAFEPATH leave the script's folder out
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from course_lib.launch import main

if __name__ == "__main__":
    sys.exit(main())
