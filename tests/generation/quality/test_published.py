"""Which weights a figure is by: the published ones, or others, which are named."""

import hashlib
from dataclasses import replace

from generation.quality.inception import PUBLISHED


def test_weights_are_known_by_their_bytes(tmp_path):
    path = tmp_path / "any.pth"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert replace(PUBLISHED, sha256=digest).name_of(path) == "Inception V3 (TensorFlow, 2015-12-05)"
    assert PUBLISHED.name_of(path) == (
        f"Inception V3 (TensorFlow, 2015-12-05), of other weights than the published: any.pth, SHA-256 {digest[:12]}..."
    )


def test_what_is_missing_is_said_in_full():
    said = PUBLISHED.how("--inception")
    for part in (
        "--inception pt_inception-2015-12-05-6726825d.pth",
        "https://github.com",
        "Apache-2.0",
        PUBLISHED.sha256,
    ):
        assert part in said
    assert PUBLISHED.sha256.startswith(PUBLISHED.file[-12:-4])  # the custom of such files
