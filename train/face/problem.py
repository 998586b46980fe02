"""The face detector as a problem for the recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.bundle import Manifest, TensorSpec
from ...runtime.fetch import cache_folder
from ..loader import ahead
from ..problem import Batch, Loss, Shard, Targets
from .backgrounds import PHOTOS
from .calibrate import apply, fit
from .data import IMAGE_HW, POOL_SIZE, Batches, load_material, validation_set
from .evaluate import LANDMARK_ERROR, VALIDATION, look, measure, torch_run
from .loss import Losses, detection_loss, soft_loss
from .model import POINTS, STRIDES, FaceNet, build
from .photographs import albums
from .pool import GAN
from .teachers import CENTERFACE, RETINAFACE

CELLS = sum((IMAGE_HW[0] // s) * (IMAGE_HW[1] // s) for s in STRIDES)
INPUTS = (TensorSpec("image", (1, *IMAGE_HW, 3), "uint8", "NHWC", "BGR", (0, 255), multiple=32),)
OUTPUTS = (
    TensorSpec("scores", (1, CELLS), "float32", range=(0, 1)),
    TensorSpec("boxes", (1, CELLS, 4), "float32"),
    TensorSpec("landmarks", (1, CELLS, POINTS, 2), "float32"),
)
DECODING = {"strides": list(STRIDES), "score_threshold": 0.5, "nms_iou": 0.45}
SEEN = (
    "It learnt from generated faces (gan-face-generate was trained, its author says, on DigiFace-1M, synthetic faces) "
    "and from some hundred photographs and paintings that packages carry, labelled by two other detectors: it repeats "
    "their errors. Those held back for its scores are of other packages or other people."
)
SEEN_ANNOTATED = (
    "It learnt from generated faces and from a set of annotated pictures; what that set allows, this network is bound "
    "to (WIDER FACE: research that is not commercial)."
)
LIMITS = (
    "How well it does across skin tones, ages and head coverings has not been measured.",
    "Faces under about 10 px, in full profile, bent down or upside down are often missed. It finds faces; it does not "
    "tell whose they are, and must not be used to.",
)
"""What the model card says of the network."""


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """`seed` and `batch_size` are the recipe's. An epoch has `pictures` pictures, made by `workers` processes.

    `data` is what to learn from in place of the packages' photographs: `wider:DIR` or a folder with `boxes.json`.
    """

    data: str | None = None
    seed: int = 0
    batch_size: int = 32
    pictures: int = 3200
    workers: int = 1


class FaceProblem:
    """Trains on composed pictures and photographs; the score is of photographs held back."""

    name = "face"
    task = "face"

    def __init__(self, options: FaceOptions) -> None:
        self._options = options
        self._config: dict[str, Any] = {"widths": [32, 64, 80, 96], "near": 24}
        self._manifest = Manifest("face", self.task, INPUTS, OUTPUTS, DECODING)

    def build(self) -> nn.Module:
        return build(**self._config)

    def batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        options = self._options
        material = load_material(cache_folder(), options.data)
        steps = options.pictures // options.batch_size
        key = (options.seed, epoch)
        return ahead(Batches(material, key, options.batch_size, steps, shard), options.workers)

    def loss(self, model: nn.Module, images: Tensor, targets: Targets) -> Loss:
        return _sum(detection_loss(_logits(model, images), targets, (images.shape[1], images.shape[2])))

    def distil(self, model: nn.Module, images: Tensor, targets: Targets, soft: tuple[Tensor, ...]) -> Loss:
        return _sum(soft_loss(_logits(model, images), soft))

    def validate(self, model: nn.Module) -> dict[str, float]:
        """AP, and what holds at the threshold after the scores are calibrated, which happens here.

        Weights are picked by AP less the landmarks' error: a hundredth of the one is worth a hundredth of the other.
        Before any near face is found, they are as good as off by the distance of the eyes.
        """
        nets = [net for net in model.modules() if isinstance(net, FaceNet)]  # several in an average of members
        for net in nets:
            net.calibration.copy_(torch.tensor([1.0, 0.0]))
        looked = look(torch_run(model), self._manifest)
        if len(nets) == 1:
            line = fit(looked.matches)
            nets[0].calibration.copy_(torch.tensor(line))
            looked = replace(looked, found=[replace(f, score=apply(f.score, *line)) for f in looked.found])
        values = measure(looked, self._manifest)
        return {"score": values["ap50"] - values.get(LANDMARK_ERROR, 1.0), **values}

    def record(self) -> dict[str, Any]:
        return {
            "model": "helmsight.train.face.model:build",
            "config": self._config,
            "inputs": [asdict(spec) for spec in INPUTS],
            "outputs": [asdict(spec) for spec in OUTPUTS],
            "decoding": DECODING,
            "samples": "helmsight.train.face.data:samples",
            "score": "helmsight.train.face.evaluate:score",
            "limits": (SEEN_ANNOTATED if self._options.data else SEEN, *LIMITS),
            "data": self._data,
            "validation": {"data": VALIDATION, "n": len(validation_set())},
        }

    @cached_property
    def _data(self) -> dict[str, Any]:
        """What it learns from, with the hashes."""
        data = self._options.data
        theirs = () if data else tuple(album.package for album in albums())
        packages = {
            f"{p.name} {p.version}": {"sha256": p.sha256, "licence": p.licence}
            for p in (GAN, RETINAFACE, CENTERFACE, PHOTOS, *theirs)
        }
        sizes = {"generated": POOL_SIZE, "pictures_an_epoch": self._options.pictures}
        own = {"annotated": data.partition(":")[0] if data.startswith("wider:") else "boxes.json"} if data else {}
        return {"sha256": load_material(cache_folder(), data).sha256, "packages": packages, **own, **sizes}


def _logits(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    assert isinstance(model, FaceNet)
    score, boxes, landmarks = model.logits(images)
    return score.float(), boxes.float(), landmarks.float()  # the loss is float32 in mixed precision too


def _sum(losses: Losses) -> Loss:
    total = losses.score + losses.box + losses.landmarks
    return total, {name: part.item() for name, part in losses._asdict().items()}
