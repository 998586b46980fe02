"""`helmsight calibrate`: a camera's lens and its mount, from views of a chessboard."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..devices.errors import BadArtefact, UsageError
from ._output import print_json, table

if TYPE_CHECKING:
    from ..runtime.boards import Board
    from ..runtime.calibration import Calibration
    from ..runtime.lens import CalibratedCamera, Mount

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(calibrate)


def calibrate(
    pictures: Annotated[
        list[str] | None, typer.Argument(help="'boards/*.jpg', or a camera.json to which --floor or --mount is added.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", "-s", help="Collect views from a camera or a video instead: 0, clip.mp4.")
    ] = None,
    shots: Annotated[int, typer.Option(help="Views to collect from --source.", min=3)] = 20,
    board: Annotated[str | None, typer.Option(metavar="COLUMNSxROWS", help="Inner corners, such as 9x6.")] = None,
    square: Annotated[float | None, typer.Option(metavar="METRES", help="Side of a square, such as 0.025.")] = None,
    floor: Annotated[
        Path | None, typer.Option(help="Picture of the board lying on the floor: gives the mount.")
    ] = None,
    mount: Annotated[
        str | None, typer.Option(metavar="HEIGHT_M[,PITCH_DEG]", help="The mount by hand, degrees downwards.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Camera file for `camera --geometry`: a .json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Calibrate a camera: field of view, distortion, and how it is mounted over the floor."""
    from ..runtime.lens import load_camera, save_camera

    logging.getLogger("helmsight.runtime.boards").setLevel(logging.INFO)  # progress
    _check(pictures, source, floor, mount, out)
    by_hand = _mount(mount) if mount else None
    made_before = Path(pictures[0]) if pictures and pictures[0].endswith(".json") else None
    if made_before:
        found, camera = None, load_camera(made_before)
        if floor is None and mount is None:
            raise UsageError(f"{made_before} is calibrated; expected --floor or --mount to add to it")
    else:
        found = _calibration(pictures or [], source, shots, _board(board, square))
        camera = found.camera
    if found and out:
        save_camera(out, camera)  # before the floor is looked at, so that a bad picture of it does not lose the rest
    if floor:
        by_hand = _floor_mount(camera, floor, _board(board, square))
    if by_hand:
        camera = camera.with_mount(by_hand)
        if out:
            save_camera(out, camera)
    if as_json:
        print_json(_record(camera, found))
    else:
        _report(camera, found)
        print(f"camera: {out}" if out else "nothing was written; --out camera.json does")


def _check(
    pictures: list[str] | None, source: str | None, floor: Path | None, mount: str | None, out: Path | None
) -> None:
    """What can be refused before anything takes time."""
    if bool(pictures) == bool(source):
        raise UsageError("expected either pictures of a board, such as 'boards/*.jpg', or --source; see --help")
    if pictures and len(pictures) > 1 and any(name.endswith(".json") for name in pictures):
        raise UsageError(f"{' '.join(pictures)}: expected pictures, or one camera.json alone")
    if floor and mount:
        raise UsageError("--floor and --mount both say how the camera is mounted; expected one of them")
    if out and (out.suffix != ".json" or not out.parent.is_dir()):
        raise UsageError(f"--out {out}: expected a .json in a folder that is there")


def _calibration(pictures: list[str], source: str | None, shots: int, board: Board) -> Calibration:
    from ..runtime.boards import board_in_pictures, views_of_camera, views_of_pictures
    from ..runtime.calibration import calibrate as calibrated

    views, left_out = (views_of_camera(source, board, shots), []) if source else views_of_pictures(pictures, board)
    if not views and pictures and (other := board_in_pictures(pictures)) and other != str(board):
        raise BadArtefact(
            f"no picture shows a board of {board} inner corners, there is one of {other}; give --board {other}"
        )
    found = calibrated(views, board, left_out)
    for one in found.left_out:
        log.warning("left out: %s %s", one.name, one.reason)
    for line in found.warnings:
        log.warning("%s", line)
    return found


def _floor_mount(camera: CalibratedCamera, floor: Path, board: Board) -> Mount:
    from ..runtime.boards import LeftOut, find_board, other_board
    from ..runtime.calibration import mount_doubts, mount_over_floor
    from ..runtime.pictures import read_picture

    image = read_picture(floor)
    view = find_board(image, board, floor.name, small=True)
    if isinstance(view, LeftOut):
        other = other_board(image)
        hint = f"there is one of {other}; give --board {other}" if other else "take another, with all of it in sight"
        raise BadArtefact(f"--floor {floor.name} {view.reason}; {hint}")
    mount = mount_over_floor(camera.lens, view, board)
    for line in mount_doubts(mount):
        log.warning("%s", line)
    return mount


def _board(text: str | None, square: float | None) -> Board:
    from ..runtime.boards import Board

    if text is None or square is None:
        raise UsageError("--board and --square are needed, such as --board 9x6 --square 0.025 (inner corners, metres)")
    columns, _, rows = text.lower().partition("x")
    if not (columns.isascii() and columns.isdigit() and rows.isascii() and rows.isdigit()):
        raise UsageError(f"--board {text}: expected COLUMNSxROWS of inner corners, such as 9x6")
    return Board(int(columns), int(rows), square)


def _mount(text: str) -> Mount:
    from ..runtime.lens import Mount

    try:
        height_m, pitch_deg = (float(part) for part in (text if "," in text else f"{text},0").split(","))
    except ValueError:
        height_m = pitch_deg = -1.0
    if not (0 < height_m < 100 and -90 < pitch_deg < 90):
        raise UsageError(
            f"--mount {text}: expected HEIGHT_M or HEIGHT_M,PITCH_DEG: metres over the floor, degrees downwards"
        )
    return Mount(height_m, pitch_deg)


def _record(camera: CalibratedCamera, found: Calibration | None) -> dict[str, object]:
    return {"camera": camera.to_json(), **(found.to_json() if found else {})}


def _report(camera: CalibratedCamera, found: Calibration | None) -> None:
    """The figures as a table, and one of the pictures."""
    lens = camera.lens
    height, width = lens.image_hw
    rows = [
        ("pictures", f"{camera.pictures} of {width}x{height}"),
        ("RMS reprojection error", f"{camera.rms_px:.3f} px"),
        ("vertical field of view", f"{lens.fov_y_deg:.2f} degrees"),
        ("focal lengths x, y", "{:.1f}, {:.1f} px".format(*lens.focal_px)),
        ("centre x, y", "{:.1f}, {:.1f} px".format(*lens.centre_px)),
        ("distortion k1 k2 p1 p2 k3", " ".join(f"{k:.5f}" for k in lens.distortion)),
    ]
    if found:
        rows.insert(4, ("standard deviation of y", f"{found.focal_sd_px:.1f} px"))
        rows.append(("covered by boards", f"{found.coverage:.0%} of the picture"))
    if camera.mount:
        rows.append(
            ("mount", f"{camera.mount.height_m:.3f} m over the floor, {camera.mount.pitch_deg:.2f} degrees down")
        )
    table("calibration", ("what", "value"), rows)
    if found:
        lines = [(seen.name, f"{seen.rms_px:.3f}", f"{seen.tilt_deg:.0f}") for seen in found.seen]
        table("pictures", ("picture", "RMS px", "tilt degrees"), lines)
