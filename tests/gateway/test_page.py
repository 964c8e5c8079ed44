"""The page, in a real browser."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

import sremote
from sremote.hosts import HostSettings, add_host
from tests.kit.gateway import TOKEN, Gateway, gateway
from tests.kit.requirements import need_program

PATIENCE = 60
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--ignore-certificate-errors",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(lab: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """A browser without JavaScript that has signed in: what is tested with it works without."""
    with chromium(tmp_path_factory.mktemp("profile"), scripts=False) as browser:
        sign_in(browser, lab)
        yield browser


@pytest.fixture(scope="module")
def chromium_with_scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("profile"), scripts=True) as browser:
        yield browser


@pytest.fixture
def scripted(chromium_with_scripts: WebDriver, lab: Gateway) -> WebDriver:
    """A browser with JavaScript that has not signed in."""
    chromium_with_scripts.get(lab.url + "/")
    chromium_with_scripts.delete_all_cookies()
    return chromium_with_scripts


@contextmanager
def chromium(profile: Path, *, scripts: bool) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = need_program("chromium", "chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    browser = webdriver.Chrome(options, webdriver.ChromeService(need_program("chromedriver", "chromium-driver")))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def client(lab: Gateway) -> Iterator[sremote.Client]:
    with sremote.connect(str(lab.address), root=str(lab.settings.home / ".sremote"), **lab.options) as client:
        yield client


def sign_in(browser: WebDriver, lab: Gateway, token: str = TOKEN) -> None:
    browser.get(lab.url + "/")
    browser.find_element(By.NAME, "token").send_keys(token)
    click(browser, "Sign in")


def click(browser: WebDriver, words: str) -> None:
    browser.find_element(By.XPATH, f"//button[text()='{words}']").click()


def text_of(browser: WebDriver) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def reload_until(browser: WebDriver, is_so: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if is_so():
                return
        except (NoSuchElementException, StaleElementReferenceException):
            pass
        assert time.monotonic() < end, text_of(browser)
        time.sleep(0.2)
        browser.refresh()


def test_a_wrong_token_shows_nothing(lab: Gateway, scripted: WebDriver) -> None:
    sign_in(scripted, lab, "wrong")

    assert "That is not the token of this gateway." in text_of(scripted)
    assert "Jobs" not in text_of(scripted)


def test_the_hosts_of_the_hosts_file_are_shown(lab: Gateway, browser: WebDriver) -> None:
    add_host("cluster", HostSettings("user@login.example.org"))

    browser.get(lab.url + "/")

    assert [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#hosts td")] == [
        "cluster",
        "user@login.example.org",
    ]


def test_a_job_is_shown_with_its_state_and_its_log_and_can_be_cancelled(
    lab: Gateway, browser: WebDriver, client: sremote.Client, tmp_path: Path
) -> None:
    script = f"echo $$ >{tmp_path}/pid; echo '<b>working</b>'; echo warning >&2; exec sleep 1000"
    job = client.submit("os", "system", [script])

    browser.get(lab.url + "/")
    reload_until(browser, lambda: "running" in browser.find_element(By.ID, job.id).text)
    assert "os.system" in browser.find_element(By.ID, job.id).text
    browser.find_element(By.LINK_TEXT, job.id).click()
    reload_until(browser, lambda: browser.find_element(By.ID, "stdout").text == "<b>working</b>")
    assert browser.find_element(By.ID, "stderr").text == "warning"
    click(browser, "Cancel")

    reload_until(browser, lambda: "cancelled" in text_of(browser))
    assert browser.find_elements(By.XPATH, "//button[text()='Cancel']") == []
    process = Path("/proc", (tmp_path / "pid").read_text().strip())
    reload_until(browser, lambda: not process.exists())


def test_a_job_that_has_ended_keeps_its_log(lab: Gateway, browser: WebDriver, client: sremote.Client) -> None:
    job = client.submit("builtins", "print", ["all done"])

    browser.get(f"{lab.url}/jobs/{job.id}")
    reload_until(browser, lambda: "succeeded" in text_of(browser))

    assert browser.find_element(By.ID, "stdout").text == "all done"


def test_a_job_that_is_not_there(lab: Gateway, browser: WebDriver) -> None:
    for name in ("20200101T000000-0123456789abcdef", "x"):
        browser.get(f"{lab.url}/jobs/{name}")
        assert "There is no job of that id here." in text_of(browser)


def test_a_page_of_another_site_cannot_cancel_a_job(
    lab: Gateway, scripted: WebDriver, client: sremote.Client, tmp_path: Path
) -> None:
    """The browser is signed in, and a form of a local file sends itself."""
    sign_in(scripted, lab)
    job = client.submit("time", "sleep", [1000])
    try:
        page = tmp_path / "evil.html"
        page.write_text(
            f"<form method=post action='{lab.url}/jobs/{job.id}/cancel'><input name=csrf value=x></form>"
            "<script>document.forms[0].submit()</script>"
        )
        scripted.get(page.as_uri())
        reload_until(scripted, lambda: "another site" in scripted.page_source)
        assert not job.status().state.ended
    finally:
        job.cancel()


def test_the_pages_policy_lets_no_script_run(lab: Gateway, scripted: WebDriver) -> None:
    """Chromium's own word for it: a script that is put into the page is refused."""
    sign_in(scripted, lab)
    scripted.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.ran = true';"
        "document.body.append(script)"
    )

    assert scripted.execute_script("return window.ran === true") is False
    assert not [entry for entry in scripted.get_log("browser") if "style.css" in entry["message"]]


def test_signing_out(lab: Gateway, scripted: WebDriver) -> None:
    sign_in(scripted, lab)
    assert "Jobs" in text_of(scripted)

    click(scripted, "Sign out")
    scripted.get(lab.url + "/")

    assert "Jobs" not in text_of(scripted)
    assert scripted.find_element(By.NAME, "token")
