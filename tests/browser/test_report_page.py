"""Reports in a real browser: they open, nothing in them is run as a script, and everything can be reached by keyboard."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from tensorbundle.tools import convert, report
from tensorbundle.tools import set as set_values

CSS, ID = "css selector", "id"  # Selenium's names, without an import that a skip would come too late for
ENTER, ESCAPE = "\ue007", "\ue00c"
V215 = GOLDEN / "tf-2.15"
SAMPLE = GOLDEN / "sample"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 2'>/\"><svg onload=window.hit=3>",
    "</script><script>window.hit = 4</script>",
    "javascript:window.hit=5",
    "a\u2028b\u202e\x1b[31m\0c",
    "{{7*7}}/${window.hit=6}/%s",
    "x/" * 3000,
    "n" * 5000,
]


def text(browser, selector):
    return browser.find_element(CSS, selector).text


def facts(browser):
    """What the summary says, by name."""
    found = browser.find_elements(CSS, "#summary .fact")
    return dict(reversed(each.text.split("\n", 1)) for each in found)


def test_a_saved_model_can_be_read_off(show):
    browser = show(report(V215 / "keras-saved-model"))
    with tb.open(V215 / "keras-saved-model") as ckpt:
        sizes = {key: entry.nbytes for key, entry in ckpt.entries()}
    assert facts(browser)["kind"] == "SavedModel"
    assert facts(browser)["tensors with NaN or Inf"] == "0"
    assert facts(browser)["largest layer"] == text(browser, "#summary tbody tr:first-child .name")
    assert text(browser, "#title") == "keras-saved-model"
    assert facts(browser)["tensors"] == str(len(sizes))
    first = text(browser, "#tensors tbody tr:first-child .name")
    assert max(sizes, key=sizes.get).removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") == first
    assert "#0" in text(browser, "#graph .tree")


def test_the_map_zooms_by_click_and_by_keyboard(show):
    browser = show(report(SAMPLE))
    assert text(browser, "#map .crumbs") == "all"
    scope = browser.find_element(CSS, "#map tbody button")
    name = scope.text
    scope.send_keys(ENTER)
    assert text(browser, "#map .crumbs b") == name
    browser.find_element(ID, "treemap").send_keys(ESCAPE)
    assert text(browser, "#map .crumbs") == "all"
    from selenium.webdriver import ActionChains

    canvas = browser.find_element(ID, "treemap")
    browser.execute_script("arguments[0].scrollIntoView()", canvas)
    ActionChains(browser).move_to_element_with_offset(canvas, -200, 30).click().perform()
    assert text(browser, "#map .crumbs b") != "all"


def test_items_of_the_map_are_told_apart(show, tmp_path):
    """Without what many names begin with, and those of one size in the order of their numbers."""
    with tb.create(tmp_path / "m") as writer:
        for number in range(30):
            writer.add(f"model/layer_{number}/kernel", np.ones(4, np.float32))
            writer.add(f"model/layer_{number}/bias", np.ones(1, np.float32))
    browser = show(report(tmp_path / "m", values=False))
    [model] = browser.execute_script(
        "return echarts.getInstanceByDom(document.getElementById('treemap')).getOption().series[0].data"
    )
    assert model["name"] == "model/layer_…"
    assert [each["name"] for each in model["children"]] == [str(number) for number in range(30)]
    assert facts(browser)["first of 30 layers of the largest size"] == "model/layer_0"


def test_search_finds_an_object_and_opens_the_way_to_it(show, tmp_path):
    convert(SAMPLE, tmp_path / "tf2", to="tf2")
    browser = show(report(tmp_path / "tf2"))
    field = browser.find_element(ID, "graph-search")
    field.send_keys("logits/kernel/adam_1")
    assert text(browser, "#graph-results p") == "1 object:"
    field.send_keys(ENTER)
    focused = browser.switch_to.active_element
    assert "dnn/logits/kernel/Adam_1" in focused.text
    assert focused.is_displayed()


def test_tensors_are_filtered_sorted_and_described(show):
    browser = show(report(SAMPLE))
    field = browser.find_element(ID, "tensors-search")
    label = browser.find_element(CSS, "#tensors label")
    assert label.is_displayed()
    assert label.text == field.accessible_name == "Find a tensor by name, type or shape"
    field.send_keys("hiddenlayer_0/kernel")
    assert text(browser, "#tensors [role=status]").startswith("3 of ")
    browser.find_element(CSS, "#tensors thead button").click()
    names = [each.text for each in browser.find_elements(CSS, "#tensors tbody .name")]
    assert names == sorted(names)
    browser.find_element(CSS, "#tensors tbody button").send_keys(ENTER)
    with tb.open(SAMPLE) as ckpt:
        values = ckpt[names[0]]
    bars = browser.find_elements(CSS, "#tensors svg rect title")
    counts = [int(each.get_attribute("textContent").replace(",", "")) for each in bars]
    assert sum(counts) == values.size
    assert browser.switch_to.active_element.text == names[0]


def test_the_first_screen_says_what_is_asked_first(show, tmp_path):
    """The largest layer, the optimizer, and which tensors have NaN; each tensor with NaN is a link to its row."""
    set_values(SAMPLE, tmp_path / "m", {"dnn/logits/bias": np.array([np.nan], np.float32)})
    browser = show(report(tmp_path / "m"))
    with tb.open(SAMPLE) as ckpt:
        sizes = Counter()
        for key, entry in ckpt.entries():
            sizes[key.rpartition("/")[0]] += 0 if key.endswith(("/Adam", "/Adam_1")) else entry.elements
    said = facts(browser)
    assert said["optimizer"] == "Adam, Ftrl"
    assert said["largest layer"] == sizes.most_common(1)[0][0]
    assert said["tensor with NaN or Inf"] == "1"
    found = browser.find_element(CSS, "#nan tbody button")
    assert found.text == "dnn/logits/bias"
    assert found.rect["y"] + found.rect["height"] < 800
    found.click()
    assert browser.switch_to.active_element.text == "dnn/logits/bias"


def test_problems_are_shown(show, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("good", np.ones(4, np.float32))
        writer.add("bad", np.array([1, np.nan, np.inf], np.float32))
    data = tmp_path / "m.data-00000-of-00001"
    with data.open("r+b") as file:
        file.seek(tb.open(tmp_path / "m").entry("good").offset)
        file.write(b"\xff")
    browser = show(report(tmp_path / "m"))
    assert "checksum" in text(browser, "#problems")
    assert facts(browser)["tensor with NaN or Inf"] == "1"
    assert text(browser, "#nan tbody tr") == "bad 1 1 66.7 %"
    browser.find_element(CSS, "#nan tbody button").send_keys(ENTER)
    assert text(browser, "#tensors tbody tr:first-child").startswith("bad ")


def test_values_that_can_not_be_read(show, tmp_path):
    """It is not said that they have no NaN."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("text", "no number")
        writer.add("x", np.ones(4, np.float32))
        writer.add("y", np.ones(4, np.float32))
    os.truncate(tmp_path / "m.data-00000-of-00001", tb.open(tmp_path / "m").entry("y").offset)
    assert facts(show(report(tmp_path / "m")))["tensors with NaN or Inf"] == "0 found, 1 can't be read"


def test_an_object_graph_that_can_not_be_read(show, tmp_path):
    """It is not said that there is no optimizer."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", "no graph")
        writer.add("x", 1)
    browser = show(report(tmp_path / "m"))
    assert facts(browser)["optimizer"] == "unknown"
    assert "objects and optimizers are unknown" in text(browser, "#summary")


def test_names_are_never_markup_or_script(show, tmp_path):
    with tb.create(tmp_path / "<b>m") as writer:
        for name in HOSTILE:
            writer.add(name, np.ones(3, np.float32))
    browser = show(report(tmp_path / "<b>m"))
    for name in [each.text for each in browser.find_elements(CSS, "#tensors tbody button")]:
        found = browser.find_elements(CSS, "#tensors tbody button")  # drawn anew after each
        next(each for each in found if each.text == name).send_keys(ENTER)
    assert browser.execute_script("return window.hit") is None
    assert browser.find_elements(CSS, "main img, main script, main b:not(.fact b):not(.crumbs b)") == []
    assert text(browser, "#title") == "<b>m"


def test_a_script_that_is_not_of_the_page_is_refused(show):
    """By the policy, should a name ever become markup."""
    browser = show(report(SAMPLE))
    browser.execute_script(
        "const made = document.createElement('script'); made.textContent = 'window.hit = 1'; document.body.append(made)"
    )
    assert browser.execute_script("return window.hit") is None
    [logged] = browser.get_log("browser")
    assert "Content Security Policy" in logged["message"]


def test_two_checkpoints_are_compared(show, tmp_path):
    for name, shift in (("a", 0), ("b", 1)):
        with tb.create(tmp_path / name) as writer:
            writer.add("w", np.arange(4, dtype=np.float32) + shift)
            writer.add("same", np.ones(5, np.float32))
            writer.add(f"only/{name}", np.full(2, shift, np.int32))
    browser = show(report(tmp_path / "a", tmp_path / "b"))
    found = {each.text for each in browser.find_elements(CSS, "#tensors tbody tr")}
    assert any(each.startswith("w value") and each.endswith(" 1") for each in found), found
    assert {"other values", "added", "removed", "the same"} <= facts(browser).keys()


@pytest.fixture(scope="module")
def twenty_thousand(tmp_path_factory):
    """A checkpoint of 500 scopes with 40 tensors each."""
    path = tmp_path_factory.mktemp("many") / "m"
    with tb.create(path) as writer:
        for number in range(20_000):
            writer.add(f"model/layer_{number // 40}/w{number % 40}", np.zeros(number % 7, np.float32))
    return path


def test_twenty_thousand_tensors(show, twenty_thousand, benchmark):
    """Scopes, rows and leaves of the map are drawn when they are opened. `--benchmark-enable` times the page's opening."""
    html = report(twenty_thousand, values=False)
    browser = benchmark.pedantic(show, (html,))
    assert facts(browser)["tensors"] == "20,000"
    assert len(browser.find_elements(CSS, "#tensors tbody tr")) == 200
    assert len(browser.find_elements(CSS, "*")) < 5000
    assert drawn(browser) < 1500

    def press(name):
        listed = browser.find_elements(CSS, "#map tbody button")
        next(each for each in listed if each.text.startswith(name)).send_keys(ENTER)

    press("model")
    press("489 more")  # the smallest scopes are one item, which can be opened as well
    assert text(browser, "#map .crumbs b") == "489 more"
    press("layer_")
    name = text(browser, "#map tbody button")
    press(name)
    assert text(browser, "#tensors tbody tr").split()[0].endswith("/" + name)
    assert len(browser.find_elements(CSS, "#tensors tbody tr")) == 201


def test_two_checkpoints_of_twenty_thousand_tensors(show, twenty_thousand):
    browser = show(report(twenty_thousand, twenty_thousand, values=False))
    assert facts(browser)["the same"] == "20,000"
    assert drawn(browser) < 1500


def drawn(browser):
    """How many items the map has."""
    return browser.execute_script(
        "const count = (of) => of.reduce((sum, each) => sum + 1 + count(each.children || []), 0);"
        "return count(echarts.getInstanceByDom(document.getElementById('treemap')).getOption().series[0].data)"
    )


def test_charts_are_at_rest_as_soon_as_they_are_drawn(show):
    """A click on what still moves would miss."""
    browser = show(report(SAMPLE))
    moving = (
        "setTheme('dark');"
        "return [...document.querySelectorAll('.chart')].map((each) => "
        "echarts.getInstanceByDom(each).getZr().animation.isFinished())"
    )
    assert browser.execute_script(moving) == [True] * 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshots(show, theme, tmp_path, monkeypatch):
    """With TENSORBUNDLE_SCREENSHOTS=1 those of the documentation are made again."""
    monkeypatch.chdir(SAMPLE.parent)
    browser = show(report("sample"))
    browser.execute_script("setTheme(arguments[0])", theme)
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (theme == "light")
    write = os.environ.get("TENSORBUNDLE_SCREENSHOTS") == "1"
    IMAGES.mkdir(exist_ok=True) if write else None
    path = (IMAGES if write else tmp_path) / f"report-{theme}.png"
    assert browser.save_screenshot(str(path))
