"""A worker's phone: what a person does with our pages, told in taps and words."""

from pathlib import Path

from playwright.sync_api import Page

JUDGED_WITHIN_MS = 60_000


class Phone:
    """One worker's phone. `taps` counts the taps on our pages, the camera's own not included."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.taps = 0

    def open(self, path: str = "/") -> None:
        """Open a page by its address."""
        self.page.goto(path)

    def tap(self, words: str) -> None:
        """Tap the button that carries these words."""
        self.taps += 1
        self.page.get_by_role("button", name=words).first.tap()

    def follow(self, words: str) -> None:
        """Tap the link that carries these words."""
        self.taps += 1
        self.page.get_by_role("link", name=words).first.tap()

    def photograph(self, words: str, photo: Path) -> None:
        """Tap what opens the camera, and take the photograph."""
        with self.page.expect_file_chooser() as camera:
            self.tap(words)
        camera.value.set_files(photo)

    def reads(self, words: str) -> None:
        """Wait until the page says these words.

        Raises:
            playwright.sync_api.TimeoutError: it did not say them in time.
        """
        self.page.get_by_text(words).first.wait_for(timeout=JUDGED_WITHIN_MS)
