from contextlib import contextmanager, nullcontext

import torch

from dim_lightning.evaluation.fitting import passes, seeded


def test_positions_come_from_the_device_once_an_epoch(monkeypatch):
    network, met, sent = torch.nn.Linear(1, 1), [], []
    to = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *a, **k: sent.append(a) or to(t, *a, **k))

    def loss_of(rows):
        met.append(rows.device.type)
        return network.weight.square().sum()

    plan = {"num_images": 10, "epochs": 3, "batch_size": 4, "seed": 0}
    for _ in passes(network, 0.1, loss_of, **plan, setting="mlp_epochs", device="meta"):
        pass
    assert met == ["meta"] * 9
    assert sent == [("meta",)] * 3


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
