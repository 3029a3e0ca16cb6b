import numpy as np
import pytest
import torch
from PIL import Image

from dim_lightning.callbacks.pictures import Block, write_grid, write_statistics
from dim_lightning.errors import InputError
from dim_lightning.evaluation import geometry_of
from dim_lightning.evaluation.code_prior import CODE_PRIORS

GREEN, RED = (34, 150, 84), (208, 58, 52)


def images(rows=2, columns=3, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, columns, 3, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def drawn(path, *blocks, **options):
    write_grid(path, "title", "subtitle", list(blocks), **options)
    with Image.open(path) as picture:
        return np.asarray(picture)


def find(page, wanted):
    """Where the array `wanted` stands in the page; None if nowhere."""
    height, width = wanted.shape[:2]
    for y, x in np.argwhere((page == wanted[0, 0]).all(axis=2)):
        if np.array_equal(page[y : y + height, x : x + width], wanted):
            return int(y), int(x)
    return None


@pytest.mark.parametrize(("size", "factor"), [(8, 12), (16, 6), (28, 4), (32, 3), (64, 2)])
def test_small_pictures_are_enlarged_without_smoothing(tmp_path, size, factor):
    block = Block("pictures", images(1, 1, size))
    page = drawn(tmp_path / "grid.png", block)
    pixels = block.images[0, 0].permute(1, 2, 0).numpy()
    assert find(page, pixels.repeat(factor, axis=0).repeat(factor, axis=1)) is not None


def test_large_pictures_are_reduced(tmp_path):
    page = drawn(tmp_path / "grid.png", Block("pictures", images(1, 2, 300)))
    assert page.shape[0] < 400
    assert page.shape[1] < 400


def test_a_caption_is_drawn_in_one_line(tmp_path):
    """The name of a class is that of a folder, which may have the end of a line in it."""
    pages = [
        drawn(tmp_path / "grid.png", Block("", images(1, 1), [[caption]]))
        for caption in ("Cats and\ndogs\n", "Cats and dogs")
    ]
    assert np.array_equal(*pages)


def test_pictures_stand_in_order(tmp_path):
    block = Block("pictures", images(2, 3))
    page = drawn(tmp_path / "grid.png", Block("query", images(2, 1, seed=1)), block)
    places = [
        find(page, tile.permute(1, 2, 0).numpy().repeat(3, axis=0).repeat(3, axis=1))
        for tile in block.images.flatten(0, 1)
    ]
    assert places == sorted(places)
    assert len({y for y, _ in places}) == 2
    assert len({x for _, x in places}) == 3


def test_frames_have_the_colour_of_their_picture(tmp_path):
    right = [[True, False, True], [False, None, True]]
    block = Block("pictures", images(2, 3), right=right)
    page = drawn(tmp_path / "grid.png", block)
    for row in range(2):
        for column in range(3):
            tile = block.images[row, column].permute(1, 2, 0).numpy()
            y, x = find(page, tile.repeat(3, axis=0).repeat(3, axis=1))
            frame = np.concatenate([page[y - 4 : y, x], page[y, x + 96 : x + 100]])
            colour = {True: GREEN, False: RED, None: page[0, 0]}[right[row][column]]
            assert (frame == colour).all()


def test_without_frames_nothing_is_green_or_red(tmp_path):
    grey = torch.full((1, 2, 3, 32, 32), 128, dtype=torch.uint8)
    page = drawn(tmp_path / "grid.png", Block("pictures", grey))
    assert not (page == GREEN).all(axis=2).any()
    assert not (page == RED).all(axis=2).any()
    page = drawn(tmp_path / "grid.png", Block("pictures", grey), legend=True)
    assert (page == GREEN).all(axis=2).any()


def test_captions_are_cut_to_the_width_of_their_picture(tmp_path):
    captions = [["a name that is much too long for a small picture", ""]]
    grey = torch.full((1, 2, 3, 32, 32), 255, dtype=torch.uint8)
    page = drawn(tmp_path / "grid.png", Block("", grey, captions))
    below = page[24 + 86 + 96 + 8 :]
    columns = np.flatnonzero((below < 200).any(axis=(0, 2)))
    assert columns.size > 0
    assert columns.max() < 24 + 104


def test_a_long_subtitle_fits_on_the_page(tmp_path):
    path = tmp_path / "grid.png"
    write_grid(path, "t", "word " * 60, [Block("", images(1, 1))])
    with Image.open(path) as picture:
        assert (np.asarray(picture)[:, -10:] == 255).all()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "pictures").write_text("a file in the way")
    with pytest.raises(InputError, match="pictures"):
        write_grid(tmp_path / "pictures" / "grid.png", "t", "s", [Block("", images())])


@pytest.mark.parametrize(
    "codes",
    [
        torch.randn(100, 5, generator=torch.Generator().manual_seed(0)),
        torch.zeros(10, 3),
        100 * torch.ones(10, 1),
        torch.randn(3, 64, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["prior", "nothing", "one dimension", "few images"],
)
@pytest.mark.parametrize("prior", [None, "gaussian", "uniform"])
def test_statistics_of_any_codes_can_be_drawn(tmp_path, codes, prior):
    path = tmp_path / "new" / "statistics.png"
    write_statistics(path, geometry_of(codes), codes, "codes", CODE_PRIORS.get(prior))
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    assert [p.name for p in path.parent.iterdir()] == ["statistics.png"]
