import copy
from urllib.error import URLError

import pytest
import torch
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from dim_lightning.encoders import TorchvisionEncoder
from dim_lightning.encoders.start import weights_follow
from dim_lightning.encoders.trunk import MEAN, STD, NetworkSpec, pixel_statistics
from dim_lightning.errors import InputError

POSITIONS = "encoder.pos_embedding"
SMALL = {"name": "mobilenet_v3_small", "local_node": "features.8", "last_node": "features.12"}


@pytest.fixture
def trained(monkeypatch):
    """The weights that were downloaded, here drawn for each network."""
    made = []

    def downloaded(url, **_):
        name = next(n for n in ("vit_b_32", "mobilenet_v3_small") if n in url)
        made.append(getattr(models, name)().state_dict())
        return made[-1]

    monkeypatch.setattr(models._api, "load_state_dict_from_url", downloaded)
    return made


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
    encoder = TorchvisionEncoder(32, name="convnext_tiny", **settings)
    torch.manual_seed(3)
    encoder.trunk.reset_parameters()
    for name, value in encoder.trunk.network.state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small"])
def test_nothing_is_drawn_in_training(name):
    encoder = TorchvisionEncoder(
        32,
        name=name,
        local_node="features.4",
        last_node="features.7",
        hidden_dim=4,
        embedding_dim=2,
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


def test_patches_of_a_vision_transformer_are_its_locations(trained):
    """Begun with torchvision's weights, whose positions are of other images."""
    nodes = {"local_node": "encoder.layers.encoder_layer_8", "last_node": "encoder.ln"}
    encoder = TorchvisionEncoder(
        96, name="vit_b_32", **nodes, hidden_dim=8, weights="DEFAULT"
    ).eval()
    assert (encoder.feature_shape, len(trained)) == ((768, 3, 3), 1)
    theirs = models.vit_b_32(image_size=96).eval()
    stored = interpolate_embeddings(96, 32, trained[0])
    theirs.load_state_dict(stored)
    seen = {}
    theirs.encoder.layers[8].register_forward_hook(lambda *given: seen.update(map=given[2]))
    theirs.encoder.ln.register_forward_hook(lambda *given: seen.update(last=given[2]))
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        theirs(torch.stack([(images[:, i] - MEAN[i]) / STD[i] for i in range(3)], dim=1))
        features = encoder(images)
    for place in range(9):  # the first token is of no place
        token = seen["map"][:, 1 + place]
        found = features.feature_map[:, :, place // 3, place % 3]
        torch.testing.assert_close(found, token, atol=1e-4, rtol=1e-4)
    pooled = seen["last"][:, 1:].mean(dim=1)
    torch.testing.assert_close(features.layers["pool"], pooled, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="vit_b_32 was made for images of 96 pixels, and these"):
        encoder(torch.rand(2, 3, 64, 64))
    encoder.trunk.reset_parameters()
    assert len(trained) == 1
    assert not torch.equal(encoder.trunk.network.encoder.pos_embedding, stored[POSITIONS])


def test_the_channels_of_a_swin_transformer_come_first():
    nodes = {"local_node": "features.5", "last_node": "features.7"}
    encoder = TorchvisionEncoder(64, name="swin_t", **nodes, hidden_dim=8).eval()
    seen = {}
    theirs = models.swin_t().eval()
    theirs.load_state_dict(encoder.trunk.network.state_dict(), strict=False)
    theirs.features[5].register_forward_hook(lambda *given: seen.update(map=given[2]))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        theirs(torch.stack([(images[:, i] - MEAN[i]) / STD[i] for i in range(3)], dim=1))
        features = encoder(images)
        assert encoder(torch.rand(2, 3, 96, 96)).feature_map.shape == (2, 384, 6, 6)
    assert encoder.feature_shape == (384, 4, 4)
    found = features.feature_map.permute(0, 2, 3, 1)
    torch.testing.assert_close(found, seen["map"], atol=1e-4, rtol=1e-4)


def test_it_starts_from_the_weights_of_torchvision(trained):
    encoder = TorchvisionEncoder(32, **SMALL, weights="IMAGENET1K_V1")
    first = encoder.trunk.network.features
    assert torch.equal(getattr(first, "0")[0].weight, trained[0]["features.0.0.weight"])
    drawn = TorchvisionEncoder(32, **SMALL)
    assert len(trained) == 1
    other = getattr(drawn.trunk.network.features, "0")[0].weight
    assert not torch.equal(other, trained[0]["features.0.0.weight"])


def test_nothing_is_downloaded_where_weights_follow(trained):
    with weights_follow():
        TorchvisionEncoder(32, **SMALL, weights="DEFAULT")
    assert not trained
    TorchvisionEncoder(32, **SMALL, weights="DEFAULT")
    assert trained


def test_pixels_are_those_of_the_weights():
    for weights, expected in ((None, MEAN), ("DEFAULT", (0.5, 0.5, 0.5))):
        spec = NetworkSpec("efficientnet_v2_l", {}, 64, weights)
        assert tuple(pixel_statistics(spec)[0]) == expected
    mean, std = pixel_statistics(NetworkSpec("resnet50", {}, 64, "IMAGENET1K_V2"))
    assert (tuple(mean), tuple(std)) == (MEAN, STD)


def test_weights_that_cannot_be_had(monkeypatch):
    with (
        weights_follow(),
        pytest.raises(InputError, match="no weights V3 of mobilenet_v3_small; expected one of IM"),
    ):
        TorchvisionEncoder(32, **SMALL, weights="V3")

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(models._api, "load_state_dict_from_url", offline)
    said = "cannot be had: .*no route.*downloaded before to .*checkpoints; set model.encoder.init"
    with pytest.raises(InputError, match=said):
        TorchvisionEncoder(32, **SMALL, weights="DEFAULT")


def test_a_node_that_gives_no_tensor():
    node = "encoder.layers.encoder_layer_0.self_attention"
    with pytest.raises(InputError, match=r"self_attention gives values of shape \[\]; expected a"):
        TorchvisionEncoder(64, name="vit_b_32", local_node=node, last_node="encoder.ln")


def test_images_that_patches_do_not_fill():
    nodes = dict.fromkeys(("local_node", "last_node"), "encoder.ln")
    with pytest.raises(InputError, match="images of 100 pixels are not for this network: Input sh"):
        TorchvisionEncoder(100, name="vit_b_32", **nodes)
