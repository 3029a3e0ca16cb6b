import numpy as np
import pytest
import torch
from PIL import Image
from small_methods import SIZE, batch, build, digits

from dim_lightning.baselines import Supervised
from dim_lightning.data import ImageDataModule, PictureFolder
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


def test_images_without_a_label_have_no_part_in_it():
    module, one = build(Supervised).eval(), batch()
    labels = one.labels.clone()
    labels[5:] = -1
    some = one._replace(labels=labels)
    few = one._replace(images=one.images[:5], labels=one.labels[:5], indices=one.indices[:5])
    torch.testing.assert_close(terms_of(module, some)["loss"], terms_of(module, few)["loss"])
    assert terms_of(module, one._replace(labels=torch.full_like(labels, -1))) == {}


def test_the_number_of_classes_has_to_be_that_of_the_data(data_root):
    data = digits(data_root)
    data.setup("fit")
    build(Supervised).check_data(data, 8)
    with pytest.raises(InputError, match=r"model\.num_classes to 10"):
        build(Supervised, num_classes=7).check_data(data, 8)


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
    with pytest.raises(InputError, match="learns from labels, and"):
        build(Supervised).check_data(data, 4)
