import copy

import pytest
import torch
from torchvision import models

from dim_lightning.encoders import TorchvisionEncoder
from dim_lightning.encoders.backbone import MEAN, STD
from dim_lightning.errors import InputError

SMALL = {"name": "mobilenet_v3_small", "local_node": "features.8", "last_node": "features.12"}


def test_the_trunk_is_torchvisions_network_without_its_classifier():
    encoder = TorchvisionEncoder(64).eval()
    assert sum(p.numel() for p in encoder.trunk.parameters()) == 11_689_512 - 513 * 1000
    theirs = models.resnet18().eval()
    theirs.load_state_dict(encoder.trunk.network.state_dict(), strict=False)
    seen = {}
    theirs.layer3.register_forward_hook(lambda *given: seen.update(map=given[2]))
    theirs.avgpool.register_forward_hook(lambda *given: seen.update(pool=given[2].flatten(1)))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        theirs(torch.stack([(images[:, i] - MEAN[i]) / STD[i] for i in range(3)], dim=1))
        features = encoder(images)
    torch.testing.assert_close(features.feature_map, seen["map"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.layers["pool"], seen["pool"], atol=1e-4, rtol=1e-4)
    assert encoder.feature_shape == features.feature_map.shape[1:] == (256, 4, 4)
    assert {name: layer.shape[1] for name, layer in features.layers.items()} == {
        "pool": 512,
        "fc": 1024,
        "y": 64,
    }


def test_one_node_may_be_both_the_map_and_the_last():
    encoder = TorchvisionEncoder(64, local_node="layer4", embedding_dim=8, gaussian=True)
    features = encoder(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(features.layers["pool"], features.feature_map.mean(dim=(2, 3)))
    assert features.log_variance.shape == (2, 8)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_deep_copy_is_in_the_mode_of_the_original(mode):
    encoder = TorchvisionEncoder(32, **SMALL)
    getattr(encoder, mode)()
    again, images = copy.deepcopy(encoder), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(images).mean, encoder(images).mean)
    assert again.trunk.network.training == encoder.training


def test_it_is_drawn_anew_as_torchvision_draws():
    torch.manual_seed(3)
    expected = models.convnext_tiny().state_dict()
    settings = {"local_node": "features.5", "last_node": "features.7"}
    encoder = TorchvisionEncoder(32, "convnext_tiny", **settings)
    torch.manual_seed(3)
    encoder.trunk.reset_parameters()
    for name, value in encoder.trunk.network.state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small"])
def test_nothing_is_drawn_in_training(name):
    encoder = TorchvisionEncoder(
        32, name, local_node="features.4", last_node="features.7", hidden_dim=4, embedding_dim=2
    )
    assert encoder.training
    images, before = torch.rand(4, 3, 32, 32), torch.get_rng_state()
    assert torch.equal(encoder(images).mean, encoder(images).mean)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "resnet5"}, "no network resnet5; did you mean resnet50"),
        ({"local_node": "layr3"}, "no node layr3; did you mean layer3"),
        (SMALL | {"last_node": "features.13"}, r"no node features\.13; did you mean features\."),
        ({"last_node": "flatten"}, r"flatten gives values of shape \[1, 512\]; expected a feature"),
        (SMALL | {"name": "alexnet"}, "init_args.name"),
        ({"hidden_dim": 0}, "TorchvisionEncoder got sizes"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        TorchvisionEncoder(24, **settings)


@pytest.mark.parametrize(
    ("name", "nodes", "found"),
    [
        ("vit_b_16", ("conv_proj", "encoder.ln"), "nodes give tokens"),
        ("swin_t", ("features.5", "permute"), r"node features\.5 gives .* \[1, 2, 2, 384\]"),
    ],
)
def test_a_transformer_is_no_matter_of_the_images_size(name, nodes, found):
    said = rf"{name} is no convolutional network: its {found}.*; expected feature maps \[n, chan"
    with pytest.raises(InputError, match=said) as raised:
        TorchvisionEncoder(24, name, *nodes)
    assert "image_size" not in str(raised.value)
