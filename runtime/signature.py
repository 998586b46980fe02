"""Who made a bundle: signatures in OpenSSF's model-signing format, made and checked without any network.

The signature is `model.sig` in the bundle's folder. What is signed is the list of all other files there with their
SHA-256, manifest.json among them, so that one that is changed, missing or added is found.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, UsageError, need, reason_of, system_reason
from .bundle import Bundle
from .json_form import Fields, Rows, check_form
from .manifest import MANIFEST, SIGNATURE
from .strict_json import parse_json

_EXTRA = "sign"
_CHAIN = Fields({"certificates": Rows(Fields({"rawBytes": str}), least=1)})
_ENVELOPE = Fields(
    {
        "dsseEnvelope": Fields({"payload": str}),
        "verificationMaterial": Fields(known={"x509CertificateChain": _CHAIN}),
    }
)
_STATEMENT = Fields({"predicate": Fields({"resources": Rows(Fields({"name": str, "algorithm": str, "digest": str}))})})


def signer(key: Path, certificates: Sequence[Path] = ()) -> Callable[[Path], None]:
    """A function that signs the folder of a bundle, writing the signature into it.

    `key` is a PEM file with a private key on the curve P-256, P-384 or P-521 and no passphrase. `certificates` are PEM
    files: that of the key first, then those between it and the authority that a verifier trusts. Raises UsageError
    where they cannot be used, before anything is signed, MissingExtra without the package.
    """
    signing, hashing = need("model_signing.signing", _EXTRA), need("model_signing.hashing", _EXTRA)
    for file in (key, *certificates):
        if not file.is_file():
            raise UsageError(f"--sign {key}: there is no file {file}")
    config = signing.Config()
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False))
    try:
        if certificates:
            chain = certificates[1:] or certificates[:1]  # an empty chain is no PEM to cryptography 50
            config.use_certificate_signer(private_key=key, signing_certificate=certificates[0], certificate_chain=chain)
        else:
            config.use_elliptic_key_signer(private_key=key)
    except Exception as error:  # cryptography raises several classes for what is no key
        raise UsageError(
            f"--sign {key}: {_why(error)}; expected a private key in PEM, on the curve P-256, P-384 or P-521, "
            "without a passphrase, and the certificate that was made for it"
        ) from error
    return lambda folder: config.sign(folder, folder / SIGNATURE)


def check_signature(bundle: Bundle, trusted: Path) -> str:
    """Who signed `bundle`, in words. What is compared are the hashes that every read of it is held to.

    `trusted` is a PEM file: a public key, or the certificate of an authority that the signer's was made by. Raises
    UsageError when it is neither, BadArtefact when the bundle is not signed, not by it, or was changed afterwards,
    MissingExtra without the package.
    """
    verifying = need("model_signing.verifying", _EXTRA)
    content = bundle.read_signature()
    if content is None:
        raise BadArtefact(f"{bundle.path} has no signature ({SIGNATURE}); ask who made it, or leave --key out")
    config = verifying.Config()
    try:
        authority = b"BEGIN CERTIFICATE" in trusted.read_bytes()
        if authority:
            config.use_certificate_verifier(certificate_chain=[trusted])
        else:
            config.use_elliptic_key_verifier(public_key=trusted)
    except Exception as error:  # as above
        raise UsageError(
            f"--key {trusted}: {_why(error)}; expected a public key or an authority's certificate in PEM"
        ) from error
    _check_covers(bundle, content)
    if authority != (_certificates(content) is not None):
        kind = "a key, not a certificate: give its public key" if authority else "a certificate: give its authority's"
        raise BadArtefact(f"{bundle.path} was signed with {kind} with --key, not {trusted}")
    with tempfile.TemporaryDirectory(prefix="helmsight-") as work, redirect_stdout(sys.stderr):
        copy = Path(work) / SIGNATURE  # so that what is checked here is what was read above
        copy.write_bytes(content)
        try:
            config.verify(bundle.path, copy)
        except Exception as error:  # cryptography's, OpenSSL's, pydantic's and its own
            raise BadArtefact(
                f"{bundle.path}: the signature does not hold for {trusted} ({reason_of(error)}); get the bundle, or "
                "the key, from its maker again"
            ) from error
    return _signed_by(content, trusted)


def _why(error: Exception) -> str:
    """Why a file is no key that can be used."""
    if isinstance(error, OSError):
        return system_reason(error)
    if isinstance(error, AttributeError):  # model-signing asks an RSA key for its curve
        return "it is a key of another kind"
    return reason_of(error)


def _check_covers(bundle: Bundle, content: bytes) -> None:
    """The signed list is just what the bundle was opened with, and nothing else lies there."""
    signed = _signed_hashes(content, f"{bundle.path / SIGNATURE}")
    ours = {MANIFEST: bundle.manifest_sha256, **bundle.manifest.files}
    wrong = {
        "changed": [name for name in ours if name in signed and signed[name] != ours[name]],
        "not signed": [*(name for name in ours if name not in signed), *bundle.unlisted()],
        "missing": [name for name in signed if name not in ours],
    }
    said = [f"{kind}: {', '.join(names[:3])}" for kind, names in wrong.items() if names]
    if said:
        raise BadArtefact(f"{bundle.path} is not as it was signed ({'; '.join(said)}); get it from its maker again")


def _signed_hashes(content: bytes, name: str) -> dict[str, str]:
    try:
        envelope = parse_json(content, name)
        check_form(envelope, _ENVELOPE, "it")
        payload = base64.b64decode(envelope["dsseEnvelope"]["payload"], validate=True)
        statement = parse_json(payload, f"the statement in {name}")
        check_form(statement, _STATEMENT, "its statement")
    except (ValueError, binascii.Error) as error:
        raise BadArtefact(
            f"{name} is no signature of model-signing ({reason_of(error)}); get the bundle from its maker"
        ) from error
    resources: list[dict[str, Any]] = statement["predicate"]["resources"]
    if any(one["algorithm"] != "sha256" for one in resources):
        raise BadArtefact(f"{name} signs other hashes than SHA-256; sign the bundle again with helmsight")
    return {one["name"]: one["digest"] for one in resources}


def _certificates(content: bytes) -> list[dict[str, str]] | None:
    """The chain that a signature brings, the signer's certificate first; None for one made with a bare key."""
    material = parse_json(content, SIGNATURE)["verificationMaterial"]
    chain: list[dict[str, str]] | None = material.get("x509CertificateChain", {}).get("certificates")
    return chain


def _signed_by(content: bytes, trusted: Path) -> str:
    """The signer, once the signature holds."""
    chain = _certificates(content)
    if chain is None:
        return f"the key of {trusted.name}"
    der = base64.b64decode(chain[0]["rawBytes"])
    subject = need("cryptography.x509", _EXTRA).load_der_x509_certificate(der).subject.rfc4514_string()
    return f"{subject} (certificate SHA-256 {hashlib.sha256(der).hexdigest()}, by {trusted.name})"
