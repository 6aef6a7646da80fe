"""The page in a real Chromium: no errors, sorts, by keyboard too, accessible in light and dark, whole on a phone.

`make browser` installs what this needs; without it the tests skip.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeps_on_disk import grid, write_curve, write_sweep

from analysis.compare import compare
from analysis.rating.annotate import sheet_of, write_sheet
from analysis.report import write_page
from trainables.config import EvalConfig

pytest.importorskip("selenium", reason="selenium is not installed (pip install '.[dev]')")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE = Path(os.environ.get("AXE", Path(sys.prefix) / "browser/node_modules/axe-core/axe.min.js"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are absent; `make browser`"),
]
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for argument in (*QUIET, "--disable-component-update", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("page") / "run"
    trials = grid(D={"state": "failed", "cause": "<script>document.title = 'run'</script>"})
    write_sweep(folder, trials, EvalConfig(validation_examples=20, test_examples=40), banner="STAND-IN: a test")
    for place, name in enumerate("ABCEFGH"):
        write_curve(folder, name, [2.6, 2.3 - 0.02 * place, 2.2, 2.1])
    full = tmp_path_factory.mktemp("full") / "run"
    write_sweep(full, grid(), EvalConfig(validation_examples=20, test_examples=40))
    sheet, *_ = write_sheet(sheet_of(compare(full), "", 3), full)
    return {"failed": write_page(folder).path, "full": write_page(full).path, "sheet": sheet}


def visit(browser: webdriver.Chrome, path: Path, scheme: str = "light", width: int = 1280) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())


def column(browser: webdriver.Chrome, place: int) -> list[str]:
    cells = browser.find_elements(By.CSS_SELECTOR, f"#table-comparison tbody tr > :nth-child({place})")
    return [cell.text for cell in cells]


def head(browser: webdriver.Chrome, title: str) -> tuple[int, WebElement]:
    heads = browser.find_elements(By.CSS_SELECTOR, "#table-comparison thead th")
    place = [one.text.replace("‑", "-") for one in heads].index(title)
    return place + 1, heads[place]


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text != "–"]


@pytest.mark.parametrize("name", ["failed", "full", "sheet"])
def test_it_renders_without_errors_and_asks_the_network_for_nothing(
    browser: webdriver.Chrome, files: dict[str, Path], name: str
) -> None:
    visit(browser, files[name])
    assert browser.get_log("browser") == []
    asked = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert all('"url":"file://' in one or '"url":"data:' in one for one in asked)
    assert browser.title != "run"  # the script in a cause is text


def test_a_click_sorts_down_then_up_then_as_it_was(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    visit(browser, files["failed"])
    place, found = head(browser, "R-L")
    before = column(browser, place)
    button = found.find_element(By.TAG_NAME, "button")
    button.click()
    down = column(browser, place)
    assert numbers(down) == sorted(numbers(before), reverse=True)
    assert down[-1] == "–"  # what has no score is last, either way
    assert found.get_attribute("aria-sort") == "descending"
    assert "Sorted by R" in browser.find_element(By.ID, "sorted").get_attribute("textContent")
    button.click()
    up = column(browser, place)
    assert numbers(up) == sorted(numbers(before))
    assert up[-1] == "–"
    button.click()
    assert column(browser, place) == before
    assert found.get_attribute("aria-sort") is None


def test_sizes_and_times_sort_by_what_they_are(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    visit(browser, files["full"])
    place, found = head(browser, "adapter")
    found.find_element(By.TAG_NAME, "button").click()
    assert column(browser, place)[:8] == ["1.5 MiB"] * 4 + ["769 KiB"] * 4


def test_the_keyboard_reaches_and_sorts(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    visit(browser, files["full"])
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the answer"
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.tag_name == "button":
            break
    button = browser.switch_to.active_element
    button.send_keys(Keys.ENTER)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("name", ["failed", "full", "sheet"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_passes_axe(browser: webdriver.Chrome, files: dict[str, Path], name: str, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is absent; `make browser` installs it where npm is")
    visit(browser, files[name], scheme)
    for closed in browser.find_elements(By.CSS_SELECTOR, "details:not([open])"):
        browser.execute_script("arguments[0].open = true", closed)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = browser.execute_async_script("axe.run().then(arguments[0])")
    wrong = [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found["violations"]]
    assert wrong == []
    assert len(found["passes"]) > 10


@pytest.mark.parametrize("name", ["failed", "full", "sheet"])
def test_nothing_is_wider_than_a_phone(browser: webdriver.Chrome, files: dict[str, Path], name: str) -> None:
    visit(browser, files[name], width=360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    size = browser.find_element(By.TAG_NAME, "p").value_of_css_property("font-size")
    assert float(size.removesuffix("px")) >= 14


def test_dark_is_dark_and_figures_follow(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        visit(browser, files["full"], scheme)
        body = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        text = browser.find_element(By.CSS_SELECTOR, "svg text").value_of_css_property("fill")
        seen[scheme] = (body, text)
    assert seen["light"][0] in ("rgb(255, 255, 255)", "rgba(255, 255, 255, 1)")
    assert seen["dark"][0] != seen["light"][0]
    assert seen["dark"][1] != seen["light"][1]


def test_a_rating_is_saved_as_csv(browser: webdriver.Chrome, files: dict[str, Path], tmp_path: Path) -> None:
    visit(browser, files["sheet"])
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for choice in browser.find_elements(By.CSS_SELECTOR, "input[value=left]")[:2]:
        choice.click()
    assert browser.find_element(By.ID, "done").text == "2 of 3 rated."
    browser.find_element(By.ID, "save").click()
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 20).until(lambda _: list(tmp_path.glob("ratings-*.csv")))
    (path,) = tmp_path.glob("ratings-*.csv")
    from analysis.rating.annotate import read_ratings

    found = read_ratings([path], files["sheet"].parent)
    assert (found.items, sum(found.votes.values())) == (2, 2)
