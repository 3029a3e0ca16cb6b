import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import Trainer
from torch import nn

from dim_lightning.data import CropAndFlip, Digits, ImageDataModule, PictureFolder
from dim_lightning.data.checks import check_predicted, check_source, check_views
from dim_lightning.data.splits import check_sizes
from dim_lightning.errors import InputError


def test_fewer_images_than_a_batch_is_told_when_training(tmp_path):
    datamodule = ImageDataModule(Digits(), root=str(tmp_path), image_size=8, batch_size=1295)
    datamodule.prepare_data()
    datamodule.setup("test")  # reads what it can: no training batch is asked for
    with pytest.raises(InputError, match=r"1294 training images are fewer than a batch of 1295"):
        datamodule.setup("fit")


def test_a_single_image_in_a_batch_has_no_negatives():
    with pytest.raises(InputError, match=r"data\.batch_size is 1; expected at least 2"):
        ImageDataModule(batch_size=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 0},
        {"eval_batch_size": 1},
        {"seed": -1},
        {"split_seed": -1},
        {"num_workers": -1},
        {"validation_fraction": 0.0},
        {"validation_fraction": 1.0},
        {"test_fraction": float("nan")},
        {"max_unreadable": 1.0},
        {"max_unreadable": -0.01},
    ],
)
def test_impossible_numbers_are_named(settings):
    (name,) = settings
    with pytest.raises(InputError, match=rf"data\.{name} is .*; expected .*; set data\.{name}"):
        ImageDataModule(**settings)


@pytest.mark.parametrize(
    ("source", "said"), [(Digits, "the class Digits"), ("pics", "'pics'"), (None, "None")]
)
def test_what_is_no_source_is_told(source, said):
    with pytest.raises(InputError, match=rf"data\.source is {said}; expected .*PictureFolder\("):
        check_source(source)


def test_pictures_to_predict_go_by_the_names_of_parts():
    with pytest.raises(InputError, match="is 'val'; expected train, test, all or null"):
        check_predicted("val")


def test_too_few_pictures_for_three_splits_are_told(tmp_path, draw):
    for i in range(5):
        draw(tmp_path / "few" / f"{i}.png")
    source = PictureFolder(str(tmp_path / "few"))
    datamodule = ImageDataModule(source, root=str(tmp_path), image_size=8, batch_size=2)
    datamodule.prepare_data()
    with pytest.raises(InputError, match=r"5 training pictures leave 0 for the split val"):
        datamodule.setup()


@pytest.mark.parametrize(
    ("split", "advice"),
    [
        ("train", "lower data.validation_fraction and data.test_fraction"),
        ("val", "raise data.validation_fraction or lower data.test_fraction"),
        ("test", "raise data.test_fraction"),
    ],
)
def test_what_gives_a_split_more_pictures_is_told(split, advice):
    with pytest.raises(InputError, match=rf"for the split {split}; .* or {advice}$"):
        check_sizes(9, {"train": 5, "val": 2, "test": 2, split: 1})


def test_a_split_without_labels_is_told_where_others_have_some(tmp_path, class_folders):
    (tmp_path / "labels.csv").write_text("path,label\nant/0.png,a\n")
    source = PictureFolder(str(class_folders), labels=str(tmp_path / "labels.csv"))
    datamodule = ImageDataModule(source, root=str(tmp_path), image_size=8, batch_size=2)
    with pytest.raises(InputError, match=r"none of the \d+ pictures of the split \w+ has a label"):
        datamodule.setup()
    datamodule.setup("predict")


def test_how_many_pictures_may_be_unreadable_is_a_setting(class_folders, tmp_path):
    for number in range(3):
        (class_folders / "ant" / f"{number}.png").write_bytes(b"nothing")
    source = PictureFolder(str(class_folders))
    settings = {"root": str(tmp_path), "image_size": 8, "batch_size": 2}
    with pytest.raises(
        InputError,
        match=r"3 of 30 pictures.*fewer than 10%;.*max_unreadable.*anew.*shard`",
    ):
        ImageDataModule(source, **settings, max_unreadable=0.1).prepare_data()
    data = ImageDataModule(source, **settings, max_unreadable=0.2)
    data.prepare_data()
    assert data._cached.parts == {"train": 27}


def test_a_single_picture_is_enough_to_predict(tmp_path, draw):
    draw(tmp_path / "one" / "0.png")
    source = PictureFolder(str(tmp_path / "one"))
    datamodule = ImageDataModule(source, root=str(tmp_path), image_size=8, batch_size=2)
    datamodule.setup("predict")
    assert [batch.images.shape for batch in datamodule.predict_dataloader()] == [(1, 3, 8, 8)]
    datamodule.predicted = "test"
    with pytest.raises(InputError, match="is test, and no picture is; set it to all"):
        datamodule.predict_dataloader()
    with pytest.raises(InputError, match=r"1 training picture leaves 1 for the split train"):
        datamodule.setup("validate")


@pytest.fixture(params=["yaml", "omegaconf+"])
def parser(request):
    made = ArgumentParser(exit_on_error=False, parser_mode=request.param)
    made.add_class_arguments(ImageDataModule, "data")
    return made


def built(parser, *arguments):
    return parser.instantiate(parser.parse_args(list(arguments))).data


def test_the_digits_are_the_default(parser):
    assert isinstance(built(parser).source, Digits)
    assert "class_path: dim_lightning.data.Digits" in parser.dump(parser.parse_args([]))
    assert "data.source" in parser.format_help()


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "STL10", "TinyImageNet", "Digits"])
def test_sources_go_by_their_short_names(parser, name):
    assert type(built(parser, "--data.source", name).source).__name__ == name


def test_settings_of_a_source_are_given_with_or_without_init_args(parser):
    for key in ("data.source.init_args.path", "data.source.path"):
        source = built(parser, "--data.source", "PictureFolder", f"--{key}", "here").source
        assert isinstance(source, PictureFolder)
        assert source.path == "here"


def test_a_dump_builds_the_same(parser):
    arguments = ["--data.source=PictureFolder", "--data.source.path=here"]
    arguments += ["--data.augmentation=CropAndFlip", "--data.augmentation.shift=2"]
    text = parser.dump(parser.parse_args(arguments))
    again = parser.instantiate(parser.parse_string(text)).data
    assert again.source.path == "here"
    assert isinstance(again.augmentation, CropAndFlip)
    assert again.augmentation.shift == 2


@pytest.mark.parametrize("prefix", ["", "small_"])
@pytest.mark.parametrize(
    ("given", "said"),
    [(nn.Identity(), r"Identity\(\)"), (CropAndFlip, "the class CropAndFlip"), ("flip", "'flip'")],
)
def test_what_is_no_augmentation_is_told(prefix, given, said):
    with pytest.raises(InputError, match=rf"data\.{prefix}augmentation is {said}; expected"):
        check_views(f"{prefix}views", 1, 1, given)


@pytest.mark.parametrize("kind", [None, "cpu", "cuda"])
def test_batches_lie_in_pinned_memory_where_a_gpu_trains(kind, tmp_path, monkeypatch):
    data = ImageDataModule(Digits(), root=str(tmp_path), image_size=8)
    data.setup("fit")
    if kind is not None:
        data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        data.trainer.strategy._root_device = torch.device(kind)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    loaders = [data.train_dataloader(), data.val_dataloader(), data.clean_dataloader("train")]
    assert [loader.pin_memory for loader in loaders] == [kind == "cuda"] * 3
