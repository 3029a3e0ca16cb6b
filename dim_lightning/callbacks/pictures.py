"""Drawing: grids of neighbours, and the statistics of the codes against their prior."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from dim_lightning.evaluation import CodeStatistics
from dim_lightning.evaluation.code_prior import CodePrior
from dim_lightning.run.curves import figure_png, font
from dim_lightning.writing import explained, write_atomically

_RIGHT, _WRONG = (34, 150, 84), (208, 58, 52)
_INK, _FAINT, _PAPER = (28, 32, 38), (110, 118, 128), (255, 255, 255)
_TILE = 96  # wanted side of a picture on the page
_FRAME, _GAP, _BLOCK_GAP, _MARGIN = 4, 6, 22, 24
_LEGEND_WIDTH = 300


class Block(NamedTuple):
    """Columns of a grid that belong together.

    Attributes:
        heading: stands above the columns.
        images: [rows, columns, 3, h, w].
        captions: below each picture, or None.
        right: whether to frame each picture green (True) or red (False); None for no frame, or
            for none at all.
    """

    heading: str
    images: UInt8[Tensor, "rows columns 3 h w"]
    captions: Sequence[Sequence[str]] | None = None
    right: Sequence[Sequence[bool | None]] | None = None


def write_grid(
    path: Path, title: str, subtitle: str, blocks: Sequence[Block], legend: bool = False
) -> None:
    """Draws blocks of pictures side by side, row by row, as a PNG.

    Small pictures are enlarged by a whole factor without smoothing, large ones reduced.

    Args:
        path: the file, put in place whole.
        title: first line.
        subtitle: second line, fainter.
        blocks: all of the same number of rows and the same size of picture.
        legend: whether to explain the frames.

    Raises:
        InputError: if the file cannot be written.
    """
    rows = len(blocks[0].images)
    tile = _tile_size(blocks[0].images.shape[-2:])
    caption = 17 if any(block.captions for block in blocks) else 0
    pitch_x, pitch_y = tile[0] + 2 * _FRAME + _GAP, tile[1] + 2 * _FRAME + _GAP + caption
    columns = sum(block.images.shape[1] for block in blocks)
    width = 2 * _MARGIN + columns * pitch_x - _GAP + (len(blocks) - 1) * _BLOCK_GAP
    width = max(width, 2 * _MARGIN + _head_width(title, subtitle, legend))
    head = _MARGIN + 86
    page = Image.new("RGB", (width, head + rows * pitch_y + _MARGIN - _GAP), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN - 6), title, _INK, font(22, bold=True))
    draw.text((_MARGIN, _MARGIN + 26), subtitle, _FAINT, font(15))
    if legend:
        _draw_legend(draw, width)
    left = _MARGIN
    for block in blocks:
        draw.text((left + _FRAME, head - 24), block.heading, _INK, font(14, bold=True))
        for row in range(rows):
            for column in range(block.images.shape[1]):
                corner = (left + column * pitch_x, head + row * pitch_y)
                _draw_picture(page, draw, block, row, column, corner, tile)
        left += block.images.shape[1] * pitch_x + _BLOCK_GAP
    _save(page, path)


def write_statistics(
    path: Path, geometry: CodeStatistics, codes: Tensor, subtitle: str, prior: CodePrior | None
) -> None:
    """Draws means, spreads, histogram and spectrum of the codes beside their prior, as PNG.

    Args:
        path: the file, put in place whole.
        geometry: of the codes.
        codes: [n, d], drawn from p(z|x): what the prior is about.
        subtitle: which codes these are.
        prior: what the method draws them to; None if to nothing.

    Raises:
        InputError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), dpi=110)
    against = f"against their prior, {prior.name}" if prior else "of a method without a prior"
    title = f"Codes {against}: {subtitle}"
    figure.suptitle(title, x=0.012, y=0.985, ha="left", fontsize=14, fontweight="bold")
    # the labels are of a known size: a layout engine would draw everything once more
    margins = {"left": 0.065, "right": 0.985, "bottom": 0.07, "top": 0.9}
    axes = figure.subplots(2, 2, gridspec_kw={**margins, "wspace": 0.2, "hspace": 0.3})
    _plot_means(axes[0, 0], geometry)
    _plot_spreads(axes[0, 1], geometry, prior)
    _plot_histogram(axes[1, 0], codes, prior)
    _plot_spectrum(axes[1, 1], geometry)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    _write(path, figure_png(figure))


_BLUE, _ORANGE, _GREY = "#2f6db5", "#d9822b", "#8a919b"


def _plot_means(axis: Any, geometry: CodeStatistics) -> None:
    means = geometry.mean.sort().values.numpy()
    axis.bar(np.arange(len(means)), means, width=1.0, color=_BLUE)
    axis.axhline(0, color=_GREY, linewidth=1)
    limit = max(0.25, 1.1 * float(np.abs(means).max()))
    axis.set(
        title=f"Means: {np.abs(means).mean():.3f} from 0 on average",
        xlabel="dimension, sorted by mean",
        ylabel="mean",
        ylim=(-limit, limit),
    )


def _plot_spreads(axis: Any, geometry: CodeStatistics, prior: CodePrior | None) -> None:
    order = geometry.std.argsort(descending=True)
    index = np.arange(len(order))
    axis.plot(index, geometry.std[order], color=_BLUE, label="of the mean codes", linewidth=2)
    axis.plot(
        index, geometry.aggregate_std[order], color=_ORANGE, label="of drawn codes", linewidth=1.5
    )
    if prior:
        text = f"prior: {prior.std:.4g}"
        axis.axhline(prior.std, color=_GREY, linestyle="--", linewidth=1, label=text)
    average = geometry.aggregate_std.mean().item()
    axis.set(
        title=f"Standard deviations: {average:.3f} on average, of drawn codes",
        xlabel="dimension, sorted by spread of the mean codes",
        ylabel="standard deviation",
    )
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=9, loc="upper right")


def _plot_histogram(axis: Any, codes: Tensor, prior: CodePrior | None) -> None:
    values = codes.flatten().numpy()
    limit = 5 * prior.std if prior else max(float(np.quantile(np.abs(values), 0.999)), 1e-6)
    grid = np.linspace(-limit, limit, 401)
    bins = np.linspace(-limit, limit, 101)
    outside = float((np.abs(values) > limit).mean())
    density = np.histogram(values, bins)[0] / (len(values) * (bins[1] - bins[0]))
    axis.stairs(density, bins, fill=True, color=_ORANGE, alpha=0.45, label="drawn codes")
    if prior:
        expected = prior.density(grid)
        axis.plot(grid, expected, color=_GREY, linestyle="--", linewidth=1.5, label="prior")
    axis.set(
        title="All coordinates of the drawn codes"
        + (f" ({outside:.1%} lie beyond ±{limit:.3g})" if outside > 0 else ""),
        xlabel="value",
        ylabel="density",
        xlim=(-limit, limit),
    )
    axis.legend(frameon=False, fontsize=9, loc="upper right")


def _plot_spectrum(axis: Any, geometry: CodeStatistics) -> None:
    values = geometry.singular_values.numpy()
    relative = np.maximum(values / max(float(values[0]), 1e-30), 1e-8)
    index = np.arange(1, len(values) + 1)
    axis.semilogy(index, relative, color=_BLUE, linewidth=2)
    axis.axvline(geometry.effective_rank, color=_ORANGE, linewidth=1.5)
    axis.annotate(
        f" effective rank {geometry.effective_rank:.1f} of {len(values)} ",
        (geometry.effective_rank, 1.0),
        color=_ORANGE,
        ha="left" if geometry.effective_rank < 0.6 * len(values) else "right",
        va="top",
    )
    axis.set(
        title="Singular values of the mean codes",
        xlabel="index",
        ylabel="relative to the largest",
    )


def _tile_size(size: Sequence[int]) -> tuple[int, int]:
    """Width and height at which a picture is drawn."""
    height, width = size
    longest = max(height, width)
    if longest > 1.5 * _TILE:
        return round(width * 1.5 * _TILE / longest), round(height * 1.5 * _TILE / longest)
    factor = max(1, math.ceil(_TILE / longest - 0.25))
    return width * factor, height * factor


def _draw_picture(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    block: Block,
    row: int,
    column: int,
    corner: tuple[int, int],
    tile: tuple[int, int],
) -> None:
    left, top = corner
    pixels = block.images[row, column].permute(1, 2, 0).contiguous().numpy()
    enlarges = tile[0] >= pixels.shape[1]
    resample = Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS
    right = None if block.right is None else block.right[row][column]
    if right is not None:
        frame = (left, top, left + tile[0] + 2 * _FRAME - 1, top + tile[1] + 2 * _FRAME - 1)
        draw.rectangle(frame, fill=_RIGHT if right else _WRONG)
    page.paste(Image.fromarray(pixels).resize(tile, resample), (left + _FRAME, top + _FRAME))
    if block.captions is not None:
        small = font(12)
        text = _shortened(block.captions[row][column], small, tile[0] + 2 * _FRAME)
        middle = left + _FRAME + tile[0] / 2
        draw.text((middle, top + tile[1] + 2 * _FRAME + 2), text, _FAINT, small, anchor="ma")


def _head_width(title: str, subtitle: str, legend: bool) -> int:
    first = font(22, bold=True).getlength(title) + (_LEGEND_WIDTH if legend else 0)
    return math.ceil(max(first, font(15).getlength(subtitle)))


def _draw_legend(draw: ImageDraw.ImageDraw, width: int) -> None:
    """What the frames mean, at the upper right."""
    right, small = width - _MARGIN, font(13)
    for text, colour in (("another class", _WRONG), ("class of the query", _RIGHT)):
        right -= int(small.getlength(text))
        draw.text((right, _MARGIN), text, _INK, small)
        draw.rectangle((right - 20, _MARGIN + 1, right - 8, _MARGIN + 13), outline=colour, width=3)
        right -= 40


def _shortened(text: str, drawn_in: Any, width: int) -> str:
    """`text` in one line, cut to fit `width` pixels."""
    text = " ".join(text.split())  # a folder's name, which may have any character
    if drawn_in.getlength(text) <= width:
        return text
    while text and drawn_in.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _save(page: Image.Image, path: Path) -> None:
    stream = io.BytesIO()
    page.save(stream, "PNG")
    _write(path, stream.getvalue())


def _write(path: Path, content: bytes) -> None:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
