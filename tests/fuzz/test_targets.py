"""Every target takes the seeds and some random bytes; `run.py` tries far more."""

import random

import pytest
from fuzz.targets import SEEDS, TARGETS

from support.depth import DEEP


@pytest.mark.parametrize("name", TARGETS)
def test_target(name):
    source = random.Random(1)
    inputs = [*SEEDS, *(source.randbytes(source.randrange(300)) for _ in range(100 if DEEP else 5))]
    for data in inputs:
        TARGETS[name](data)
