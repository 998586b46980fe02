import json
from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.runtime.bundle import SHIPPED, Bundle, TensorSpec, open_bundle, resize_bundles, write_bundle

from ..bundles import face_manifest, open_face_manifest


def edit_manifest(bundle: Bundle, **changes: object) -> None:
    file = bundle.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_is_written_is_read_back(face_bundle: Bundle) -> None:
    again = open_bundle(face_bundle.path)
    assert again == face_bundle
    assert again.manifest.inputs == face_manifest().inputs
    assert again.manifest.inputs[0].image_hw == (240, 320)
    assert list(again.manifest.files) == ["model.onnx"]


def test_a_changed_file_is_refused_with_both_hashes(face_bundle: Bundle) -> None:
    face_bundle.model.write_bytes(b"something else")
    with pytest.raises(BadArtefact, match=r"model\.onnx has SHA-256 \w{12}.*manifest says \w{12}"):
        open_bundle(face_bundle.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema_version 99, this helmsight reads 1"),
        ({"files": {}}, "no hash of model.onnx"),
        ({"files": {"model.onnx": "0", "../../etc/passwd": "0"}}, "SHA-256|outside"),
        ({"inputs": [{"name": "x"}]}, "is no manifest"),
        ({"surprise": 1}, "is no manifest"),
        ({"files": None}, "is no manifest"),
        ({"files": ["model.onnx"]}, "is no manifest"),
        ({"inputs": [{"name": "x", "shape": [1], "dtype": "uint8", "multiple": -32}]}, "multiple is -32, expected 0"),
    ],
)
def test_a_bad_manifest_is_one_clear_error(face_bundle: Bundle, changes: dict[str, object], message: str) -> None:
    edit_manifest(face_bundle, **changes)
    with pytest.raises(BadArtefact, match=message) as caught:
        open_bundle(face_bundle.path)
    assert "\n" not in str(caught.value)


def test_a_file_outside_the_bundle_is_refused(face_bundle: Bundle) -> None:
    edit_manifest(face_bundle, files={"../model.onnx": "0"})
    with pytest.raises(BadArtefact, match="outside the bundle"):
        open_bundle(face_bundle.path)


def test_a_manifest_that_is_cut_short(face_bundle: Bundle) -> None:
    file = face_bundle.path / "manifest.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(BadArtefact, match="is no JSON"):
        open_bundle(face_bundle.path)


def test_a_missing_bundle_names_what_ships(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match=r"no bundle at nowhere.*face"):
        open_bundle("nowhere")
    with pytest.raises(BadArtefact, match=r"manifest\.json is missing"):
        open_bundle(tmp_path)


def test_a_write_that_fails_keeps_what_was_there(face_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bundle(face_bundle.path, face_manifest(), {"model.onnx": tmp_path / "absent"})
    assert open_bundle(face_bundle.path) == face_bundle
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.bundle"]


def test_a_bundle_is_replaced_whole(face_bundle: Bundle, tmp_path: Path) -> None:
    write_bundle(face_bundle.path, face_manifest(), {"model.onnx": b"new"})
    assert open_bundle(face_bundle.path).model.read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.bundle"]


def test_a_folder_of_the_same_name_does_not_hide_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "face").mkdir()
    assert open_bundle("face").path == SHIPPED / "face.bundle"
    own = write_bundle(tmp_path / "face.bundle", face_manifest(), {"model.onnx": b"own"})
    assert open_bundle("face.bundle").model.read_bytes() == own.model.read_bytes() == b"own"


@pytest.mark.parametrize("name", ["face.bundle", "./face.bundle", "some/where/face.bundle"])
def test_a_path_that_is_not_there_is_not_what_ships(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadArtefact, match=f"no bundle at {name}; the one that ships with helmsight is called face, wi"):
        open_bundle(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("faces", "did you mean face"),
        ("Navigate", "did you mean navigate"),
        ("lidar", "expected a folder"),
        ("my/navigat", "expected a folder"),
    ],
)
def test_a_name_near_to_one_that_ships(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadArtefact, match=f"no bundle at {name}; {said}"):
        open_bundle(name)


def test_what_stands_for_a_bundle_in_a_command(tmp_path: Path) -> None:
    assert open_bundle("face").typed == "face"
    assert (
        write_bundle(tmp_path / "my f.bundle", face_manifest(), {"model.onnx": b"x"}).typed
        == f"'{tmp_path}/my f.bundle'"
    )


def test_other_sizes_are_multiples(face_bundle: Bundle, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "o.bundle", open_face_manifest(), {"model.onnx": b"own"})
    assert open_bundle(bundle.path).manifest.inputs[0].multiple == 32
    for hw in ((480, 640), (640, 480), (32, 32), (240, 320), (240, 640), (4096, 320)):
        assert bundle.resized(hw).manifest.inputs[0].image_hw == hw
    assert bundle.manifest.inputs[0].image_hw == (240, 320), "it is the copy that is resized"
    counted = replace(bundle, manifest=replace(bundle.manifest, provenance={"graph": {"macs": 1}, "source": {}}))
    assert counted.resized((240, 320)) == counted
    assert counted.resized((480, 640)).manifest.provenance == {"source": {}}, "its work is not that of another size"
    nchw = TensorSpec("x", (1, 3, 64, 96), "float32", "NCHW", "RGB", (0, 1), 32)
    assert nchw.resized((96, 32)).shape == (1, 3, 96, 32)


@pytest.mark.parametrize(
    ("hw", "nearest"),
    [
        ((480, 650), "640x480"),
        ((320, 240), "256x320"),
        ((1, 1), "32x32"),
        ((9999, 500), "512x4096"),
        ((0, 320), "320x32"),
    ],
)
def test_a_size_between_names_the_nearest(face_bundle: Bundle, hw: tuple[int, int], nearest: str) -> None:
    bundle = replace(face_bundle, manifest=open_face_manifest())
    with pytest.raises(
        UsageError, match=rf"--imgsz {hw[1]}x{hw[0]}: input image takes 320x240, or .* is --imgsz {nearest}$"
    ):
        bundle.resized(hw)


def test_a_network_of_one_size_keeps_it(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="--imgsz 640x480: input image takes 1x240x320x3 and nothing else"):
        face_bundle.resized((480, 640))
    assert face_bundle.resized((240, 320)) == face_bundle
    several = replace(face_bundle, manifest=open_face_manifest())
    face, navigate = resize_bundles([several, navigate_bundle], (480, 640))
    assert face.manifest.inputs[0].image_hw == (480, 640)
    assert navigate == navigate_bundle, "beside one that takes the size, it keeps its own"
    with pytest.raises(UsageError, match="nothing else; leave --imgsz out"):
        resize_bundles([face_bundle, navigate_bundle], (480, 640))


def test_a_program_in_a_bundle_can_be_run(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    files: dict[str, Path | bytes] = {"model.onnx": b"x", "targets/board/program": program}
    written = write_bundle(tmp_path / "a.bundle", face_manifest(), files)
    assert (written.path / "targets/board/program").stat().st_mode & 0o111 == 0o111
