"""How much longer than reading and checksumming the files does it take to verify them?"""

import pytest


@pytest.mark.parametrize("contender", ["tensorbundle", "bare loop"])
def test_verify(contender, compare, checkpoint, tensorbundle, program):
    """Whole processes."""
    prefix = checkpoint("name-based")
    files = sorted(prefix.parent.iterdir())
    commands = {
        "tensorbundle": [*tensorbundle, "verify", prefix],
        "bare loop": [*program("bare"), "checksum", *files],
    }
    volume = sum(path.stat().st_size for path in files)
    measured = compare("verify", contender, commands[contender], reads=files, volume=volume)
    if contender == "tensorbundle":
        assert measured.output.startswith("200 tensors, ")
        assert measured.output.endswith("checked: no problems\n")
    else:
        assert len(measured.output.splitlines()) == len(files)
