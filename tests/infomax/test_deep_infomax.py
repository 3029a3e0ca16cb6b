from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from quiet import trainer

from dim_lightning.data import Batch, CropAndFlip, Digits, ImageDataModule
from dim_lightning.encoders import BlogEncoder, PaperEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import ImageCode, WholeMap
from dim_lightning.infomax.coordinates import Coordinates
from dim_lightning.infomax.critics import BilinearCritic, DotCritic
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.infomax.estimators import (
    donsker_varadhan,
    info_nce,
    jensen_shannon,
    n_way_nce,
    smile,
    squared_hellinger,
)
from dim_lightning.infomax.objective import Objective
from dim_lightning.infomax.occlusion import Occlusion
from dim_lightning.infomax.priors import AdversarialPrior, GaussianKL, NoiseInjection, SIGReg
from dim_lightning.optim import WarmupCosine

# a step outside a Trainer has nowhere to log to
pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


def small_encoder(image_size):
    return BlogEncoder(image_size, widths=(8, 16), embedding_dim=8)


def build(**settings):
    L.seed_everything(0, verbose=False)
    return DeepInfoMax(small_encoder, image_size=16, **settings)


def batch(num_images=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(num_images, 3, 16, 16, generator=generator)
    return Batch(images, torch.arange(num_images) % 3, torch.arange(num_images))


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def digits(data_root, **settings):
    return ImageDataModule(
        Digits(), root=data_root, **{"image_size": 16, "batch_size": 256, **settings}
    )


class Record(Callback):
    """Keeps every batch's terms."""

    def __init__(self):
        self.terms = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.terms.append({name: term.item() for name, term in outputs["terms"].items()})


def test_a_validation_batch_of_one_image_has_a_code_and_no_terms():
    output = build().eval().validation_step(batch(1), 0)
    assert output["embedding"].shape == (1, 8)
    assert "terms" not in output


@pytest.mark.parametrize(
    ("weights", "built"),
    [
        ({"global_weight": 0.0}, {"local"}),
        ({"local_weight": 0.0}, {"global"}),
        ({}, {"global", "local"}),
        ({"patch_weight": 1.0, "global_weight": 0.0}, {"local", "patches"}),
    ],
)
def test_nothing_of_an_unused_critic_is_built(weights, built):
    objective = build(**weights).objective
    assert isinstance(objective, Objective)
    names = {name.split(".")[1] for name, _ in objective.named_parameters()}
    assert set(objective.contrasts) == names == built
    assert objective.coordinates is None


def test_a_prior_of_weight_zero_is_not_built():
    module = build(prior_weight=0.0)
    assert module.objective.prior is None
    assert module.code_prior is None


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (GaussianKL, "gaussian"),
        (SIGReg, "gaussian"),
        (AdversarialPrior, "uniform"),
        (partial(AdversarialPrior, target="gaussian"), "gaussian"),
        (NoiseInjection, None),
        (partial(NoiseInjection, target="uniform"), "uniform"),
    ],
)
def test_what_the_codes_are_drawn_to_is_said(prior, expected):
    assert build(prior=prior).code_prior == expected


dot = partial(DotCritic, width=16)
GOLDEN = {
    "blog": ({}, {"loss": 2.784091, "global": -1.386358, "local": -1.387304, "prior": 0.995663}),
    "script": (
        {"global_aspect": ImageCode},
        {"loss": 2.784499, "global": -1.382409, "local": -1.388892, "prior": 0.995663},
    ),
    "paper": (
        {
            "global_weight": 0.0,
            "local_weight": 1.0,
            "prior_weight": 0.1,
            "estimator": info_nce,
            "num_negatives": "all",
            "local_critic": dot,
            "prior": AdversarialPrior,
        },
        {"loss": 1.557552, "local": -0.103517, "prior": 0.681884, "discriminator": 1.385847},
    ),
    "structure": (
        {
            "global_aspect": WholeMap,
            "patch_weight": 0.5,
            "patch_critic": BilinearCritic,
            "coordinate_weight": 0.1,
            "coordinates": partial(Coordinates, width=16),
            "occlusion": Occlusion(),
            "num_locations": 4,
            "score_penalty": 0.01,
        },
        {
            "loss": 4.295749,
            "global": -1.38659,
            "penalty": 0.287665,
            "local": -1.387247,
            "patches": -1.627049,
            "coordinates": 2.867292,
            "relative_coordinates": 4.084914,
            "prior": 0.996146,
        },
    ),
    "sigreg": (
        {"prior": SIGReg, "estimator": squared_hellinger, "num_negatives": 3},
        {"loss": 0.062884, "global": -0.000103, "local": -0.006088, "prior": 5.369951},
    ),
    "noise": (
        {"prior": NoiseInjection, "estimator": donsker_varadhan, "report": [smile]},
        {
            "loss": 0.001525,
            "global": 2.1e-05,
            "global_smile": 2.1e-05,
            "local": -0.001023,
            "local_smile": -0.001023,
        },
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_first_losses(name):
    """A change of the mathematics, the initialisation or the draws shows here first."""
    settings, golden = GOLDEN[name]
    terms = build(**settings).training_step(batch(), 0)["terms"]
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(golden, rel=1e-5, abs=2e-6)


def two_views(num_images=8):
    one = batch(num_images)
    other = torch.rand(one.images.shape, generator=torch.Generator().manual_seed(1))
    return one._replace(more_views=(other,))


def test_each_view_meets_the_code_of_the_other_and_never_its_own():
    module = build(estimator=n_way_nce, num_negatives="all").eval()
    one = two_views()
    views, pairs = module.views_of((one.images, *one.more_views), torch.Generator())
    assert pairs == [(0, 1), (1, 0)]
    assert torch.equal(views[1].images, one.more_views[0])
    assert set(module.training_step(one, 0)["terms"]) == {"loss", "global", "local", "prior"}


def test_data_of_several_views_is_what_it_can_use(data_root):
    build().check_data(digits(data_root, augmentation=CropAndFlip(), num_views=2), 8)


def test_small_views_give_codes_and_no_images():
    module = build().eval()
    one = two_views()
    # of growing views those of the first epochs may be as small; one's own batch may not say it
    for side, num_small in ((8, 1), (16, 1), (8, 0)):
        small = torch.rand(8, 3, side, side)
        images = (one.images, *one.more_views, small)
        views, pairs = module.views_of(images, torch.Generator(), num_small)
        assert len(views) == 3
        assert pairs == [(0, 1), (0, 2), (1, 0), (1, 2)]


def test_running_statistics_are_those_of_whole_images():
    """Evaluation sees whole images: small views, of which there are more, would outweigh them."""
    one, small = two_views(), torch.rand(8, 3, 8, 8)

    def statistics(images, num_small):
        module = build()
        module.views_of(images, torch.Generator(), num_small)
        momenta = {part.momentum for part in module.modules() if hasattr(part, "momentum")}
        assert 0.0 not in momenta
        named = module.encoder.named_buffers()
        return {name: buffer.clone() for name, buffer in named if "running" in name}

    large = (one.images, *one.more_views)
    expected, found = statistics(large, 0), statistics((*large, small), 1)
    assert expected
    assert all(torch.equal(found[name], buffer) for name, buffer in expected.items())
    mixed = statistics((*large, one.images.flip(-1)), 0)
    assert any(not torch.equal(mixed[name], buffer) for name, buffer in expected.items())


def test_a_batch_says_which_of_its_views_are_small():
    module, one = build().eval(), two_views()
    three = one._replace(more_views=one.more_views * 2)
    met = []
    module.objective.register_forward_pre_hook(lambda _, given: met.append(given[1]))
    for num_small in (0, 1):
        small_views = three.more_views[2 - num_small :]
        module.training_step(three._replace(small_views=small_views), 0)
    every = [(a, b) for a in range(3) for b in range(3) if a != b]
    assert met == [every, [pair for pair in every if pair[0] != 2]]


def test_occluded_images_give_the_codes_and_whole_ones_the_maps():
    module = build(occlusion=Occlusion(fill=1.0)).eval()
    images = batch().images
    views, pairs = module.views_of([images], torch.Generator().manual_seed(0))
    assert pairs == [(0, 1)]
    assert torch.equal(views[0].images, images)
    hidden = (views[1].images != images).any(1)
    assert hidden.flatten(1).any(1).all()
    assert (views[1].images.movedim(1, -1)[hidden] == 1).all()
    embedding = module.training_step(batch(), 0)["embedding"]
    torch.testing.assert_close(embedding, module.encoder(images).mean)


def test_of_several_views_each_is_occluded_in_its_place():
    module, one = build(occlusion=Occlusion(fill=1.0)).eval(), two_views()
    views, pairs = module.views_of((one.images, *one.more_views), torch.Generator())
    assert pairs == [(0, 3), (1, 2)]
    for whole, occluded in zip(views[:2], views[2:], strict=True):
        assert ((occluded.images == whole.images) | (occluded.images == 1)).all()


@pytest.mark.parametrize(
    ("num_whole", "expected"),
    [(1, [(0, 1), (0, 2)]), (2, [(0, 3), (0, 4), (0, 5), (1, 2), (1, 4), (1, 5)])],
)
def test_views_that_no_term_looks_at_are_not_encoded(num_whole, expected):
    """Occluded small views give codes; nothing is made of them as they are."""
    module, one = build(occlusion=Occlusion()).eval(), two_views()
    met = []
    module.encoder.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    images = [*(one.images, *one.more_views)[:num_whole], *torch.rand(2, 8, 3, 8, 8)]
    views, pairs = module.views_of(images, torch.Generator(), num_small=2)
    assert pairs == expected
    assert len(met) == len(views) == 1 + max(place for pair in pairs for place in pair)
    assert all(torch.equal(views[a].images, images[a]) for a, _ in pairs)


def test_without_a_prior_codes_are_drawn_from_what_the_encoder_says():
    module = build(prior_weight=0.0).eval()
    (view,), _ = module.views_of([batch().images], torch.Generator().manual_seed(3))
    expected = view.features.sample(torch.Generator().manual_seed(3))
    torch.testing.assert_close(view.code, expected)
    assert not torch.isclose(view.code, view.features.mean).any()


def test_several_scales_make_one_local_term_of_their_mean():
    L.seed_everything(0, verbose=False)
    encoder = partial(BlogEncoder, widths=(8, 16), embedding_dim=8, scales=1)
    module = DeepInfoMax(encoder, image_size=16, global_weight=0.0, num_negatives="all").eval()
    contrasts = module.objective.contrasts["local"]
    assert [c.aspect.dim for c in contrasts] == [16, 8]
    views, pairs = module.views_of([batch().images], torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)
    terms = module.objective(views, pairs, draws)
    each = [jensen_shannon(c(views[0], views[0], None, draws)) for c in contrasts]
    torch.testing.assert_close(terms["local"], torch.stack(each).mean())


@pytest.mark.parametrize("prior", [GaussianKL, lambda code_dim: GaussianKL(code_dim)])
def test_a_deterministic_encoder_and_the_gaussian_kl_are_refused(prior):
    """Also where the prior comes from the command line, which gives a function that makes it."""
    encoder = partial(PaperEncoder, widths=(4, 4, 4), hidden_dim=8)
    with pytest.raises(InputError, match="deterministic"):
        DeepInfoMax(encoder, prior=prior, image_size=16)
    DeepInfoMax(encoder, prior=prior, prior_weight=0.0, image_size=16)


@pytest.mark.parametrize(
    ("settings", "views", "fits"),
    [
        ({}, 1, False),
        ({}, 2, True),
        ({"occlusion": Occlusion()}, 1, True),
        ({"global_aspect": WholeMap}, 1, True),
        ({"global_weight": 0.0}, 1, True),
        ({"prior": GaussianKL}, 1, True),
    ],
)
def test_noise_that_is_in_both_sides_of_a_pair_is_refused(settings, views, fits, data_root):
    """A critic of such pairs finds more nats than the noise lets through."""
    module = build(**{"prior": NoiseInjection, "global_aspect": ImageCode, **settings})
    data = digits(data_root, augmentation=CropAndFlip(), num_views=views)
    if fits:
        module.check_data(data, 8)
    else:
        with pytest.raises(InputError, match="one code with one noise"):
            module.check_data(data, 8)


@pytest.mark.parametrize(("num_negatives", "fits"), [(7, True), (8, False), ("all", True)])
def test_more_negatives_than_other_images_are_refused(num_negatives, fits, data_root):
    module, data = build(num_negatives=num_negatives), digits(data_root)
    if fits:
        module.check_data(data, 8)
    else:
        with pytest.raises(InputError, match="num_negatives"):
            module.check_data(data, 8)


@pytest.mark.parametrize(("num_negatives", "enough"), [(5, 6), ("all", 2)])
def test_a_validation_batch_with_too_few_images_has_a_code_and_no_terms(num_negatives, enough):
    module = build(num_negatives=num_negatives).eval()
    assert "terms" not in module.validation_step(batch(enough - 1), 0)
    assert "terms" in module.validation_step(batch(enough), 0)


def test_a_training_batch_with_too_few_images_is_refused():
    with pytest.raises(InputError, match=r"data\.batch_size"):
        build().training_step(batch(1), 0)


def test_training_lowers_the_loss_and_is_repeatable(tmp_path, data_root):
    runs = []
    for _ in range(2):
        record = Record()
        L.seed_everything(0, verbose=False)
        module = DeepInfoMax(
            partial(BlogEncoder, widths=(16, 32), embedding_dim=32),
            image_size=16,
            optimizer=partial(torch.optim.Adam, lr=3e-3),
        )
        trainer(tmp_path, max_epochs=4, callbacks=[record]).fit(
            module, digits(data_root, batch_size=32)
        )
        runs.append((record.terms, module.state_dict()))
    (terms, state), (again, state_again) = runs
    assert terms == again
    assert all(torch.equal(state[name], state_again[name]) for name in state)
    last = [step["loss"] for step in terms[-10:]]
    assert sum(last) / 10 < terms[0]["loss"] - 0.5


def test_a_checkpoint_of_other_parts_is_refused(tmp_path, data_root):
    parts = {
        "encoder": partial(BlogEncoder, pixel_range=(-1.0, 1.0)),  # of the default's shapes
        "estimator": info_nce,
        "prior": SIGReg,
    }
    free = {"optimizer": partial(torch.optim.SGD, lr=0.1), "report": [smile]}
    one = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    module = DeepInfoMax(**parts, **free, global_weight=0.0, image_size=16)
    one.fit(module, digits(data_root, batch_size=8))
    path = tmp_path / "one.ckpt"
    one.save_checkpoint(path)
    with pytest.raises(InputError) as refused:
        DeepInfoMax.load_from_checkpoint(path)
    encoder = "partial(dim_lightning.encoders.blog.BlogEncoder, pixel_range=(-1.0, 1.0))"
    assert f"encoder was {encoder}, here it is dim_lightning" in str(refused.value)
    assert (
        f"load_from_checkpoint(path, encoder={encoder}, "
        "estimator=dim_lightning.infomax.estimators.info_nce, "
        "prior=dim_lightning.infomax.priors.sigreg.SIGReg, "
        "optimizer=partial(torch.optim.sgd.SGD, lr=0.1))"
    ) in str(refused.value)
    with pytest.raises(InputError, match=r"prior was .*SIGReg, here it is .*GaussianKL"):
        trainer(tmp_path).test(
            DeepInfoMax(**{**parts, "prior": GaussianKL}, global_weight=0.0, image_size=16),
            digits(data_root), ckpt_path=path, weights_only=True,
        )  # fmt: skip
    loaded = DeepInfoMax.load_from_checkpoint(path, **parts)
    images = batch().images
    torch.testing.assert_close(loaded.eval()(images), module.cpu().eval()(images))


def test_the_schedule_ends_with_the_training(tmp_path):
    module = build(lr_scheduler=partial(WarmupCosine, warmup=0.5))
    rates = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    datamodule = ImageDataModule(Digits(), root=str(tmp_path), image_size=16, batch_size=400)
    trainer(tmp_path, max_epochs=2, callbacks=[Watch()]).fit(module, datamodule)
    assert rates[0] == pytest.approx(1e-3 / 3)
    assert rates[2] == pytest.approx(1e-3)
    assert rates == sorted(rates[:3]) + sorted(rates[3:], reverse=True)
    assert len(rates) == 6


def test_a_fused_optimiser_can_be_clipped(tmp_path, data_root):
    weights = []
    for fused in (False, True):
        module = build(optimizer=partial(torch.optim.Adam, lr=1e-3, fused=fused))
        one = trainer(
            tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=0,
            gradient_clip_val=1e-3, precision="bf16-mixed",
        )  # fmt: skip
        one.fit(module, digits(data_root))
        weights.append(module.encoder.mean.weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)


def test_only_what_is_written_is_logged(tmp_path, data_root):
    module = build()
    calls = []
    logged = module.log_dict
    module.log_dict = lambda *args, **kwargs: (
        calls.append(module.global_step),
        logged(*args, **kwargs),
    )
    trainer(tmp_path, max_epochs=1, log_every_n_steps=2, limit_val_batches=0).fit(
        module, digits(data_root, batch_size=300)
    )
    assert calls == [1, 3]


@pytest.mark.parametrize("name", ["encoder", "local_critic", "global_aspect", "prior"])
def test_an_object_in_place_of_what_makes_it_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is an object of class Linear; .*functools"):
        DeepInfoMax(image_size=16, **{name: torch.nn.Linear(2, 2)})


def test_a_critic_is_looked_at_when_the_method_is_built():
    class Sums(DotCritic):
        def pair(self, source, code):
            return super().pair(source, code).sum(-1)

    for name in ("local_critic", "global_critic"):
        with pytest.raises(InputError, match=r"Sums\.pair gives scores"):
            DeepInfoMax(image_size=16, **{name: Sums})


class WithoutDim(WholeMap):
    """An aspect of one's own that forgot the size of its sources."""

    def __init__(self, shape, code_dim):
        super().__init__(shape, code_dim)
        del self.dim


def test_an_aspect_without_the_size_of_its_sources_is_refused():
    with pytest.raises(InputError, match=r"WithoutDim has no dim; .* set self\.dim"):
        DeepInfoMax(global_aspect=WithoutDim)
