"""Signatures: by a key, by a certificate; whatever is exchanged afterwards is found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact, MissingExtra, UsageError
from helmsight.runtime.bundle import Bundle, open_bundle, sha256, write_bundle
from helmsight.runtime.signature import check_signature, signer

from ..bundles import EMPTY_GRAPH, face_manifest

pytest.importorskip("model_signing", reason="signing needs the sign extra")


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_key(folder: Path, name: str = "key", curve: str = "prime256v1") -> Path:
    openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", f"{name}.pem", folder=folder)
    openssl("ec", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub", folder=folder)
    return folder / f"{name}.pem"


def make_certificate(folder: Path, key: Path) -> tuple[Path, Path]:
    """A certificate for `key`, and its authority's."""
    make_key(folder, "authority")
    root = ["-x509", "-new", "-key", "authority.pem", "-subj", "/CN=authority", "-days", "30", "-out", "authority.crt"]
    openssl("req", *root, folder=folder)
    openssl("req", "-new", "-key", str(key), "-subj", "/CN=Robots", "-out", "asked.csr", folder=folder)
    (folder / "use.cnf").write_text("keyUsage=digitalSignature\n")
    made = ["-CA", "authority.crt", "-CAkey", "authority.pem", "-CAcreateserial", "-days", "30", "-extfile", "use.cnf"]
    openssl("x509", "-req", "-in", "asked.csr", *made, "-out", "robots.crt", folder=folder)
    return folder / "robots.crt", folder / "authority.crt"


def write_signed(folder: Path, key: Path, *certificates: Path) -> Bundle:
    files: dict[str, Path | bytes] = {"model.onnx": EMPTY_GRAPH, "targets/cpu/more.bin": b"more", "README.md": b"read"}
    return write_bundle(folder / "f.bundle", face_manifest(), files, signer(key, certificates))


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_a_key_signs(tmp_path: Path, curve: str) -> None:
    bundle = write_signed(tmp_path, make_key(tmp_path, curve=curve))
    assert check_signature(bundle, tmp_path / "key.pub") == "the key of key.pub"
    assert bundle.unlisted() == (), "the signature is no stranger in the folder"
    moved = bundle.path.rename(tmp_path / "elsewhere.bundle")
    assert check_signature(open_bundle(moved), tmp_path / "key.pub")


def test_a_certificate_signs(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    certificate, authority = make_certificate(tmp_path, key)
    bundle = write_signed(tmp_path, key, certificate)
    assert check_signature(bundle, authority).startswith("CN=Robots (certificate SHA-256 ")
    with pytest.raises(BadArtefact, match="signed with a certificate"):
        check_signature(bundle, tmp_path / "key.pub")
    (tmp_path / "b").mkdir()
    _, stranger = make_certificate(tmp_path / "b", key)
    with pytest.raises(BadArtefact, match="does not hold"):
        check_signature(bundle, stranger)


def rewrite(bundle: Path, **files: bytes) -> None:
    """What someone does who can write there: the files and the hashes in the manifest."""
    record = json.loads((bundle / "manifest.json").read_text())
    for name, data in files.items():
        (bundle / name).write_bytes(data)
        record["files"][name] = sha256(bundle / name)
    (bundle / "manifest.json").write_text(json.dumps(record))


def take_away(bundle: Path) -> None:
    record = json.loads((bundle / "manifest.json").read_text())
    del record["files"]["README.md"]
    (bundle / "README.md").unlink()
    (bundle / "manifest.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda b: rewrite(b, **{"model.onnx": EMPTY_GRAPH + b"\x08\x09"}), r"changed: manifest.json, model.onnx"),
        (lambda b: rewrite(b, **{"new.bin": b"new"}), r"changed: manifest.json; not signed: new.bin"),
        (lambda b: rewrite(b), r"changed: manifest.json"),
        (lambda b: (b / "extra.bin").write_bytes(b"?"), r"not signed: extra.bin"),
        (lambda b: (b / ".gitignore").write_bytes(b"*"), r"not signed: .gitignore"),
        (lambda b: (b / "targets" / "link").symlink_to("/etc/hostname"), r"not signed: targets/link"),
        (take_away, r"changed: manifest.json; missing: README.md"),
        (lambda b: (b / "model.sig").unlink(), "has no signature"),
        (lambda b: (b / "model.sig").write_bytes(b"{}"), "is no signature of model-signing"),
        (lambda b: (b / "model.sig").write_bytes(b"\x00"), "is no JSON"),
    ],
)
def test_whatever_is_exchanged_is_found(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    bundle = write_signed(tmp_path, make_key(tmp_path))
    harm(bundle.path)
    with pytest.raises(BadArtefact, match=message) as caught:
        check_signature(open_bundle(bundle.path), tmp_path / "key.pub")
    assert "\n" not in str(caught.value)


def test_a_list_that_was_rewritten_is_not_signed(tmp_path: Path) -> None:
    """The list in the signature fits the files again, but nobody with the key made it."""
    bundle = write_signed(tmp_path, make_key(tmp_path))
    before = (bundle.path / "model.sig").read_bytes()
    make_key(tmp_path, "other")
    signer(tmp_path / "other.pem")(bundle.path)
    after = json.loads((bundle.path / "model.sig").read_bytes())
    with pytest.raises(BadArtefact, match="Key mismatch"):
        check_signature(bundle, tmp_path / "key.pub")
    after["verificationMaterial"] = json.loads(before)["verificationMaterial"]
    (bundle.path / "model.sig").write_text(json.dumps(after))
    with pytest.raises(BadArtefact, match="the signature does not hold for"):
        check_signature(bundle, tmp_path / "key.pub")


def test_what_was_opened_is_what_is_compared(tmp_path: Path) -> None:
    """A bundle that was whole when it was opened is not when its manifest in memory is another."""
    bundle = write_signed(tmp_path, make_key(tmp_path))
    with pytest.raises(BadArtefact, match=r"changed: manifest\.json"):
        check_signature(replace(bundle, manifest_sha256="0" * 64), tmp_path / "key.pub")


def test_keys_that_cannot_be_meant(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    with pytest.raises(UsageError, match="there is no file"):
        signer(tmp_path / "absent.pem")
    with pytest.raises(UsageError, match="expected a private key"):
        signer(tmp_path / "key.pub")
    openssl("ec", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", "locked.pem", folder=tmp_path)
    with pytest.raises(UsageError, match="without a passphrase"):
        signer(tmp_path / "locked.pem")
    openssl("genrsa", "-out", "rsa.pem", "2048", folder=tmp_path)
    with pytest.raises(UsageError, match=r"rsa\.pem: it is a key of another kind; .* on the curve P-256"):
        signer(tmp_path / "rsa.pem")
    bundle = write_signed(tmp_path, key)
    for wrong, why in (
        (key, "Valid PEM but no BEGIN PUBLIC KEY"),
        (tmp_path / "absent", "no such file or directory; "),
    ):
        with pytest.raises(UsageError, match=rf"--key {wrong}: {why}.*expected a public key"):
            check_signature(bundle, wrong)


def test_an_export_that_cannot_be_signed_leaves_what_was_there(tmp_path: Path) -> None:
    bundle = write_signed(tmp_path, make_key(tmp_path))

    def fail(folder: Path) -> None:
        raise UsageError("no")

    with pytest.raises(UsageError):
        write_bundle(bundle.path, face_manifest(), {"model.onnx": EMPTY_GRAPH * 3}, fail)
    assert check_signature(open_bundle(bundle.path), tmp_path / "key.pub")
    assert not list(tmp_path.glob(".*"))


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(tmp_path)
    for name in ("model_signing.signing", "model_signing.verifying"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"pip install 'helmsight\[sign\]'"):
        signer(key)
