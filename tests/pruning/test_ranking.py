"""The ranking drops the weights that magnitude pruning drops, also among ties."""

import pytest
import torch
from torch import nn

from course_lib import pruning
from course_lib.pruning.ranking import MagnitudeRanking


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_as_many_weights_stay_as_in_the_masks_of_pruning_even_among_ties(fraction):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 40), nn.Linear(40, 3))
    for layer in model:
        layer.weight.data = (layer.weight.data * 20).round()
    ranking = MagnitudeRanking(pruning.layer_weights(model))
    together, alone = pruning.global_masks(model, fraction), pruning.layerwise_masks(model, fraction)
    for name in together:
        assert ranking.cut(name, fraction, together=True)[0] == together[name].sum()
        assert ranking.cut(name, fraction)[0] == alone[name].sum()


def test_the_threshold_is_the_smallest_magnitude_that_stays():
    ranking = MagnitudeRanking({"small": torch.arange(1.0, 51.0), "large": -torch.arange(51.0, 101.0)})
    assert ranking.cut("large", 0.9)[1] == 96.0
    assert ranking.cut("large", 0.9, together=True)[1] == 91.0
    assert MagnitudeRanking({"one": torch.ones(1)}).cut("one", 0.999) == (0, 1.0)


def test_an_impossible_sparsity_is_refused():
    with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\), got 1"):
        MagnitudeRanking({"one": torch.ones(1)}).cut("one", 1)
