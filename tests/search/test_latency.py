"""Graphs of parts, and the table of their times."""

from __future__ import annotations

import numpy
import pytest

from course_lib import search
from course_lib.search.latency import make_session


def test_every_part_of_every_subnet_is_in_the_list(space, subnets):
    parts = set(search.all_parts(space))
    for subnet in subnets:
        assert set(search.parts_of(subnet)) <= parts


def test_a_graph_of_all_parts_has_the_work_of_the_net(subnets):
    import onnx

    for subnet in subnets:
        graph = onnx.load_from_string(search.graph_of(search.parts_of(subnet))).graph
        weights = {i.name: i.dims for i in graph.initializer}
        products = sum(numpy.prod(d) for d in weights.values() if len(d) in (2, 4))
        filters = sum(layer.inputs * layer.outputs * layer.kernel**2 for layer in search.convolutions(subnet))
        assert products == filters + 10 * subnet.widths[-1]
        session = make_session(search.graph_of(search.parts_of(subnet)), 1)
        images = numpy.zeros((1, 3, 56, 56), numpy.float32)
        assert session.run(None, {"input": images})[0].shape == (1, 10)


def test_parts_that_do_not_fit_together_are_refused():
    parts = search.parts_of(search.RESNET18_SPACE.smallest)
    with pytest.raises(ValueError, match="parts must fit together"):
        search.graph_of([parts[0], parts[-1]])


def test_parts_are_timed(space):
    table = search.measure_table(search.parts_of(space.smallest), threads=1, runs=3)
    assert all(ms > 0 for ms in table.parts_ms.values())
    assert table(space.smallest) == pytest.approx(sum(table.parts_ms[p] for p in search.parts_of(space.smallest)))
    assert search.net_ms(space.smallest, threads=1, runs=3) > 0


def test_a_fit_finds_scale_and_offset(table, subnets):
    true = [0.7 * table.sum_ms(subnet) + 0.05 for subnet in subnets]
    fitted = table.fitted(subnets, true)
    assert fitted.scale == pytest.approx(0.7) and fitted.offset_ms == pytest.approx(0.05)
    again = search.LatencyTable.from_json(fitted.to_json())
    assert again(subnets[2]) == pytest.approx(fitted(subnets[2]), rel=1e-3)


def test_a_missing_part_is_named(table, space):
    part = search.parts_of(space.smallest)[1]
    poorer = search.LatencyTable({p: ms for p, ms in table.parts_ms.items() if p != part})
    with pytest.raises(ValueError, match="not in the latency table: Part"):
        poorer(space.smallest)
