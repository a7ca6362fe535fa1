"""The panel of both coders against the functions of ``coding``."""

from __future__ import annotations

import pytest

from course_lib import coding
from course_lib.widgets import coder_panel
from course_lib.widgets.entropy_coders import LENGTH, MESSAGES, code


@pytest.mark.parametrize("message", MESSAGES)
def test_both_codes_of_the_whole_message_are_those_of_the_library(message):
    coded = code(message, LENGTH)
    assert len(coded.message) == sum(coded.counts) == LENGTH
    codes = coding.canonical_codes(coding.code_lengths(coded.counts))
    assert coded.huffman == coding.encode(coded.message, codes)
    bits = coding.arithmetic_encode(coded.message, coded.counts)
    assert bits.startswith(coded.known) and len(coded.known) <= coded.intervals[-1].bits + 1e-9
    assert coded.intervals[-1].bits / LENGTH == pytest.approx(coding.entropy(coded.counts))


def test_huffman_loses_most_where_zeros_prevail_and_nothing_where_all_are_alike():
    losses = {}
    for message in MESSAGES:
        coded = code(message, LENGTH)
        losses[message] = len(coded.huffman) / coded.intervals[-1].bits - 1
    assert losses["mostly zeros"] > 0.3 > losses["like a bell"] > 0.01 > losses["all alike"] >= -1e-9


def test_every_position_of_every_message_can_be_shown(moves):
    panel = coder_panel(position=0)
    assert "no binary digit is certain yet" in panel.picture.value
    for message in MESSAGES:
        panel.controls["weights"].value = message
        assert all(moves(panel, "position", position) for position in (*range(1, LENGTH + 1), 0))
