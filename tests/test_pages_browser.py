"""The pages in a real browser: on an empty, the flights' and a hostile store, in both themes, by keyboard alone."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fourfold as ff
from fourfold.model.access import Role
from fourfold.serve.service import LOOPBACK, Reach
from fourfold.state import tokens
from tests import hostile
from tests.browsing import THEMES, Tab, browser, served

pytestmark = pytest.mark.services
PAGES = (
    "/", "/incidents", "/incidents?state=all", "/pipeline", "/tasks", "/streams", "/box", "/runs", "/trace",
    "/compare", "/search?q=a", "/settings",
)  # fmt: skip
READABLE = (Path(__file__).parent / "readable.js").read_text()
MOST = 3  # pages of one kind that are visited


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo's store, served; FOURFOLD_FLIGHTS names one that is there already."""
    folder = tmp_path_factory.mktemp("flights") / "store"
    if made := _FLIGHTS:
        shutil.copytree(made, folder)
    else:
        program = str(Path(sys.executable).with_name("fourfold"))
        subprocess.run([program, "demo", "--store", folder, "--json"], check=True, stdout=subprocess.DEVNULL)
    with served(folder, "flights") as (home, _):
        yield home


_FLIGHTS = os.environ.get("FOURFOLD_FLIGHTS")  # read before tests are cut off from the environment


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hostile") / "store"
    hostile.fill(folder)
    with served(folder, hostile.PROJECT) as (home, _):
        yield home


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def walk(tab: Tab) -> Counter[str]:
    """Visit each page, and of what they lead to a few of each kind; nothing may go wrong on any."""
    waiting, seen = list(PAGES), Counter[str]()
    known = set(waiting)
    while waiting:
        path = waiting.pop(0)
        tab.go(path)
        tab.right()
        kind = kind_of(path)
        seen[kind] += 1
        counts = Counter(map(kind_of, known))
        for link in tab.links():
            if link not in known and counts[kind_of(link)] < MOST:
                known.add(link)
                counts[kind_of(link)] += 1
                waiting.append(link)
    return seen


def kind_of(path: str) -> str:
    """Which page, and whether of some records only."""
    address, _, query = path.partition("?")
    parts = address.strip("/").split("/")
    some = any(part.startswith(("only=", "without=")) for part in query.split("&"))
    return f"{parts[0]}{'/…' * (len(parts) - 1)}{' of some records' if some else ''}"


def test_an_empty_store_says_how_to_begin(opened: Any, tmp_path: Path, theme: str) -> None:
    with served(tmp_path / "store", "new") as (home, _):
        tab = Tab(opened, home, theme)
        walk(tab)
        tab.go("/")
        assert "ff.log(" in tab.text()
        tab.close()


def test_every_page_of_the_flights_works(opened: Any, flights: str, theme: str) -> None:
    tab = Tab(opened, flights, theme)
    seen = walk(tab)
    for kind in ("tasks/…", "streams/…", "columns/…/…", "incidents/…", "runs", "trace"):
        assert seen[kind], (kind, seen)
    tab.close()


def test_what_is_hostile_is_only_text(opened: Any, attacked: str, theme: str) -> None:
    tab = Tab(opened, attacked, theme)
    seen = walk(tab)
    for kind in ("tasks/…", "streams/…", "columns/…/…"):
        assert seen[kind], (kind, seen)
    tab.go("/")
    assert hostile.SCRIPT in tab.text()
    tab.close()


def test_from_an_alert_to_where_it_began_is_one_click(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/incidents?state=all")
    hrefs = [link for link in tab.links() if re.match(r"/incidents/\w+", link)]
    assert hrefs
    for href in hrefs:
        tab.go(href)
        shown = tab.text()
        assert "Since" in shown and "Began in" in shown
        tab.page.locator("dl.card dd strong a").first.click()
        tab.drawn()
        assert not tab.at().startswith("/incidents/")
        tab.right()
    tab.close()


def test_every_chart_that_the_server_makes_is_on_the_page(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    for path in ("/tasks/late", "/columns/predict/score", "/columns/predict/carrier", "/streams/predict"):
        tab.go(path)
        made = tab.page.request.get(f"{flights}/api{path}").json()["charts"]
        drawn = {shown.get_attribute("aria-label") for shown in tab.page.locator("figure.chart [role=img]").all()}
        assert len(made) >= 1 and {chart["summary"] for chart in made.values()} <= drawn, path
    tab.close()


def test_missing_labels_are_estimated_on_demand(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/tasks/late")
    assert "estimated" not in tab.text()
    tab.page.get_by_label("estimate of missing labels").check()
    tab.page.get_by_text("estimated", exact=True).first.wait_for()
    assert "estimate=1" in tab.at()
    tab.close()


def test_a_stretch_that_is_dragged_over_is_compared_and_stays_in_the_address(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/tasks/late?start=2013-10-01&end=2013-12-31")
    box = tab.page.locator(".chart-area svg").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] * 0.7, middle)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    tab.page.mouse.up()
    tab.page.locator("#box table tbody tr").first.wait_for()
    assert "box=2013-1" in tab.at()
    address = tab.at()
    first = tab.page.locator("#box table tbody tr a").first
    ranked = first.inner_text()
    tab.page.locator("#box button", has_text="Show").click()
    tab.page.locator("#box .actions a").first.click()
    tab.drawn()
    assert re.search(r"[?&](only|without)=", tab.at()) and "box=" in tab.at()
    tab.page.go_back()
    tab.drawn()
    assert tab.at() == address and first.inner_text() == ranked
    tab.right()
    tab.close()


def test_a_slice_is_taken_alone_or_away_and_the_back_button_undoes_it(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/tasks/late?metric=recall&theme=dark")
    whole = tab.page.locator(".metric[aria-current] .metric-value").inner_text()
    row = tab.page.locator("table[aria-label=slices] tbody tr").first
    row.get_by_text("without this").click()
    tab.drawn()
    assert "without=" in tab.at() and "theme=dark" in tab.at() and "metric=recall" in tab.at()
    without = tab.page.locator(".metric[aria-current] .metric-value").inner_text()
    assert without != whole
    tab.page.go_back()
    tab.drawn()
    assert tab.page.locator(".metric[aria-current] .metric-value").inner_text() == whole
    tab.right()
    tab.close()


def test_bands_are_switched_off_and_the_address_says_so(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/tasks/late")
    assert "interval" in tab.page.locator(".legend").first.inner_text()
    tab.page.get_by_label("interval", exact=True).uncheck()
    assert "hide=interval" in tab.at()
    tab.page.reload()
    tab.drawn()
    assert "interval" not in tab.page.locator("figcaption").first.inner_text()
    tab.right()
    tab.close()


def test_the_theme_is_kept_and_stands_in_the_address(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights, "light")
    tab.go("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(ground)
    tab.page.get_by_role("button", name="use the dark theme").click()
    assert "theme=dark" in tab.at()
    dark = tab.page.evaluate(ground)
    tab.go("/tasks")
    assert light != dark == tab.page.evaluate(ground)
    tab.go("/tasks?theme=light")
    assert tab.page.evaluate(ground) == light
    tab.right()
    tab.close()


def test_the_keyboard_alone_is_enough(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/")
    keys = tab.page.keyboard
    keys.press("/")
    keys.type("carrier")
    keys.press("Enter")
    tab.page.wait_for_url("**/search?q=carrier*")
    tab.drawn()
    assert "carrier" in tab.text()
    for letter, path in (("p", "/pipeline"), ("t", "/tasks"), ("i", "/incidents")):
        tab.page.locator("main").focus()
        keys.press("g")
        keys.press(letter)
        tab.page.wait_for_url(f"**{path}*")
        tab.drawn()
    tab.go("/")
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "To the content"
    keys.press("Enter")
    for _ in range(60):
        keys.press("Tab")
        if (href := tab.page.evaluate("document.activeElement.getAttribute('href') ?? ''")).startswith("/incidents/"):
            break
    assert href.startswith("/incidents/")
    outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"  # the focus is seen
    keys.press("Enter")
    tab.page.wait_for_url("**/incidents/*")
    tab.drawn()
    tab.page.locator("summary", has_text="Snooze").focus()
    keys.press("Enter")
    assert tab.page.locator("form.why").first.is_visible()
    keys.press("Escape")
    assert not tab.page.locator("form.why").first.is_visible()
    tab.right()
    tab.close()


def test_texts_have_the_contrast_that_wcag_asks_for_and_controls_a_name(opened: Any, flights: str, theme: str) -> None:
    tab = Tab(opened, flights, theme)
    for path in (*PAGES, "/tasks/late", "/columns/ingest.flights/hour", "/streams/predict", "/runs?component=train"):
        tab.go(path)
        assert tab.page.evaluate(READABLE) == [], path
        assert tab.page.locator("h1").count() == 1, path
    tab.close()


def test_a_person_signs_in_does_what_the_role_allows_and_goes(opened: Any, tmp_path: Path) -> None:
    reach = Reach(LOOPBACK, local=False)
    with served(tmp_path / "store", "new", reach) as (home, service):
        with service.database.write() as connection:
            _, secret = tokens.create(connection, "someone", Role.VIEWER, (), time.time())
        tab = Tab(opened, home)
        tab.page.goto(f"{home}/settings?theme=dark")
        tab.page.wait_for_url("**/sign-in?next=*")
        tab.page.get_by_label("Token").fill(secret)
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**/settings?theme=dark")
        tab.drawn()
        cookie = next(one for one in tab.context.cookies() if one["name"] == "fourfold")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        assert secret not in tab.page.content()
        tab.right()
        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.wait_for_url("**/sign-in")
        tab.page.goto(f"{home}/")
        tab.page.wait_for_url("**/sign-in?next=*")
        tab.close()


@pytest.mark.parametrize("next_", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:ran=1"])
def test_signing_in_leads_to_no_other_site(opened: Any, tmp_path: Path, next_: str) -> None:
    with served(tmp_path / "store", "new", Reach(LOOPBACK, local=False)) as (home, service):
        with service.database.write() as connection:
            _, secret = tokens.create(connection, "someone", Role.VIEWER, (), time.time())
        tab = Tab(opened, home)
        tab.page.goto(f"{home}/sign-in?next={next_}")
        tab.page.get_by_label("Token").fill(secret)
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url(re.compile(re.escape(home) + r"/(?!sign-in)"))
        tab.right()
        tab.close()


def test_an_incident_is_acknowledged_and_dismissed_with_a_reason(opened: Any, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    failing(folder)
    with served(folder, "new") as (home, _):
        tab = Tab(opened, home)
        tab.go("/incidents")
        tab.page.locator("main table a").first.click()
        tab.drawn()
        tab.page.get_by_role("button", name="Acknowledge").click()
        tab.page.locator("dd").get_by_text("acknowledged").wait_for()
        tab.page.locator("summary", has_text="Dismiss").click()
        tab.page.locator("form.why:visible textarea").fill("a rehearsal")
        tab.page.locator("form.why:visible button").click()
        tab.page.locator("dd").get_by_text("dismissed").wait_for()
        assert "a rehearsal" in tab.text()
        tab.right()
        tab.close()


def failing(folder: Path) -> None:
    """A component that has begun to fail."""
    session = ff.init(folder, "new")
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    for day in range(30):
        try:
            with ff.run("load", at=begin + dt.timedelta(days=day)):
                if day > 27:
                    raise ValueError("no such table")
        except ValueError:
            pass
    ff.flush()
    assert ff.check()
    session.close()


def test_a_new_record_changes_the_task_page(opened: Any, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    session = ff.init(folder, "new")
    now = dt.datetime.now(dt.UTC)
    ff.task("late", prediction="predict.score", label="arrivals.late", threshold=0.5, horizon="1d")
    ff.log("predict", [{"key": str(i), "score": 0.9, "time": now} for i in range(10)], key="key", time="time")
    ff.log("arrivals", [{"key": str(i), "late": True} for i in range(10)], key="key")
    ff.flush()
    session.store.caught_up()
    with served(folder, "new") as (home, _):
        tab = Tab(opened, home)
        tab.go("/tasks/late?metric=accuracy")
        first = tab.page.locator(".metric[aria-current] .metric-value")
        assert first.inner_text() == "1.000"
        ff.log("predict", [{"key": f"new{i}", "score": 0.9, "time": now} for i in range(10)], key="key", time="time")
        ff.log("arrivals", [{"key": f"new{i}", "late": False} for i in range(10)], key="key")
        ff.flush()
        session.store.caught_up()  # as the process that counts beside a server does
        begun = time.monotonic()
        tab.page.locator(".metric[aria-current] .metric-value", has_text="0.500").wait_for(timeout=60_000)
        print(f"shown {time.monotonic() - begun:.1f} s after it was sent")
        tab.right()
        tab.close()
    session.close()


def test_a_chart_is_saved_as_svg_and_png_and_a_table_as_csv(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights)
    tab.go("/tasks/late?metric=recall&only=carrier%3DUA&start=2013-10-02&end=2013-12-10")
    for choice, begin in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        tab.page.locator("figcaption summary").first.click()
        with tab.page.expect_download() as saved:
            tab.page.locator(".menu[open]").get_by_text(choice).click()
        content = Path(saved.value.path()).read_bytes()
        assert content.startswith(begin)
        if choice == "SVG":  # it says by itself what it is of, of whom and when
            texts = [text for text in ET.fromstring(content).itertext() if text.strip()]
            assert texts[0] == "recall of late (only carrier=UA)"
            assert texts[1] == "late, only carrier=UA, 2013-10-02 to 2013-12-10, UTC"
            assert "Dec 2" in texts and not any("recall(late)" in text for text in texts)
    tab.page.locator(".page-title summary", has_text="Export").click()
    with tab.page.expect_download() as saved:
        tab.page.locator(".menu[open]").get_by_text("CSV").click()
    assert b"," in Path(saved.value.path()).read_bytes().splitlines()[0]
    tab.right()
    tab.close()


def test_a_server_that_has_gone_is_said_and_comes_back(opened: Any, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    failing(folder)
    with served(folder, "new") as (home, _):
        tab = Tab(opened, home)
        tab.go("/incidents")
        tab.page.route("**/api/**", lambda route: route.abort())
        tab.page.get_by_text("The server cannot be reached").wait_for(timeout=60_000)
        assert tab.page.locator("main table").count() == 1  # what was there stays
        tab.page.unroute("**/api/**")
        tab.page.get_by_role("button", name="Try again").click()
        tab.page.get_by_text("The server cannot be reached").wait_for(state="detached", timeout=60_000)
        tab.close()


def test_streams_and_columns_of_dots_are_reached(tmp_path: Path, opened: Any) -> None:
    """A browser takes "." and ".." in a path for steps, percent-encoded too."""
    session = ff.init(tmp_path / "store", "dots")
    for stream in (".", "..", "~."):
        ff.log(stream, {"id": ["a", "b"], "..": [1.0, 2.0], "at": [1_700_006_400, 1_700_010_000]}, key="id", time="at")
    ff.flush()
    session.store.caught_up()
    session.close()
    with served(tmp_path / "store", "dots") as (home, _):
        tab = Tab(opened, home)
        for stream in (".", "..", "~."):
            tab.go("/streams")
            tab.page.get_by_role("link", name=stream, exact=True).click()
            tab.drawn()
            assert tab.page.locator("h1").inner_text() == stream
            tab.page.get_by_role("link", name="..", exact=True).click()
            tab.drawn()
            assert tab.page.locator("h1").inner_text() == f"{stream}..."
            tab.page.reload()
            tab.drawn()
            assert tab.page.locator("h1").inner_text() == f"{stream}..."
        tab.right()
        tab.close()


def test_two_sides_are_compared_by_a_task_that_is_named_and_can_be_chosen(tmp_path: Path, opened: Any) -> None:
    session = ff.init(tmp_path / "store", "shop")
    ff.task("arrival", prediction="predict.minutes", label="orders.took", kind="regression", slices=["country"])
    ff.task("buys", prediction="predict.score", label="orders.bought", slices=["country", "device"])
    rows = [{"id": f"k{i}", "at": 1_700_006_400 + 1_800 * i, "score": i % 10 / 10, "minutes": i % 7,
             "country": ["DE", "FR"][i % 2], "device": ["ios", "web"][i % 3 % 2]} for i in range(480)]  # fmt: skip
    ff.log("predict", rows, key="id", time="at")
    ff.log("orders", [{"id": row["id"], "at": row["at"], "bought": i % 4 == 0, "took": i % 5} for i, row in
                      enumerate(rows)], key="id", time="at")  # fmt: skip
    ff.flush()
    session.store.caught_up()
    session.close()
    with served(tmp_path / "store", "shop") as (home, _):
        tab = Tab(opened, home)
        tab.go("/compare")
        assert {"arrival: country=DE and country=FR", "buys: country=DE and country=FR"} <= set(tab.text().splitlines())
        tab.page.get_by_label("Of").fill("country=DE")
        tab.page.get_by_label("and", exact=True).fill("country=FR")
        tab.page.get_by_role("button", name="Compare").click()
        tab.drawn()
        assert "Metrics of arrival" in tab.text() and "MAE" in tab.text()
        tab.page.get_by_label("by the task").select_option("buys")
        tab.drawn()
        assert "Metrics of buys" in tab.text() and "240 records" in tab.text() and "target=buys" in tab.at()
        assert "2023-11-" in tab.page.locator(".range-words").inner_text()
        tab.go("/compare?a=device%3Dios&b=device%3Dweb&start=2023-11-20")
        assert "Metrics of buys" in tab.text()
        tab.right()
        tab.close()


def test_a_heat_map_has_the_times_of_the_readers_zone_as_all_charts_have(opened: Any, flights: str) -> None:
    tab = Tab(opened, flights, zone="America/New_York")
    tab.go("/tasks/late?start=2013-11-10&end=2013-12-10")
    for title in (re.compile("of late$"), re.compile(" by carrier$")):
        chart = tab.page.locator("figure.chart", has=tab.page.locator(".chart-title", has_text=title)).first
        chart.locator(".chart-area").hover(position={"x": 80, "y": 30})
        told = chart.locator(".tip strong")
        told.wait_for()
        assert told.inner_text().endswith("19:00"), title  # where a day of UTC begins
    tab.right()
    tab.close()


def test_it_can_be_read_for_whom_an_objective_is_missed_and_on_a_phone_what_is_wrong(
    tmp_path: Path, opened: Any
) -> None:
    session = ff.init(tmp_path / "store", "shop")
    ff.task("conversion", prediction="predict.score", label="orders.bought", slices=["country"], horizon="1d")
    ff.objective("conversion-accuracy", "accuracy(conversion) >= 0.9", window="14d", by="country",
                 owner="the shop's team", runbook="https://wiki.example/shop/conversion-accuracy")  # fmt: skip
    rows = [{"id": f"k{i}", "at": 1_700_006_400 + 1_800 * i, "score": 0.9, "country": ["Deutschland", "Italia"][i % 2],
             "bought": i % 2 == 0} for i in range(960)]  # fmt: skip
    for stream, column in (("predict", "score"), ("orders", "bought")):
        records = [{name: row[name] for name in ("id", "at", "country", column)} for row in rows]
        ff.log(stream, records, key="id", time="at")
    ff.flush()
    assert ff.check()
    session.close()
    with served(tmp_path / "store", "shop") as (home, _):
        tab = Tab(opened, home)
        tab.go("/")
        for name in ("country=Deutschland", "country=Italia"):
            row = tab.page.get_by_role("table", name="objectives").locator("tr", has_text=name)
            cell, slice_ = row.locator("td").nth(1).bounding_box(), row.get_by_text(name).bounding_box()
            assert slice_["x"] + slice_["width"] < cell["x"] + cell["width"]
        href = tab.page.get_by_role("table", name="incidents").locator("a").first.get_attribute("href")
        tab.close()
        phone = Tab(opened, home, wide=390)
        phone.go(href)
        heading = phone.page.locator("h1")
        assert heading.bounding_box()["width"] > 250
        assert heading.evaluate("h1 => h1.scrollHeight - h1.clientHeight") < 12  # half a line
        phone.right()
        phone.close()


def test_a_mistyped_address_is_a_page_from_which_others_are_reached(tmp_path: Path, opened: Any) -> None:
    with served(tmp_path / "store", "new") as (home, _):
        tab = Tab(opened, home)
        for path in ("/nope", "/compare/x", "/tasks/a/b"):
            tab.go(path)
            assert tab.page.locator("h1").inner_text() == "There is no such page"
        tab.page.get_by_role("navigation").get_by_text("Settings").click()
        tab.page.wait_for_url("**/settings")
        assert {text.partition(":")[0] for text in tab.wrong} <= {"404", "console"}  # the browser tells it, too
        tab.close()
