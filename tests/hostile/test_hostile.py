"""Work stays in proportion to the size of a hostile file, in every command: counted, so that a busy machine says the same.

`measure.py` beside this file tells seconds and megabytes.
"""

import io

import pytest

from support.cost import steps
from support.depth import DEEP, sample
from support.hostile import INPUTS, command_lines, write_model
from tensorbundle.tools.cli import main

# What four times the size may take: 4 is in proportion, 16 the square; what takes some time at any size comes on top.
GROWTH = 9
# Of these, all names or paths together grow with the square, or the bytes that all tensors name together.
SQUARE = {
    "chain",
    "deep_chain",
    "many_scopes",
    "deep_scopes",
    "prefix_bomb",
    "prefix_bombs",
    "many_string_tensors",
}
SMALL = 100  # of the full size, the smaller one


def pairs():
    """Every hostile file with every command; of all, every 17th."""
    every = [
        pytest.param(name, label, id=f"{name}-{label}")
        for name, each in INPUTS.items()
        for label in command_lines(each.kind, *["x"] * 3)
    ]
    return every[::17] if DEEP else sample(every, 20)


def work(tmp_path, monkeypatch, name, label, count):
    """How many lines of Python a command executes for a hostile file made with this count, and its exit status."""
    folder = tmp_path / str(count)
    folder.mkdir()
    each = INPUTS[name]
    path = each.make(folder, count)
    argv = command_lines(each.kind, path, tmp_path / "model", tmp_path / "out", each.key)[label]
    status = []

    def run():
        if each.kind == "text":
            monkeypatch.setattr("sys.stdin", io.StringIO(path.read_text()))
        status.append(main(argv))

    run()  # for imports, and whatever is kept from one call to the next
    return steps(run), status[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "label"), pairs())
def test_work_is_in_proportion_to_the_size(tmp_path, monkeypatch, capsys, name, label):
    write_model(tmp_path / "model")
    small = max(4, INPUTS[name].full // SMALL)
    less, _ = work(tmp_path, monkeypatch, name, label, small)
    more, status = work(tmp_path, monkeypatch, name, label, 4 * small)
    assert status in (0, 1, 2)
    assert more <= (4 if name in SQUARE else 1) * GROWTH * less
    assert "unexpected" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["cast", "SRC", "DST", "*=float16"],
        ["average", "SRC", "SRC", "DST"],
        ["convert", "SRC", "DST", "--to", "v1"],
        ["set", "SRC", "DST", "a=1"],
        ["partition", "SRC", "DST", "a=2:69"],
        ["split", "SRC", "DST", "a", "x=1", "y=1", "--axis", "69"],
        ["resize", "SRC", "DST", "a", "--old-vocab", "VOCABULARY", "--new-vocab", "VOCABULARY"],
    ],
    ids=lambda argv: argv[0],
)
def test_values_that_numpy_can_not_have_are_refused_by_name(argv, tmp_path, capsys):
    source = INPUTS["high_rank"].make(tmp_path, INPUTS["high_rank"].full)
    (tmp_path / "tokens").write_text("a\n")
    places = {"SRC": source, "DST": tmp_path / "out", "VOCABULARY": tmp_path / "tokens"}
    assert main([str(places.get(each, each)) for each in argv]) == 2
    assert f"{source}: key 'a': NumPy can't have an array of shape [1, " in capsys.readouterr().err
    assert not [*tmp_path.glob("out*")]


def test_dictionaries_in_each_other_are_refused(tmp_path, capsys):
    """Each may be a layer, so that all of its contents would be looked at twice as often as those around it.

    Which check comes first does not matter: both refuse before that is done.
    """
    source = INPUTS["diamonds"].make(tmp_path, 35 * 40)
    assert main(["convert", str(source), str(tmp_path / "out.weights.h5")]) == 2
    told = capsys.readouterr().err
    assert "may be dictionaries of layers" in told or "are layers or dictionaries of variables" in told
