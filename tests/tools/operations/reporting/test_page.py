"""The files that a report is made of."""

import hashlib
from importlib.resources import files

import pytest


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("echarts.min.js", "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"),
        ("echarts.LICENSE", "634293835b43a6dd2094fa39182a3d9a6b9ca43b7fdb9ac354e8037af2a3093a"),
        ("echarts.NOTICE", "d491d358344f842685c1b1585970999db65fe30ecf7ef3867af8814f4016c016"),
    ],
)
def test_the_library_is_unmodified(name, sha256):
    """These are `dist/echarts.min.js`, `LICENSE` and `NOTICE` of the npm package echarts 6.1.0."""
    asset = files("tensorbundle.tools.operations.reporting").joinpath("assets", name)
    assert hashlib.sha256(asset.read_bytes()).hexdigest() == sha256
