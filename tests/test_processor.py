import pytest
import torch

from dim_lightning.processor import cuda_error, imitates_bfloat16


@pytest.mark.parametrize(
    ("kind", "capability", "hip", "imitates"),
    [
        ("cuda", (7, 5), None, True),
        ("cuda", (8, 0), None, False),
        ("cuda", (6, 0), "6.2", False),  # AMD counts otherwise
        ("cpu", (7, 5), None, False),
    ],
)
def test_gpus_before_ampere_imitate_bfloat16(monkeypatch, kind, capability, hip, imitates):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert imitates_bfloat16(torch.device(kind)) == imitates


def test_why_cuda_cannot_be_used(monkeypatch):
    def refuse():
        raise RuntimeError("The driver is too old. Please update it.")

    monkeypatch.setattr(torch.cuda, "init", refuse)
    for count, said in ((0, None), (1, "The driver is too old")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda found=count: found)
        assert cuda_error() == said
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    assert cuda_error() is None
