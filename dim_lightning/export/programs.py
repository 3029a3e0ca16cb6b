"""An encoder as a program of its own, for torch.export and for ONNX; proved equal to the module."""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dim_lightning.encoders import Encoder
from dim_lightning.errors import InputError
from dim_lightning.export.description import INPUT
from dim_lightning.extras import EXTRAS
from dim_lightning.seeding import generator_for

TOLERANCE = 1e-5
ROUNDINGS = 4  # another order of sums may round as the encoder does, more or less
BATCH_SIZES = (1, 2, 7)

Images = UInt8[Tensor, "n 3 size size"]
Program = Callable[[Tensor], dict[str, Tensor]]


class TensorProgram(nn.Module):
    """Images uint8 [n, 3, size, size] to the encoder's layers, by name.

    Args:
        encoder: copied, in eval mode and in the plain memory layout, which every backend knows.
        dtype: in which the copy computes: as it is, or in float64.
    """

    def __init__(self, encoder: Encoder, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).cpu().to(memory_format=torch.contiguous_format)
        self.dtype = dtype
        if dtype == torch.float64:
            self.encoder.double()
        self.requires_grad_(False).eval()

    def forward(self, images: Images) -> dict[str, Tensor]:
        """The layers in the encoder's order, [n, k] each; the last one is the embedding."""
        values = images.to(self.dtype, memory_format=torch.contiguous_format)
        return self.encoder(values / 255).layers


def missing_libraries() -> list[str]:
    """What ONNX needs and is not installed."""
    return [name for name in EXTRAS["export"] if importlib.util.find_spec(name) is None]


def captured(encoder: Encoder, image_size: int) -> ExportedProgram:
    """The encoder as a graph for any number of images.

    Raises:
        InputError: its forward cannot be captured.
    """
    program, images = TensorProgram(encoder), _images(2, image_size)
    with _explained(encoder, "torch,onnx"):
        return torch.export.export(
            program, (images,), dynamic_shapes=({0: Dim("n")},), strict=False
        )


def write_torch(graph: ExportedProgram, path: Path) -> Program:
    """Writes encoder.pt2; gives the program as the file has it."""
    torch.export.save(graph, path)
    return torch.export.load(path).module()


def write_onnx(encoder: Encoder, graph: ExportedProgram, names: list[str], path: Path) -> Program:
    """Writes encoder.onnx, one file; gives the program as ONNX Runtime runs the file.

    Args:
        encoder: for messages.
        graph: of the encoder.
        names: of the layers, in the encoder's order.
        path: where to.

    Raises:
        InputError: ONNX has no operator for what the encoder computes.
    """
    import onnxruntime  # optional

    with _explained(encoder, "onnx"):
        program = torch.onnx.export(
            graph,
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes=({0: "n"},),
        )
    assert program is not None
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> dict[str, Tensor]:
        found = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(layer) for name, layer in zip(names, found, strict=True)}

    return run


def largest_difference(program: Program, expected: Program, image_size: int) -> float:
    """Largest difference between two programs' layers, for batches of 1, 2 and 7 random images.

    Relative to the layer's largest value where that is above 1.
    """
    found = [_difference(program(images), expected(images)) for images in _batches(image_size)]
    return float(torch.tensor(found, dtype=torch.float64).max())  # NaN, which Python's max may drop


def rounding(encoder: Encoder, image_size: int) -> float:
    """How far the encoder in float32 is from itself in float64: what its sums lose by rounding.

    0 if that cannot be told: it does not compute in float64, or draws at random.
    """
    exact = TensorProgram(encoder, torch.float64)
    try:
        if largest_difference(exact, exact, image_size) > torch.finfo(torch.float32).eps:
            return 0.0
        return largest_difference(TensorProgram(encoder), exact, image_size)
    except Exception:  # a forward of anybody's that makes tensors of float32
        return 0.0


def check_equal(
    program: Program, expected: Program, encoder: Encoder, image_size: int, name: str
) -> float:
    """The largest difference, if it is one of rounding.

    At most 1e-5; or, as the rounding of deep networks adds up to more, four times the encoder's own
    distance to itself in float64.

    Args:
        program: what a file computes.
        expected: the encoder's layers as they are.
        encoder: that of `expected`.
        image_size: height and width.
        name: of the file, for messages.

    Raises:
        InputError: the file does not compute what the encoder computes.
    """
    difference = largest_difference(program, expected, image_size)
    if difference <= TOLERANCE:
        return difference
    allowed = max(TOLERANCE, ROUNDINGS * rounding(encoder, image_size))
    if not difference <= allowed:  # NaN is none either
        raise InputError(
            f"{name} differs from the encoder by {difference:.2g}; expected at most "
            f"{allowed:.2g}; perhaps its forward does what no file can repeat, such as a random "
            "draw in eval mode; write it without, or leave that format out with --format"
        )
    return difference


@contextmanager
def _explained(encoder: Encoder, formats: str) -> Iterator[None]:
    """Turns an exporter's error, which may be any, into one that says what to do."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"the forward of {type(encoder).__name__} cannot be written as a program for any "
            f"number of images ({reason}); leave out --format {formats}, or write it without "
            "branches on values or on the number of images"
        ) from error


def _difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    differences = [torch.zeros(())]
    for name, layer in expected.items():
        if found[name].shape != layer.shape:
            return float("inf")
        scale = layer.abs().max().clamp(min=1)
        differences.append((found[name] - layer).abs().max() / scale)
    return torch.stack(differences).max().item()


def _batches(size: int) -> Iterator[Tensor]:
    return (_images(n, size) for n in BATCH_SIZES)


def _images(n: int, size: int) -> Tensor:
    """Random images, the same ones each time."""
    shape = (n, 3, size, size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator_for(n))
