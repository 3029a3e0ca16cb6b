import numpy as np
import pytest
import torch
from torch import nn

from dim_lightning.data import Batch
from dim_lightning.encoders import BlogEncoder, Encoder, Features, FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.evaluation import extract, observing, pixels


def batches(count=2, size=6, image=8, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Batch(
            torch.from_numpy(rng.integers(0, 256, (size, 3, image, image), dtype=np.uint8)),
            torch.arange(size) % 3,
            torch.arange(size) + size * i,
        )
        for i in range(count)
    ]


class Point(Encoder):
    """A deterministic encoder with dropout, whose batch norm is frozen."""

    def __init__(self):
        super().__init__()
        self.feature_shape, self.embedding_dim = FeatureShape(3, 8, 8), 4
        self.norm = nn.BatchNorm2d(3).eval()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(3 * 8 * 8, 4)

    def forward(self, images):
        feature_map = self.dropout(self.norm(images))
        code = self.linear(feature_map.flatten(1))
        return Features(feature_map, {"map": feature_map.flatten(1), "code": code}, code, None)


def small_encoder():
    torch.manual_seed(0)
    return BlogEncoder(8, widths=(4, 8), embedding_dim=5)


def test_features_are_those_of_the_encoder_in_eval_mode():
    encoder, data = small_encoder(), batches()
    found = extract(encoder, data)
    with torch.no_grad():
        expected = encoder.eval()(torch.cat([b.images for b in data]).float() / 255)
    assert list(found.layers) == list(expected.layers)
    for name, value in expected.layers.items():
        torch.testing.assert_close(found.layers[name], value)
    torch.testing.assert_close(found.code, expected.mean)
    torch.testing.assert_close(found.log_variance, expected.log_variance)
    assert not found.code.requires_grad
    assert found.indices.tolist() == list(range(12))
    assert found.labels.tolist() == [0, 1, 2] * 4


def test_bytes_and_floats_are_the_same_images():
    encoder, data = small_encoder(), batches()
    floats = [b._replace(images=b.images.float() / 255) for b in data]
    assert torch.equal(extract(encoder, data).code, extract(encoder, floats).code)


def test_nothing_of_the_encoder_changes():
    encoder = Point().train()
    encoder.norm.eval()  # a part that is frozen stays frozen, the rest goes on training
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    modes = [part.training for part in encoder.modules()]
    state = torch.get_rng_state()
    extract(encoder, batches())
    assert [part.training for part in encoder.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in encoder.parameters())


def test_modes_come_back_after_an_error():
    encoder = small_encoder().train()
    with pytest.raises(RuntimeError, match="on purpose"), observing(encoder):
        raise RuntimeError("on purpose")
    assert all(part.training for part in encoder.modules())


def test_what_is_drawn_while_observing_is_forgotten():
    state = torch.get_rng_state()
    with observing(small_encoder()):
        state = torch.get_rng_state()
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_features_taken_in_bfloat16_are_kept_in_float32():
    encoder = small_encoder()
    with torch.autocast("cpu", torch.bfloat16):
        found = extract(encoder, batches())
    tensors = [*found.layers.values(), found.code, found.log_variance]
    assert all(tensor.dtype == torch.float32 for tensor in tensors)
    torch.testing.assert_close(found.code, extract(encoder, batches()).code, atol=0.05, rtol=0.1)


def test_an_encoder_of_low_precision_is_given_its_own():
    assert extract(small_encoder().bfloat16(), batches()).code.dtype == torch.float32


def test_a_point_has_no_log_variance():
    assert extract(Point(), batches()).log_variance is None


def test_layers_can_be_chosen():
    assert list(extract(small_encoder(), batches(), layers=["conv"]).layers) == ["conv"]
    found = extract(small_encoder(), batches(), layers=())
    assert found.layers == {}
    assert found.code.shape == (12, 5)
    with pytest.raises(InputError, match="no layer 'cnov'; expected one of conv, pool, embedding"):
        extract(small_encoder(), batches(), layers=["cnov"])


def test_a_name_alone_is_no_list_of_layers():
    with pytest.raises(InputError, match=r"layers is 'conv'; expected a list; write \['conv'\]"):
        extract(small_encoder(), batches(), layers="conv")


@pytest.mark.usefixtures("as_in_a_script")
@pytest.mark.parametrize("taken", [lambda data: extract(small_encoder(), data), pixels])
def test_loaders_of_something_else_are_said(taken):
    (batch,) = batches(1)
    with pytest.raises(InputError, match=r"gives list; expected .*Batch \(images, labels, ind"):
        taken([[batch.images, batch.labels]])
    with pytest.raises(InputError, match="images are int32; expected uint8"):
        taken([batch._replace(images=batch.images.int())])


class Elsewhere(Point):
    """On a device without values, which every machine has beside the CPU."""

    def forward(self, images):
        assert images.device.type == self.linear.weight.device.type == "meta"
        code = torch.zeros(len(images), 4)
        return Features(code[:, :, None, None], {"code": code}, code, None)


def test_images_go_where_the_encoder_is():
    assert extract(Elsewhere().to("meta"), batches()).code.shape == (12, 4)


def test_no_images_are_refused():
    with pytest.raises(InputError, match="no images"):
        extract(small_encoder(), [])
    with pytest.raises(InputError, match="no images"):
        pixels([])


def test_pixels_are_the_flattened_images():
    data = batches()
    expected = torch.cat([b.images for b in data]).flatten(1).float() / 255
    assert torch.equal(pixels(data), expected)


def test_pixels_of_large_images_are_averages():
    data = batches(1, image=8)
    expected = torch.nn.functional.avg_pool2d(data[0].images.float() / 255, 2).flatten(1)
    torch.testing.assert_close(pixels(data, largest=4), expected)


def test_of_unlabelled_images_codes_alone_are_kept():
    encoder, given = small_encoder(), batches()
    mixed = [batch._replace(labels=batch.labels - 1) for batch in given]
    whole, some = extract(encoder, given), extract(encoder, mixed, labelled=True)
    known = torch.cat([batch.labels for batch in mixed]) >= 0
    assert torch.equal(some.code, whole.code)
    assert all(torch.equal(some.layers[name], whole.layers[name][known]) for name in whole.layers)


def test_what_gives_no_features_is_named(monkeypatch):
    encoder = BlogEncoder(8, widths=(4,), embedding_dim=3)
    monkeypatch.setattr(encoder, "forward", lambda images: images)
    with pytest.raises(InputError, match="BlogEncoder gives Tensor; expected Features"):
        extract(encoder, batches())
