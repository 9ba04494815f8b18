"""Headless Chromium for tests that drive a page; they skip where none starts."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Error, sync_playwright

# A browser that asks nobody for updates.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@contextmanager
def headless_chromium() -> Generator[Browser]:
    """The machine's Chromium, or that of Playwright; skips where neither starts."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        except Error as error:
            pytest.skip(f"no Chromium that starts: {error.message.splitlines()[0]}")
        yield browser
        browser.close()
