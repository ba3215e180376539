"""A real browser without a window, for pages that people look at. Without Chromium and Selenium these tests are skipped."""

import os
import shutil

import pytest

REQUIRED = os.environ.get("TENSORBUNDLE_REQUIRE_BROWSER") == "1"
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1280,1600"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser():
    """A Selenium driver of Chromium that keeps what pages print on the console."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from selenium import webdriver
    except ImportError:
        driver = None
    if driver is None or chromium is None:
        reason = "needs chromium, chromedriver and the [browser] extra"
        pytest.fail(reason) if REQUIRED else pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for each in OPTIONS:
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture
def show(browser, tmp_path):
    """Opens an HTML page in the browser; at the end nothing must be on its console."""

    def opened(html):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        browser.get(path.as_uri())
        assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
        return browser

    yield opened
    assert browser.get_log("browser") == []
