"""What every network fitted for evaluation shares: its draws, and epochs over the images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from dim_lightning.errors import InputError
from dim_lightning.seeding import generator_for


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within, tensors can learn and the global generators are seeded; afterwards as before.

    These are the generators of the whole process: what another thread draws meanwhile changes the
    draws in here, and its own. What fits a network is for one thread at a time.
    """
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        _seeded_mps(seed) if device.type == "mps" else nullcontext(),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        torch.default_generator.manual_seed(seed)  # those of other devices stay
        if device.type == "cuda":
            with torch.cuda.device(device):  # it seeds the current one
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _seeded_mps(seed: int) -> Iterator[None]:
    """The same for the generator of Apple's GPU, which `fork_rng` does not know by itself."""
    state = torch.mps.get_rng_state()
    torch.mps.manual_seed(seed)
    try:
        yield
    finally:
        torch.mps.set_rng_state(state)


def passes(
    network: nn.Module,
    learning_rate: float,
    loss_of: Callable[[Tensor], Tensor],
    num_images: int,
    epochs: int,
    batch_size: int,
    seed: int,
    setting: str,
    milestones: Sequence[int] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[int]:
    """Takes a step of Adam a batch, and gives each epoch, from 0, when it is done.

    The order of an epoch depends on the seed and the epoch alone. A batch of a single image, which
    no batch norm takes, is left out.

    Args:
        network: what is fitted, and `loss_of` depends on.
        learning_rate: of Adam, at first.
        loss_of: the loss on the images at these positions, int64 [b] on `device`.
        num_images: how many there are.
        epochs: how often each is met.
        batch_size: images a step.
        seed: of the order.
        setting: below `evaluation`, that asks for it.
        milestones: epochs before which the learning rate is divided by ten; if None those at which
            the last third and the last sixth of them begin.
        scaler: of the loss, whose gradients are too small for float16 as they are; none if None.
        device: where the images lie; positions are sent there once an epoch, each time a wait.

    Raises:
        InputError: there are fewer than 2 images, of which nothing would be learned.
    """
    if num_images < 2:
        raise InputError(
            f"{num_images} training images, of those with a label where that is learned, are too "
            f"few to fit a network to; expected at least 2; set evaluation.{setting} to 0, or add "
            "pictures"
        )
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    if milestones is None:
        milestones = epochs - epochs // 3, epochs - epochs // 6
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), gamma=0.1)
    for epoch in range(epochs):
        order = torch.randperm(num_images, generator=generator_for(seed, epoch)).to(device)
        for rows in order.split(batch_size):
            if len(rows) < 2:
                continue
            loss = loss_of(rows)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        schedule.step()
        yield epoch
