"""The page of a review in a browser: by keyboard, on a phone, and for a screen reader."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support import reviews
from tagger.errors import HeadError
from tagger.review.items import Filter
from tagger.review.review import Review
from tagger.review.statistics import Learned, Rate
from tagger.vocabulary import Tag, Vocabulary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 700}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs chromium, which is not on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def review(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Review]:
    with reviews.opened(tmp_path, rank=getattr(request, "param", None)) as review:
        yield review


@pytest.fixture
def open_tab(browser: Any, review: Review) -> Iterator[Callable[..., Any]]:
    """Opens the page in a window of its own; fails if the page complains or asks others."""
    complaints: list[str] = []
    with reviews.serving(review) as address:
        origin = address.partition("/?")[0]

        def request(asked: Any) -> None:
            if not asked.url.startswith(f"{origin}/"):
                complaints.append(asked.url)

        def hear(message: Any) -> None:
            # A refusal is an answer as good as any other, but browsers report it.
            if not message.text.startswith("Failed to load resource: the server responded"):
                complaints.append(message.text)

        contexts = []

        def open_(**settings: Any) -> Any:
            contexts.append(browser.new_context(**({"viewport": WIDE} | settings)))
            tab = contexts[-1].new_page()
            tab.set_default_timeout(10_000)
            tab.on("console", hear)
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.on("request", request)
            tab.goto(address)
            title(tab)
            return tab

        yield open_
        for context in contexts:
            context.close()
    assert complaints == []


def title(tab: Any) -> str:
    """The name of the README that is shown."""
    tab.wait_for_selector("#columns[aria-busy=false] h2:not(:empty)")
    return str(tab.locator("#title").text_content())


def press(tab: Any, *keys: str) -> str:
    """Press keys, and return the name of the README that is shown after the last of them."""
    for key in keys:
        title(tab)
        tab.keyboard.press(key)
    return title(tab)


def marked(tab: Any) -> list[str]:
    return [
        str(text)
        for text in tab.locator(".chip:has(:checked) > span:first-of-type").all_text_contents()
    ]


def decided(review: Review, id_: str) -> list[str] | None:
    item = review.item(id_)
    return [tag.label for tag in item.decided] if item.state == "reviewed" else None


def test_a_readme_is_decided_by_keys_alone(open_tab: Callable[..., Any], review: Review) -> None:
    tab = open_tab()
    first = title(tab)
    suggested = marked(tab)
    assert suggested
    press(tab, "Enter")
    assert decided(review, first) == suggested

    second = title(tab)
    assert second != first
    unmarked = marked(tab)
    for place, _ in enumerate(unmarked):
        tab.keyboard.press(str(place + 1))
    assert marked(tab) == []
    assert press(tab, "Enter") == second, "nothing is decided by mistake"
    tab.keyboard.press("/")
    tab.keyboard.type("websi")
    tab.keyboard.press("Enter")
    assert marked(tab) == ["web"]
    third = press(tab, "Enter")
    assert decided(review, second) == ["web"]

    fourth = press(tab, "0")
    assert decided(review, third) == []
    press(tab, "s")
    assert review.item(fourth).state == "skipped"
    assert press(tab, "u") == fourth
    assert review.item(fourth).state == "open"
    assert press(tab, "ArrowLeft") == third
    assert tab.locator("#about").text_content() != ""
    assert press(tab, "ArrowRight") == fourth
    assert tab.locator("#counts").text_content() == "3 of 12 reviewed"


def test_a_tab_that_is_opened_again_goes_on(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    tab.keyboard.press("f")
    tab.keyboard.type("most confident")
    tab.keyboard.press("Escape")
    here = press(tab, "Enter", "ArrowRight")
    tab.reload()
    assert title(tab) == here
    assert tab.locator("[name=order]").input_value() == "confident"


def test_the_page_stays_where_a_decision_is_not_kept(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    here = title(tab)
    tab.route("**/api/decide", lambda route: route.fulfill(status=400, json={"error": "disk full"}))
    tab.keyboard.press("Enter")
    tab.get_by_role("alert").get_by_text("disk full").wait_for()
    assert title(tab) == here
    tab.unroute("**/api/decide")
    assert press(tab, "Enter") != here
    assert tab.get_by_role("alert").text_content() == ""


def test_no_key_waits_for_new_suggestions_and_no_complaint_goes_with_them(
    open_tab: Callable[..., Any],
) -> None:
    tab = open_tab()
    held: list[Any] = []
    tab.route("**/api/decide", lambda route: route.fulfill(status=400, json={"error": "disk full"}))
    tab.route("**/api/prepare", lambda route: held.append(route))
    with tab.expect_request("**/api/prepare"):
        tab.reload()
    here = title(tab)
    tab.route("**/api/item?*", lambda route: held.append(route))
    with tab.expect_request("**/api/item?*"):
        held[0].fulfill(json={})
    tab.keyboard.press("Enter")
    tab.get_by_role("alert").get_by_text("disk full").wait_for()
    with tab.expect_request("**/api/next?*"):
        held[1].continue_()
    assert tab.get_by_role("alert").text_content() == "disk full"
    tab.unroute("**/api/decide")
    assert press(tab, "Enter") != here


def test_keys_that_are_pressed_too_soon_accept_nothing(
    open_tab: Callable[..., Any], review: Review
) -> None:
    tab = open_tab()
    held: list[Any] = []
    tab.route("**/api/decide", lambda route: held.append(route))
    with tab.expect_request("**/api/decide"):
        tab.keyboard.press("Enter")
    tab.keyboard.press("1")
    held.pop().continue_()
    here = title(tab)
    tab.keyboard.press("Enter")
    tab.get_by_role("status").get_by_text("did nothing").wait_for()
    tab.wait_for_timeout(700)
    assert title(tab) == here
    assert decided(review, here) is None
    tab.keyboard.press("Shift+Enter")
    assert title(tab) == here
    tab.unroute("**/api/decide")
    assert press(tab, "Enter") != here


def test_another_tab_does_no_harm(open_tab: Callable[..., Any], review: Review) -> None:
    one, other = open_tab(), open_tab()
    here = title(one)
    assert title(other) == here
    press(one, "Enter")
    kept = decided(review, here)
    other.keyboard.press("0")
    other.get_by_role("alert").get_by_text("decided elsewhere").wait_for()
    assert title(other) == here
    assert marked(other) == kept == decided(review, here)


def test_many_are_decided_at_once_and_undone(open_tab: Callable[..., Any], review: Review) -> None:
    tab = open_tab()
    tab.keyboard.press("t")
    tab.get_by_role("heading", name="Statistics").wait_for()
    tab.keyboard.press("b")
    tab.locator("[name=above]").fill("0.8")
    count = review.bulk_count(0.8)
    assert count
    tab.get_by_role("button", name=f"Accept {count} README").click()
    tab.get_by_role("status").get_by_text(f"Accepted {count} README").wait_for()
    assert review.states()["reviewed"] == count
    tab.get_by_text(f"{count} in bulk").wait_for()
    tab.keyboard.press("Escape")
    tab.wait_for_selector("#work:visible")
    press(tab, "u")
    assert review.states()["reviewed"] == 0

    count = review.replace_count("2")
    tab.keyboard.press("b")
    tab.locator("[name=old]").fill("game")
    tab.locator("[name=new]").fill("game-engine")
    tab.get_by_role("button", name=f"Replace in {count} README").click()
    tab.get_by_role("status").get_by_text("Replaced game by game-engine").wait_for()
    assert review.replace_count("2") == 0


def test_statistics_lead_to_tags_and_back_to_work(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    press(tab, "Enter", "Enter", "Enter")
    tab.keyboard.press("t")
    tab.get_by_role("heading", name="Random slice: 3 reviewed").wait_for()
    tab.get_by_role("link", name="web", exact=True).click()
    tab.get_by_role("heading", name="web").wait_for()
    tab.get_by_role("link", name="see all of them").click()
    title(tab)
    assert tab.locator("[name=tag]").input_value() == "web"
    assert "web" in tab.locator("#tags").text_content()


def test_what_is_learned_is_shown_before_and_after(
    open_tab: Callable[..., Any], review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = Rate(30, 50, 0.46, 0.72), Rate(45, 50, 0.79, 0.96)
    lesson: Any = SimpleNamespace(readmes=80)
    head = Path("out.jsonl.head.safetensors")
    learned = Learned(lesson, 10, before, after, 0.7, 0.84, ranked=4900, unread=0, head=head)
    monkeypatch.setattr(review, "learn", lambda: learned)
    tab = open_tab()
    tab.keyboard.press("l")
    tab.get_by_role("button", name="Learn now").click()
    tab.get_by_text("4,900 READMEs have new suggestions").wait_for()
    said = tab.locator("#learned").text_content()
    assert ".60 (.46 to .72)" in said
    assert ".90 (.79 to .96)" in said


@pytest.mark.parametrize("review", [lambda: None], indirect=True)
def test_who_presses_again_while_it_learns_is_told(
    open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, done = threading.Event(), threading.Event()

    def relearn(*_: object) -> Any:
        going_on.set()
        assert done.wait(10)
        raise HeadError("too few READMEs")

    monkeypatch.setattr(
        "tagger.review.relearn.Ranker", lambda *_: SimpleNamespace(best=lambda _: [])
    )
    monkeypatch.setattr("tagger.review.relearn.relearn", relearn)
    one, other = open_tab(), open_tab()
    one.keyboard.press("l")
    one.get_by_role("button", name="Learn now").click()
    assert going_on.wait(10)
    one.keyboard.press("Escape")
    one.keyboard.press("l")
    one.get_by_text("this takes seconds").wait_for()
    one.get_by_role("button", name="Learn now").click()
    one.locator("#learned").get_by_text("Learning is already under way").wait_for()
    other.keyboard.press("l")
    other.get_by_role("button", name="Learn now").click()
    other.locator("#learned").get_by_text("Learning is already under way").wait_for()
    done.set()
    one.locator("#learned").get_by_text("too few READMEs").wait_for()


def test_the_address_opens_the_page_from_another_site(browser: Any, review: Review) -> None:
    with reviews.serving(review) as address:
        tab = browser.new_context().new_page()
        link = f'<a href="{address}">the review</a>'
        tab.route(
            "http://chat.example/", lambda route: route.fulfill(body=link, content_type="text/html")
        )
        tab.goto("http://chat.example/")
        tab.click("a")
        assert title(tab)
        assert "token" not in tab.url
        tab.context.close()


def test_what_is_passed_over_comes_again_and_is_counted(
    open_tab: Callable[..., Any], review: Review
) -> None:
    tab = open_tab()
    first = title(tab)
    second = press(tab, "ArrowRight")
    assert second != first
    tab.get_by_role("status").get_by_text("Passed over").wait_for()
    assert press(tab, "Enter") == first
    press(tab, "ArrowRight")
    tab.keyboard.press("t")
    tab.get_by_role("heading", name="Random slice: 1 reviewed, 1 passed over").wait_for()


def test_tags_are_found_whatever_their_case_and_encoding(browser: Any, tmp_path: Path) -> None:
    names = ("Stra\u00dfe", "Ple\u0301iade", "\u039f\u0394\u039f\u03a3")
    vocabulary = Vocabulary(tuple(Tag(id=n, name=name) for n, name in enumerate(names)))
    row = {"id": "x" * 400, "tags": [{"id": 0, "name": names[0], "confidence": 0.5}]}
    (tmp_path / "out.jsonl").write_text(json.dumps(row) + "\n")
    with Review(tmp_path / "out.jsonl", vocabulary) as review, reviews.serving(review) as address:
        tab = browser.new_context(viewport=PHONE).new_page()
        tab.goto(address)
        title(tab)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.locator("#title").bounding_box()["height"] < 150
        for text, name in zip(
            ("STRASSE", "pl\u00e9i", "\u03bf\u03b4\u03bf\u03c2"), names, strict=True
        ):
            tab.locator("#search").fill(text)
            assert tab.locator("#found li").first.text_content() == name
        tab.context.close()


def test_an_unknown_tag_in_the_filter_changes_nothing_of_what_bulk_is_about(
    open_tab: Callable[..., Any], review: Review
) -> None:
    tab = open_tab()
    tab.locator("[name=tag]").fill("web")
    tab.locator("[name=tag]").press("Tab")
    title(tab)
    tab.locator("[name=tag]").fill("nothing of the list")
    tab.get_by_role("button", name="Bulk").click()
    tab.get_by_text("open READMEs with the tag web").wait_for()
    tab.locator("[name=above]").fill("0")
    count = review.bulk_count(0.0, "uncertain", Filter(tag="4"))
    assert 0 < count < review.bulk_count(0.0)
    tab.get_by_role("button", name=f"Accept {count} README").wait_for()


def test_nothing_of_a_readme_runs(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    assert title(tab) in tab.title()
    assert tab.locator("#readme :is(script, img, style, iframe)").count() == 0
    assert "evil" not in tab.title()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", PHONE)])
def test_it_fits_a_screen_of_any_width_and_axe_finds_nothing(
    open_tab: Callable[..., Any], scheme: str, viewport: dict[str, int]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab = open_tab(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")

    def check() -> None:
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = Axe().run(tab)
        assert found.violations_count == 0, found.generate_report()

    check()
    press(tab, "Enter")
    tab.keyboard.press("/")
    tab.keyboard.type("ga")
    check()
    tab.keyboard.press("Escape")
    for key in ("b", "?"):
        tab.keyboard.press(key)
        tab.wait_for_selector("dialog[open]")
        check()
        tab.keyboard.press("Escape")
    tab.keyboard.press("t")
    tab.get_by_role("heading", name="Statistics").wait_for()
    check()
    tab.locator("tbody a").first.click()
    tab.get_by_text("The two rates are of the random slice.").wait_for()
    check()
    tab.get_by_role("link", name="Review", exact=True).click()
    tab.locator("[name=state]").select_option("skipped")
    tab.get_by_role("heading", name="Nothing left here").wait_for()
    check()
