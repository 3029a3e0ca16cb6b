from contextlib import contextmanager, nullcontext

import torch

from dim_lightning.evaluation.fitting import seeded


def test_the_generator_of_the_gpu_given_is_seeded(monkeypatch):
    """torch.cuda.manual_seed seeds the current device, which is another one here."""
    current, forked, calls = [torch.device("cuda", 0)], [], []

    @contextmanager
    def device(given):
        current.append(given)
        yield
        current.pop()

    monkeypatch.setattr(torch.random, "fork_rng", lambda d: forked.extend(d) or nullcontext())
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: calls.append((seed, current[-1])))
    second = torch.device("cuda", 1)
    with seeded(3, second):
        assert current[-1] == torch.device("cuda", 0)
    assert forked == [second]
    assert calls == [(3, second)]
