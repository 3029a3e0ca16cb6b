import numpy as np
import pytest
import torch
from PIL import Image
from small_methods import SIZE, batch, build, digits, gaussian, trainer

from dim_lightning.baselines import Supervised
from dim_lightning.data import Digits, ImageDataModule, PictureFolder
from dim_lightning.errors import InputError


def terms_of(module, one):
    return module.code_and_terms(one, torch.Generator())[1]


def test_the_loss_is_the_cross_entropy_of_the_classifier_on_the_code():
    module, one = build(Supervised, num_classes=4), batch()
    terms = terms_of(module, one)
    logits = module.classifier(module.encoder(one.images).mean).double()
    each = [
        -torch.log_softmax(row, 0)[label] for row, label in zip(logits, one.labels, strict=True)
    ]
    torch.testing.assert_close(terms["loss"], torch.stack(each).mean().float())
    assert terms["top1"] == (logits.argmax(1) == one.labels).float().mean()


def test_of_many_classes_it_also_says_how_often_five_guesses_are_enough():
    module, one = build(Supervised, num_classes=60), batch()
    assert "top5" not in terms_of(module, one)
    labels = one.labels.clone()
    labels[:2] = -1
    module.eval()
    scores = module.classifier(module.encoder(one.images).mean)
    five = [set(row.argsort()[-5:].tolist()) for row in scores[2:].detach()]
    right = [label in found for label, found in zip(labels[2:].tolist(), five, strict=True)]
    found = terms_of(module, one._replace(labels=labels))["top5"].item()
    assert found == pytest.approx(np.mean(right))
    assert "top5" not in terms_of(build(Supervised, num_classes=10).eval(), one)


def test_the_code_is_the_mean_without_noise():
    module, one = build(Supervised, encoder=gaussian), batch()
    code, terms = module.code_and_terms(one, torch.Generator())
    torch.testing.assert_close(code, module.encoder(one.images).mean)
    expected = torch.nn.functional.cross_entropy(module.classifier(code), one.labels)
    torch.testing.assert_close(terms["loss"], expected)


def test_images_without_a_label_have_no_part_in_it():
    module, one = build(Supervised).eval(), batch()
    labels = one.labels.clone()
    labels[5:] = -1
    some = one._replace(labels=labels)
    few = one._replace(images=one.images[:5], labels=one.labels[:5], indices=one.indices[:5])
    torch.testing.assert_close(terms_of(module, some), terms_of(module, few))
    assert terms_of(module, one._replace(labels=torch.full_like(labels, -1))) == {}


def test_the_number_of_classes_has_to_be_that_of_the_data(data_root):
    data = digits(data_root)
    data.setup("fit")
    build(Supervised).check_data(data, 8)
    with pytest.raises(InputError, match=r"model\.num_classes to 10"):
        build(Supervised, num_classes=7).check_data(data, 8)


def test_pictures_of_other_classes_are_no_matter_of_its_classifier():
    module, one = build(Supervised, num_classes=2).eval(), batch()
    assert one.labels.max() > 1
    module.is_transferred = True
    found = module.test_step(one, 0)
    torch.testing.assert_close(found["embedding"], module(one.images))
    assert "terms" not in found


def test_pictures_without_labels_are_refused(tmp_path):
    folder = tmp_path / "flat"
    folder.mkdir()
    for i in range(20):
        pixels = np.full((SIZE, SIZE, 3), i, np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    data = ImageDataModule(
        PictureFolder(str(folder)), root=str(tmp_path), image_size=SIZE, batch_size=4
    )
    data.setup("fit")
    with pytest.raises(InputError, match="learns from labels, and 14 of the training pictures"):
        build(Supervised).check_data(data, 4)


def test_a_few_pictures_without_labels_are_refused(data_root):
    data = digits(data_root)
    data.setup("fit")
    data.split("train").labels[[2, 5]] = -1
    with pytest.raises(InputError, match="and 2 of the training pictures have none"):
        build(Supervised).check_data(data, 8)


@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("test", "test")])
def test_a_split_has_labels_or_has_none(split, name, data_root):
    data = digits(data_root)
    data.setup("fit")
    data.split(split).labels[:] = -1
    build(Supervised).check_data(data, 8)
    data.split(split).labels[3:] = 0
    with pytest.raises(InputError, match=f"and 3 of the {name} pictures have none"):
        build(Supervised).check_data(data, 8)


def test_logits_of_half_precision_are_compared_in_float32():
    module, one = build(Supervised).bfloat16(), batch()
    terms = terms_of(module, one._replace(images=one.images.bfloat16()))
    assert terms["loss"].dtype == torch.float32


def test_one_class_is_refused_and_two_are_enough():
    assert build(Supervised, num_classes=2).classifier.out_features == 2
    with pytest.raises(InputError, match=r"model\.num_classes is 1; expected at least 2"):
        build(Supervised, num_classes=1)


class Renamed(ImageDataModule):
    """As where a file of labels, which may change at any time, spells a class otherwise."""

    def setup(self, stage=None):
        super().setup(stage)
        self.class_names = [*self.class_names[:-1], "nine"]


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_classifier_goes_on_with_the_classes_it_was_trained_on(data_root, tmp_path, command):
    path = tmp_path / "one.ckpt"
    run = trainer(tmp_path, max_epochs=1)
    run.fit(build(Supervised), digits(data_root))
    run.save_checkpoint(path)

    def goes_on(data):
        getattr(trainer(tmp_path, max_epochs=2), command)(build(Supervised), data, ckpt_path=path)

    goes_on(digits(data_root))
    others = Renamed(Digits(), root=str(data_root), image_size=SIZE, batch_size=512)
    with pytest.raises(InputError, match=r"and 9 stands where nine does in the 10 of .* rename"):
        goes_on(others)


def test_of_another_data_set_the_classes_may_be_others(data_root, tmp_path):
    run, module = trainer(tmp_path, max_epochs=1), build(Supervised)
    run.fit(module, digits(data_root))
    run.save_checkpoint(tmp_path / "one.ckpt")
    others = Renamed(Digits(), root=str(data_root), image_size=SIZE, batch_size=512)
    module.is_transferred = True
    trainer(tmp_path).test(module, others, ckpt_path=tmp_path / "one.ckpt")


def test_the_names_stay_where_the_data_do_not_say_them():
    module, checkpoint = build(Supervised), {}
    module._trained_classes = ["ant", "bee"]
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["class_names"] == ["ant", "bee"]
