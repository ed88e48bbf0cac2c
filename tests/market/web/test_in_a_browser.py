"""The whole way in a real browser: taps, bytes, a lost connection, no script, and nothing that runs from a bounty's words."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import FileChooser, Page, Response

from market.accounts.models import Agent
from tasks.models import Claim, Submission, WorkerProfile
from tests import photographs, stories

pytestmark = pytest.mark.django_db(transaction=True)

KIB = 1024
SCRIPTS = [
    "<script>boom()</script>",
    "<img src=x onerror=boom()>",
    "<svg onload=boom()>",
    '"><script>boom()</script>',
    "' autofocus onfocus=boom() x='",
    "javascript:boom()",
    "{{constructor.constructor('boom()')()}}",
    "</title><script>boom()</script>",
    "<a href=javascript:boom()>click</a>",
    "<iframe srcdoc='<script>parent.boom()</script>'>",
    "&lt;script&gt;boom()&lt;/script&gt;",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=boom()>",
]


class Taps:
    """A finger that counts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0

    def on(self, selector: str) -> None:
        """Tap once."""
        self.count += 1
        self.page.locator(selector).first.tap()


def _shoot(chooser: FileChooser, name: str = "coffee.png") -> None:
    """Press the shutter."""
    chooser.set_files({"name": "IMG_1.jpg", "mimeType": "image/jpeg", "buffer": photographs.jpeg(name, quality=100)})


def _claim_and_shoot(page: Page, bounty_path: str) -> None:
    page.goto(bounty_path)
    with page.expect_file_chooser() as chooser:
        page.locator("[data-claim-button]").tap()
    page.wait_for_url("**/claims/*")
    _shoot(chooser.value)
    page.wait_for_selector("text=You are at the place")


def test_three_taps_from_the_list_to_a_sent_photo(phone: Page, agent: Agent) -> None:
    stories.post_photo_bounty(agent)
    phone.goto("/")
    taps = Taps(phone)
    taps.on(".tasks a")
    with phone.expect_file_chooser() as chooser:
        taps.on("[data-claim-button]")
    # The claim is made while the camera is open: its time begins before the shutter.
    phone.wait_for_url("**/claims/*")
    claim = Claim.objects.get()
    code = phone.locator(".code").inner_text()
    _shoot(chooser.value)
    taps.on("[data-send-button]")
    phone.wait_for_url("**/submissions/*")
    submission = Submission.objects.get()
    assert taps.count == 3
    assert len(code) == 19
    assert (submission.reported_latitude, submission.reported_longitude, submission.reported_accuracy_m) == (*stories.PLACE, 8.0)
    assert submission.reported_captured_at is not None
    assert submission.reported_captured_at > claim.created_at
    file = submission.evidence.get()
    assert file.byte_count <= 500_000
    assert file.reported_original_sha256 not in ("", file.sha256)
    assert len(photographs.jpeg("coffee.png", quality=100)) > 500_000


def test_the_position_is_asked_on_a_tap_only(open_phone: Callable[..., Page], agent: Agent) -> None:
    stories.post_photo_bounty(agent)
    page = open_phone()
    page.add_init_script("navigator.geolocation.getCurrentPosition = () => { window.asked = (window.asked || 0) + 1; };")
    for address in ("/", f"/tasks/{stories.post_photo_bounty(agent).task}", "/recover"):
        page.goto(address)
        assert page.evaluate("window.asked || 0") == 0
    page.goto("/")
    page.locator("[data-locate-button]").first.tap()
    assert page.evaluate("window.asked") == 1


def test_near_me_sorts_by_distance(phone: Page, agent: Agent) -> None:
    for number, north in enumerate((0.02, 0.001, 0.01)):
        stories.post_photo_bounty(agent, question=f"Is the kiosk number {number} open? Show its sign.", latitude=stories.PLACE[0] + north)
    phone.goto("/")
    phone.locator("[data-locate-button]").first.tap()
    phone.wait_for_selector("h1:has-text('Tasks near you')")
    assert [re.findall(r"number \d", text)[0] for text in phone.locator(".what").all_inner_texts()] == ["number 1", "number 2", "number 0"]
    assert phone.locator(".facts").first.inner_text().startswith("100 m")


def test_first_visit_is_small_and_stays_at_home(phone: Page, agent: Agent) -> None:
    for number in range(20):
        stories.post_photo_bounty(agent, question=f"What does the sign above door number {number} at the square say today? Show the sign.")
    answers: list[Response] = []
    phone.on("response", lambda answer: answers.append(answer))  # Playwright marks its handlers, which a built-in refuses.
    weight = {"script": 0, "all": 0}
    for address, most_kib in (("/", 30), (f"/tasks/{stories.post_photo_bounty(agent).task}", 30)):
        answers.clear()
        phone.context.clear_cookies()
        phone.goto(address, wait_until="networkidle")
        sizes = [
            (urlsplit(answer.url), answer.request.sizes()["responseBodySize"]) for answer in answers if answer.request.url[:5] != "data:"
        ]
        weight["all"] = sum(size for _, size in sizes)
        weight["script"] = max([weight["script"], *(size for url, size in sizes if url.path.endswith(".js"))])
        assert {url.netloc for url, _ in sizes} == {urlsplit(phone.url).netloc}
        assert 0 < weight["all"] <= most_kib * KIB, sizes
    assert 0 < weight["script"] <= 10 * KIB


def test_a_lost_connection_loses_no_photo_and_sends_none_twice(phone: Page, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent)
    _claim_and_shoot(phone, f"/tasks/{bounty.task}")
    # The request arrives, its answer is lost; then there is no connection at all; then there is.
    phone.route("**/send", lambda route: (route.fetch(), route.abort()), times=1)
    phone.locator("[data-send-button]").tap()
    phone.wait_for_selector("text=Not sent. Your photo is still here")
    phone.context.set_offline(True)
    phone.locator("[data-send-button]").tap()
    phone.wait_for_selector("button:has-text('Send the photo'):enabled")
    phone.context.set_offline(False)
    phone.locator("[data-send-button]").tap()
    phone.wait_for_url("**/submissions/*")
    assert Submission.objects.count() == 1


def test_a_quick_finger_claims_and_sends_once(phone: Page, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent, slots=3)
    phone.goto(f"/tasks/{bounty.task}")
    with phone.expect_file_chooser() as chooser:
        phone.evaluate("() => { const b = document.querySelector('[data-claim-button]'); b.click(); b.click(); b.click(); }")
    phone.wait_for_url("**/claims/*")
    _shoot(chooser.value)
    phone.wait_for_selector("text=You are at the place")
    phone.evaluate("() => { const b = document.querySelector('[data-send-button]'); b.click(); b.click(); b.click(); }")
    phone.wait_for_url("**/submissions/*")
    assert (WorkerProfile.objects.count(), Claim.objects.count(), Submission.objects.count()) == (1, 1, 1)


def test_without_a_position_it_says_so_and_can_be_sent(open_phone: Callable[..., Page], agent: Agent) -> None:
    page = open_phone(permissions=[], geolocation=None)
    page.goto(f"/tasks/{stories.post_photo_bounty(agent).task}")
    with page.expect_file_chooser() as chooser:
        page.locator("[data-claim-button]").tap()
    page.wait_for_url("**/claims/*")
    _shoot(chooser.value)
    page.wait_for_selector("text=Your phone gave no position")
    page.locator("[data-send-button]").tap()
    page.wait_for_url("**/submissions/*")
    assert Submission.objects.get().reported_latitude is None


def test_far_away_it_says_how_far_before_sending(open_phone: Callable[..., Page], agent: Agent) -> None:
    page = open_phone(geolocation={"latitude": stories.PLACE[0] + 0.01, "longitude": stories.PLACE[1], "accuracy": 5})
    page.goto(f"/tasks/{stories.post_photo_bounty(agent).task}")
    with page.expect_file_chooser() as chooser:
        page.locator("[data-claim-button]").tap()
    page.wait_for_url("**/claims/*")
    _shoot(chooser.value)
    page.wait_for_selector("text=You are about 1112 m away; it counts within 50 m")


def test_a_task_that_somebody_took_says_so_after_the_tap(phone: Page, agent: Agent, worker: WorkerProfile) -> None:
    bounty = stories.post_photo_bounty(agent)
    phone.goto(f"/tasks/{bounty.task}")
    stories.claim(bounty, worker)
    phone.locator("[data-claim-button]").tap()
    phone.wait_for_selector("text=Somebody else is on it")
    assert WorkerProfile.objects.count() == 2


def test_a_waiting_page_shows_the_verdict_by_itself(phone: Page, agent: Agent) -> None:
    _claim_and_shoot(phone, f"/tasks/{stories.post_photo_bounty(agent).task}")
    asked_for: list[str] = []
    phone.on("request", lambda request: asked_for.append(urlsplit(request.url).path))
    phone.locator("[data-send-button]").tap()
    phone.wait_for_url("**/submissions/*")
    address = urlsplit(phone.url).path
    for _ in range(2):
        phone.wait_for_event("response", lambda response: urlsplit(response.url).path == address)
    phone.wait_for_selector("img.shot")
    stories.settle(Submission.objects.get())
    phone.wait_for_selector("h1:has-text('Accepted')")
    assert phone.locator(".pay").inner_text() == "+$10.00"
    assert len([path for path in asked_for if path.startswith("/photos/")]) == 1, "the photo was loaded again"


def test_works_without_a_script(open_phone: Callable[..., Page], agent: Agent) -> None:
    stories.post_photo_bounty(agent)
    page = open_phone(java_script_enabled=False)
    page.goto("/")
    page.locator("summary").tap()
    page.fill("[name=place]", "52.52 13.41")
    page.locator("text=Use this place").tap()
    page.locator(".tasks a").tap()
    page.select_option("[name=country]", "FR")
    page.locator("[data-claim-button]").tap()
    page.wait_for_url("**/claims/*")
    with page.expect_file_chooser() as chooser:
        page.locator("[data-camera]").tap()
    _shoot(chooser.value)
    page.locator("[data-send-button]").tap()
    page.wait_for_url("**/submissions/*")
    stories.settle(Submission.objects.get(), "REJECTED")
    page.reload()
    page.locator("text=Take it again").tap()
    page.wait_for_url("**/claims/*")
    page.locator("text=It can't be done").tap()
    page.locator("text=It is closed").tap()
    with page.expect_file_chooser() as chooser:
        page.locator("[data-camera]").tap()
    _shoot(chooser.value, "rocket.jpg")
    page.locator("[data-send-button]").tap()
    page.wait_for_url("**/submissions/*")
    assert list(Submission.objects.order_by("number").values_list("kind", flat=True)) == ["EVIDENCE", "NEGATIVE"]
    assert WorkerProfile.objects.get().country == "FR"


def test_nothing_in_a_bountys_words_runs(phone: Page, agent: Agent, worker: WorkerProfile) -> None:
    ran: list[str] = []
    refused: list[str] = []
    phone.expose_function("boom", lambda: ran.append(phone.url))
    phone.on("console", lambda message: refused.append(message.text) if "Content Security Policy" in message.text else None)
    # Past the screening, which would refuse most of these: as if it had let them through.
    for number, script in enumerate(SCRIPTS):
        task = stories.post_photo_bounty(agent, offer_more={"slots": 1}).task
        words = {**task.terms, "question": f"{script} Is it open? {number}", "must_show": [f"{script} sign"]}
        type(task).objects.filter(pk=task.pk).update(title=f"{script} {number}", terms=words)
        phone.goto(f"/tasks/{task}")
        assert phone.locator("h1").inner_text().strip() == f"{script} {number}"
    agent.name = SCRIPTS[0]
    agent.save(update_fields=["name"])
    phone.goto("/")
    assert phone.locator(".what").count() == len(SCRIPTS)
    phone.locator(".tasks a").first.tap()
    phone.locator("[data-claim-button]").tap()
    phone.wait_for_url("**/claims/*")
    phone.wait_for_load_state("networkidle")
    assert (ran, refused) == ([], [])
