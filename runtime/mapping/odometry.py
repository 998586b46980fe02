"""Visual odometry on the floor plane: the floor seen from a key frame is laid over that of each later frame.

Every floor pixel takes part with its gradient, and the motion has the robot's three degrees of freedom only, so a grain
that runs one way (planks, carpet) does no harm, which corners that are followed one by one slide along. So do pixels of
what stands on the floor, as upright as walls, where the network sees the floor end. The method is
inverse-compositional Lucas-Kanade (Baker and Matthews, IJCV 2004, section 3.2), coarse to fine, with Cauchy weights
and an affine change of brightness (Engel, Koltun and Cremers, Direct Sparse Odometry, 2018, equation 4). The floor is
flat, and where it is floor is told by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..results import Floats
from .geometry import FloorView, Pose
from .motion import Motion
from .pitch import PitchFilter, pitch_step, pixel_by_pitch

Grey = NDArray[np.uint8]
Array = NDArray[np.float64]

CAUCHY = 2.385
"""Keeps 95 % of the efficiency on normal errors (Zhang, Parameter estimation techniques, 1997, table 1)."""

HALF_PIXELS = ((0.5, 0.0), (0.0, 0.5))
"""To the right and down; to both sides, the grey there tells its gradient."""

SAME_RAD = 0.02
"""Turns that differ by less lead to the same place."""


@dataclass(frozen=True, slots=True)
class OdometryOptions:
    """How the floor is laid over. `levels`: how often the raster is halved, and halved again, to begin coarse.

    `enough`: a step of Gauss-Newton below it, in metres and radians, is the last. `turns_rad`: what is tried when a
    motion is not like the one before. `max_sigma_m`: a place less sure than this is no place.

    `range_m`: floor farther ahead is left out, because there a pixel is decimetres. `pixels`: of each level at most so
    many take part. So do up to `wall_pixels` of what stands upright within `wall_range_m`, up to `wall_top_m` over the
    floor: a floor that repeats itself looks the same a plank farther on, the walls do not. `min_pixels` of the
    floor must be in view, `min_visible` of the key frame's, and the two looks of it have `min_correlation`, or the
    motion is lost; from `sure_correlation` on no other is tried, where the steps had come to an end. `renew_visible`,
    `renew_m` and `renew_rad` end a key frame.

    While the camera's pitch is sought, a key frame ends after the share `pitch_renew` of that: each tells of the pitch
    when it ends. `pitch_alike` of its pixels count as one there.

    `sideways_m`, and `sideways_m_per_rad` of what it turns, is how far a robot on wheels may slide in a frame (standard
    deviation; the second allows for a camera that is not over its axle): where the grain of the floor runs across, its
    look alone does not tell (the constraint of Scaramuzza 2011, 1-point RANSAC for vehicles, here as a prior).
    0 takes none. The differences of so many pixels as `alike` count as one there: what their noise has in common does
    not average out.
    """

    levels: int = 3
    range_m: float = 2.0
    pixels: int = 1000
    iterations: int = 6
    wall_pixels: int = 500
    wall_range_m: float = 6.0
    wall_top_m: float = 0.8
    min_pixels: int = 100
    min_correlation: float = 0.6
    sure_correlation: float = 0.9
    min_visible: float = 0.3
    renew_visible: float = 0.5
    renew_m: float = 0.25
    renew_rad: float = 0.25
    pitch_renew: float = 0.35
    pitch_alike: float = 4.0
    max_sigma_m: float = 0.01
    enough: float = 2e-4
    sideways_m: float = 0.002
    sideways_m_per_rad: float = 0.1
    alike: float = 36.0
    turns_rad: tuple[float, ...] = (0.0, 0.03, -0.03, 0.06, -0.06, 0.1, -0.1)


@dataclass(frozen=True, slots=True)
class _Template:
    """One level of the key frame: points (x, y, z, 1) as (4, N), those of the floor first, grey (N,), and by how much
    grey changes with dx, dy, dyaw, gain and offset (N, 5)."""

    view: FloorView
    floor: int
    points: Array
    grey: Array
    jacobian: Array

    @property
    def flat(self) -> _Template:
        """The floor alone."""
        count = self.floor
        return replace(self, points=self.points[:, :count], grey=self.grey[:count], jacobian=self.jacobian[:count])


@dataclass(frozen=True, slots=True)
class _Fit:
    """`pose` of the key frame's floor in the robot's frame now; the rest says how well it lies there."""

    pose: Pose
    covariance: Array
    correlation: float
    visible: float
    settled: bool

    @property
    def sigma(self) -> tuple[float, float]:
        """Standard deviations in metres and radians, as far as noise in grey makes them; infinite where the floor shows
        too little to tell, which rounding makes a variance below zero."""
        variance = np.diag(self.covariance)
        place, turn = float(variance[:2].sum()), float(variance[2])
        return math.sqrt(place) if place >= 0 else math.inf, math.sqrt(turn) if turn >= 0 else math.inf


class Odometry:
    """Motion from frame to frame, for frames of one size that `view` describes. Keeps a key frame.

    What it learns of the camera's pitch goes to `pitch`, and is used from the next key frame on.
    """

    def __init__(
        self, view: FloorView, options: OdometryOptions = OdometryOptions(), pitch: PitchFilter | None = None
    ) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.options, self.pitch = options, pitch or PitchFilter()
        height, width = view.raster_hw
        sizes = [(height >> level, width >> level) for level in range(options.levels)]
        self._told = [FloorView(view.geometry, view.frame_hw, size) for size in sizes if min(size) >= 24]
        self._views = [self.pitch.view(told) for told in self._told]
        self._key: list[_Template] | None = None
        self._since_key = Pose()
        self._last = Pose()

    def step(self, grey: Grey, floor: Grey, feet: Array | None = None, expected: Pose | None = None) -> Motion:
        """The motion since the last call; zero at the first. The search begins at the `expected` one, or at the last.

        `grey` and `floor` are H x W uint8; `floor` is non-zero where the floor is seen. `feet` (w,) is how far down the
        frame, in 0..1, something begins to stand upright on it, in w columns over its width, NaN where nothing does.
        When this frame's floor does not lie over the key frame's, the motion is `lost`, and this frame is the next key
        frame.
        """
        levels = self._pyramid(grey)
        feet = np.full(1, np.nan) if feet is None else feet
        if self._key is None:
            self._start(levels, floor, feet)
            return Motion()
        fit = self._fit(levels, expected or self._last)
        if fit is None:
            self._start(levels, floor, feet)
            return Motion(lost=True)
        since_key = fit.pose.inverse()
        step = self._since_key.inverse().then(since_key)
        self._since_key, self._last = since_key, step
        if self._worn(fit):
            if self.pitch.options.mount_rad:
                self._learn_pitch(levels[0], fit.pose)
            self._start(levels, floor, feet)
        sigma_m, sigma_rad = fit.sigma
        return Motion(step.x_m, step.y_m, step.yaw_rad, sigma_m, sigma_rad)

    def _pyramid(self, grey: Grey) -> list[Floats]:
        levels = [grey.astype(np.float32)]
        for view in self._views[1:]:
            levels.append(self._cv2.resize(levels[-1], view.raster_hw[::-1], interpolation=self._cv2.INTER_AREA))
        return levels

    def _worn(self, fit: _Fit) -> bool:
        options, since = self.options, self._since_key
        share = options.pitch_renew if self.pitch.seeking else 1.0
        far = max(math.hypot(since.x_m, since.y_m) / options.renew_m, abs(since.yaw_rad) / options.renew_rad) > share
        return far or fit.visible < options.renew_visible

    def _learn_pitch(self, grey: Floats, pose: Pose) -> None:
        """Tell `pitch` what the key frame, whose floor lies at `pose` now, and this frame say of the pitch."""
        assert self._key is not None
        template = self._key[0].flat  # what is upright is only as far away as the network's edge says
        fit = self._align(template, grey, pose)
        seen = self._look(template, grey, fit.pose) if fit else None
        if fit is None or seen is None:
            return
        pose, (visible, now) = fit.pose, seen
        points, before, view = template.points[:2].T[visible], template.grey[visible], template.view
        moved = pose.to_world(points)
        at = view.to_pixels(moved)
        gradient = np.stack([self._grey(grey, at + half) - self._grey(grey, at - half) for half in HALF_PIXELS], axis=1)
        brightness = np.stack([before, np.ones(len(before))], axis=1)
        flat = np.hstack([moved, np.zeros((len(moved), 1))])
        by_motion = np.einsum("ni,nij->nj", gradient, view.pixel_by_motion(flat))
        by_pitch = (gradient * pixel_by_pitch(view, points, pose)).sum(1)
        error = now - before
        rest = error - brightness @ np.linalg.lstsq(brightness, error, rcond=None)[0]
        weight, scale = _cauchy(rest)
        step, information = pitch_step(by_pitch, np.hstack([by_motion, brightness]), error, weight)
        self.pitch.add(step, information / (scale**2 * self.options.pitch_alike))

    def _start(self, levels: list[Floats], floor: Grey, feet: Array) -> None:
        """Make this frame the key frame."""
        self._views = [self.pitch.view(told) for told in self._told]
        views = zip(self._views, levels, strict=True)
        self._key = [self._template(view, grey, floor, feet) for view, grey in views]
        self._since_key = Pose()

    def _template(self, view: FloorView, grey: Floats, floor: Grey, feet: Array) -> _Template:
        cv2, (height, width), options = self._cv2, view.raster_hw, self.options
        mask = cv2.resize(floor, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        depth = view.row_depth_m(np.arange(height, dtype=np.float64))
        mask[(depth <= 0) | (depth > options.range_m)] = False
        on_floor = _spread(mask, options.pixels)
        flat = np.hstack([view.to_floor(on_floor), np.zeros((len(on_floor), 1))])
        on_walls, upright = self._on_walls(view, feet)
        columns, rows = np.vstack([on_floor, on_walls]).astype(np.intp).T
        points, ones = np.vstack([flat, upright]), np.ones((len(rows), 1))
        gradient = np.stack(
            [grey[rows, columns + 1] - grey[rows, columns - 1], grey[rows + 1, columns] - grey[rows - 1, columns]],
            axis=1,
        )
        by_motion = np.einsum("ni,nij->nj", gradient / 2, view.pixel_by_motion(points))
        before = grey[rows, columns].astype(np.float64)
        jacobian = np.hstack([by_motion, before[:, None], ones])
        return _Template(view, len(flat), np.hstack([points, ones]).T, before, jacobian)

    def _on_walls(self, view: FloorView, feet: Array) -> tuple[Array, Array]:
        """Pixels (N, 2) above the floor, and what they show if that is upright: (N, 3)."""
        options, (height, width) = self.options, view.raster_hw
        foot = feet[np.arange(width) * len(feet) // width] * height - 0.5
        ahead_m = view.row_depth_m(foot)
        near = ahead_m < options.wall_range_m
        ahead_m = np.where(near, ahead_m, 1.0)
        ends = np.stack([ahead_m, np.zeros(width), np.full(width, options.wall_top_m), np.ones(width)])
        _, down, third = view.projection @ ends
        rows = np.arange(height)[:, None]
        pixels = _spread(near & (rows < foot - 1) & (rows > down / third), options.wall_pixels)
        return pixels, view.upright(pixels, ahead_m[pixels[:, 0].astype(np.intp)])

    def _fit(self, levels: list[Floats], expected: Pose) -> _Fit | None:
        """Lay the key frame's floor over this frame's: from the last motion and one that is expected to be another,
        whichever fits better; where neither does, from others.

        The finest level alone comes first: a coarse one leads astray where planks or tiles are too fine for it. Where
        that is not sure, the floor without what stands on it is tried too, for that may move.
        """
        motions = [self._last, expected] if abs(expected.yaw_rad - self._last.yaw_rad) > SAME_RAD else [expected]
        found: list[_Fit] = []
        for depth, walls in ((1, True), (len(levels), True), (1, False), (len(levels), False)):
            fits = [self._descend(levels, self._since_key.then(motion).inverse(), depth, walls) for motion in motions]
            found += [fit for fit in fits if fit is not None]
            if any(fit.settled and fit.correlation > self.options.sure_correlation for fit in found):
                break
        if found:
            return max(found, key=lambda fit: fit.correlation)
        begins = [self._since_key.then(Pose(yaw_rad=turn)).inverse() for turn in self.options.turns_rad]
        coarse = [fit for begin in begins if (fit := self._descend(levels[-1:], begin, 1)) is not None]
        if not coarse:
            return None
        return self._descend(levels, max(coarse, key=lambda fit: fit.correlation).pose, len(levels))

    def _descend(self, levels: list[Floats], pose: Pose, depth: int, walls: bool = True) -> _Fit | None:
        """From `pose` through the first `depth` of `levels`, whose last is the coarsest, or through fewer coarse ones,
        to the first; None where it does not fit. Without `walls` by the floor alone."""
        assert self._key is not None
        fit = None
        for template, grey in [*zip(reversed(self._key), reversed(levels), strict=False)][-depth:]:
            if template.floor < self.options.min_pixels:
                continue
            fit = self._align(template if walls else template.flat, grey, pose)
            if fit is None:
                return None
            pose = fit.pose
        if fit is None or fit.correlation < self.options.min_correlation:
            return None
        sigma_m, sigma_rad = fit.sigma
        return fit if sigma_m < self.options.max_sigma_m and math.isfinite(sigma_rad) else None

    def _align(self, template: _Template, grey: Floats, pose: Pose) -> _Fit | None:
        """Gauss-Newton on the difference in grey, from `pose`; None when too little is left in view or has texture."""
        change = np.zeros(2)  # gain - 1, offset
        for _ in range(self.options.iterations):
            seen = self._look(template, grey, pose)
            if seen is None:
                return None
            visible, now = seen
            before, jacobian = template.grey[visible], template.jacobian[visible]
            error = now - before
            rest = error - change[0] * before - change[1]
            weight, scale = _cauchy(rest)
            weighted = jacobian.T * weight
            slide, by_motion = self._slide(pose)
            prior = self.options.alike * (scale / slide[1]) ** 2 if slide[1] else 0.0
            try:
                inverse = np.linalg.inv(weighted @ jacobian + prior * np.outer(by_motion, by_motion))
            except np.linalg.LinAlgError:  # no texture at all
                return None
            step = inverse @ (weighted @ error - prior * slide[0] * by_motion)
            change = step[3:]
            pose = pose.then(Pose(*step[:3].tolist()).inverse())
            settled = max(map(abs, step[:3].tolist())) < self.options.enough
            if settled:
                break
        in_view = int((visible < template.floor).sum())
        floor = slice(in_view)  # the first of them
        correlation = _correlation(now[floor], before[floor], weight[floor])
        covariance = np.asarray(inverse[:3, :3] * scale**2, np.float64)
        return _Fit(pose, covariance, correlation, in_view / template.floor, settled)

    def _slide(self, pose: Pose) -> tuple[tuple[float, float], Array]:
        """How far sideways in metres the robot went since the last frame if `pose` is right, the standard deviation of
        that, and by how much it changes with dx, dy, dyaw, gain and offset (5,)."""
        now, before = pose.inverse(), self._since_key
        step = before.inverse().then(now)
        sideways = step.y_m - step.x_m * math.tan(step.yaw_rad / 2)  # an arc's chord points half the turn ahead
        sigma = self.options.sideways_m + self.options.sideways_m_per_rad * abs(step.yaw_rad)
        cos, sin = math.cos(before.yaw_rad), math.sin(before.yaw_rad)
        by_motion = np.array([-sin, cos, sin * now.y_m + cos * now.x_m, 0.0, 0.0])
        return (sideways, sigma if self.options.sideways_m else 0.0), by_motion

    def _look(self, template: _Template, grey: Floats, pose: Pose) -> tuple[NDArray[np.intp], Array] | None:
        """Which of the template's points are in view when its floor lies at `pose`, and the grey that is there."""
        height, width = grey.shape
        cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
        moved = np.array([[cos, -sin, 0, pose.x_m], [sin, cos, 0, pose.y_m], [0, 0, 1, 0], [0, 0, 0, 1]])
        x, y, third = (template.view.projection @ moved) @ template.points
        x, y = (x / third).astype(np.float32), (y / third).astype(np.float32)
        visible = np.flatnonzero((third > 0) & (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1))
        if (visible < template.floor).sum() < max(self.options.min_pixels, self.options.min_visible * template.floor):
            return None
        return visible, self._grey(grey, np.stack([x[visible], y[visible]], axis=1))

    def _grey(self, grey: Floats, pixels: Array) -> Array:
        """(N,) between the pixels of `grey` at (column, row) (N, 2); at its edge, that of the edge."""
        x, y = pixels.astype(np.float32).T
        found = self._cv2.remap(grey, x, y, self._cv2.INTER_LINEAR, borderMode=self._cv2.BORDER_REPLICATE)
        return np.asarray(found.ravel(), np.float64)


def _spread(mask: NDArray[np.bool_], most: int) -> Array:
    """(N, 2) columns and rows of about `most` pixels of a mask, evenly spread, none at its edge; 0 takes none."""
    rows, columns = np.nonzero(mask[1:-1, 1:-1] & (most > 0))
    every = max(1, math.ceil(math.sqrt(len(rows) / max(most, 1))))
    kept = (rows % every == 0) & (columns % every == 0)
    return np.stack([columns[kept], rows[kept]], axis=1) + 1.0


def _cauchy(rest: Array) -> tuple[Array, float]:
    """Weights (N,) of residuals (N,), and their scale, which is at least half a step of grey."""
    scale = 1.4826 * float(np.median(np.abs(rest))) + 0.5
    return 1 / (1 + (rest / (CAUCHY * scale)) ** 2), scale


def _correlation(a: Array, b: Array, weight: Array) -> float:
    """Weighted correlation coefficient of (N,) and (N,), 0 when one of them is flat."""
    a, b = a - np.average(a, weights=weight), b - np.average(b, weights=weight)
    both = float(np.sqrt((weight * a * a).sum() * (weight * b * b).sum()))
    return float((weight * a * b).sum()) / both if both > 1e-9 else 0.0
