"""What the navigation network is trained to: the expert's steering, coming collisions, visible floor and the way on."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..problem import Loss, Targets

STEER_WEIGHT, COLLISION_WEIGHT, FREE_WEIGHT, WAY_WEIGHT = 4.0, 0.5, 3.0, 3.0
"""At 4, 0.5 and 1 the first three parts, once trained, have gradients of like size in the shared layers. Free space has
thrice that, for the map is made of it, and the way, which was not measured so, as much as free space."""


def drive_loss(logits: tuple[Tensor, Tensor, Tensor, Tensor], targets: Targets) -> Loss:
    """Mean over the batch of squared error of steering (B, 1) and cross entropy of collision (B, 1), free space
    and the way (B, 48, 64); targets `steer` -1..1, `collision`, `free` and `way` 0..1, hard or soft."""
    steer_raw, collision_raw, free_raw, way_raw = logits
    steer = functional.mse_loss(steer_raw.tanh(), targets["steer"])
    collision = functional.binary_cross_entropy_with_logits(collision_raw, targets["collision"])
    free = functional.binary_cross_entropy_with_logits(free_raw, targets["free"])
    way = functional.binary_cross_entropy_with_logits(way_raw, targets["way"])
    total = STEER_WEIGHT * steer + COLLISION_WEIGHT * collision + FREE_WEIGHT * free + WAY_WEIGHT * way
    return total, {"steer": steer.item(), "collision": collision.item(), "free": free.item(), "way": way.item()}
