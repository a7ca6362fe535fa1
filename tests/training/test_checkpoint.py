"""An interrupted training run resumes from its checkpoint as if nothing had happened."""

import torch

from tests.toys import blobs_mlp, fit_blobs, flat_weights


def test_an_interrupted_run_resumes_from_its_checkpoint(tmp_path):
    whole = blobs_mlp()
    fit_blobs(whole, epochs=4)

    def interrupt(model, step, total):
        if step == 14:
            raise KeyboardInterrupt

    model, file = blobs_mlp(), tmp_path / "run.checkpoint"
    assert fit_blobs(model, epochs=4, checkpoint=file, after_step=interrupt).interrupted
    resumed = blobs_mlp()
    history = fit_blobs(resumed, epochs=4, checkpoint=file)
    assert len(history.train_loss) == 4 and not history.interrupted
    assert torch.allclose(flat_weights(resumed), flat_weights(whole))
