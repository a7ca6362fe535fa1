"""The machine that results name."""

from course_lib import profiling


def test_the_machine_fits_in_one_line():
    machine = profiling.machine()
    assert machine.cores >= 1
    assert machine.memory_gb > 0
    assert "\n" not in str(machine)
    known = profiling.Machine("Some CPU", 1, 7.8, True, True, True, False, False)
    assert str(known) == "Some CPU, 1 core, 8 GB, AVX2, AVX-512, VNNI, no GPU"
