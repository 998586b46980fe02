"""Networks as users write them, good and bad; tests copy this file beside themselves and export from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1, groups=2),
            nn.Dropout(),
        )
        self.head = nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).relu().mean((2, 3)))


def state() -> dict:
    return build().state_dict()


def build(classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return Classifier(classes)


class Driver(nn.Module):
    """The navigation contract at 24 x 32: uint8 NHWC in, three outputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.free = nn.Conv2d(width, 1, 1)
        self.head = nn.Linear(width, 2)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        x = self.stem(x).relu()
        head = self.head(x.mean((2, 3)))
        return torch.tanh(head[:, :1]), torch.sigmoid(head[:, 1:]), torch.sigmoid(self.free(x))[:, 0]


def driver(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return Driver(width)


def samples(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 24, 32, 3), np.uint8)


def score(run, manifest):
    steers = [float(run({"image": picture[None]})["steer"][0, 0]) for picture in samples(8, seed=1)]
    return {"steer_mean": {"value": float(np.mean(steers)), "data": "noise", "n": 8, "better": "higher"}}


def few_samples(n: int, seed: int) -> np.ndarray:
    return np.zeros((n, 24, 32, 1), np.uint8)


class Flow(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x * 2
        return x


class Bessel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


class Unsupported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ReLU(), Bessel()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class DataSize(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x > 0]


class DataKept(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x * 2, x)


class NotFinite(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x - 10)


class Cells(nn.Module):
    """Scores of two levels of cells for pictures of any size, as a detector has them; half a cell has no say."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = self.fine(image.permute(0, 3, 1, 2).float() / 255).relu()
        coarse = self.coarse(fine)
        doubled = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        fine = fine + doubled[:, :, : fine.shape[2], : fine.shape[3]]
        coarse = coarse[:, :, : image.shape[1] // 4, : image.shape[2] // 4]
        scores = torch.cat([fine.flatten(2), coarse.flatten(2)], 2).mean(1)
        return {"scores": scores, "picture": fine, "mean": scores.mean(1)}


class Ranges(nn.Module):
    """A wide layer that int8 holds well, and one whose channels differ so much in size that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 3, padding=1)
        self.uneven = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.wide(image.permute(0, 3, 1, 2).float() / 255).relu()
        return self.last(self.uneven(x)).mean((2, 3))


def ranges() -> nn.Module:
    """Of the eight channels of `uneven` one is 10,000 times as large, and `last` takes it back: int8 loses the rest."""
    torch.manual_seed(0)
    net = Ranges()
    with torch.no_grad():
        net.uneven.weight[0] *= 1e4
        net.uneven.bias[0] *= 1e4
        net.last.weight[:, 0] /= 1e4
    return net


class Overflows(nn.Module):
    """Beyond float16's 65504 between two of its products."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x) * 300 * 300 / 300 / 300)


def overflows() -> nn.Module:
    torch.manual_seed(0)
    return Overflows()


class Attends(nn.Module):
    """A convolution and an Einsum, which no quantiser takes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.weight = nn.Parameter(torch.ones(2, 4) / 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image.permute(0, 3, 1, 2).float() / 255)
        return torch.einsum("bchw,dc->bdhw", x, self.weight)


class OneSize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


class Random(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.half()).float()


class Named(nn.Module):
    """Two inputs, a dict of outputs, one of them twice and one the input itself."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        total = left + right
        return {"total": total, "again": total, "same": left, "best": total.argmax(1)}


class ReturnsText(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, str]:
        return x, "text"


def needs_classes(classes: int) -> nn.Module:
    return Classifier(classes)


def number() -> int:
    return 3


def fails() -> nn.Module:
    raise RuntimeError("first line\nsecond line")


network = build()
text = "not callable"


def exact(run, manifest):
    """1 for a network whose steering is that of `driver`, less the further it is off: no int8 keeps it."""
    net = driver(6)
    off = 0.0
    for picture in samples(8, seed=1):
        with torch.inference_mode():
            right = float(net(torch.from_numpy(picture[None]))[0])
        off += abs(float(run({"image": picture[None]})["steer"][0, 0]) - right)
    return {"steer_exact": {"value": 1 / (1 + 1000 * off), "data": "noise", "n": 8, "better": "higher"}}


class Softened(nn.Module):
    """Has an operator that came with ONNX opset 18."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.mish(x)


class ChannelsLast(nn.Module):
    """A camera's bytes pooled to one value a channel, and these the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = self.pool(self.conv(x.permute(0, 3, 1, 2) / 255))
        return pooled.flatten(1), pooled.flatten().index_select(0, torch.tensor([5, 4, 3, 2, 1, 0]))


class Leaves(nn.Module):
    """Values that leave torch on their way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.tanh(x.numpy()))


class Reads(nn.Module):
    """A number of Python's that depends on the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.max().item())


class Inverts(nn.Module):
    """What zeros would not do, and ONNX does not have."""

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(x[..., : self.size])


def inverts_nothing() -> nn.Module:
    return Inverts(8)
