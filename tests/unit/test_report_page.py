"""The report page in a real browser: it opens, filters, steps, and asks for nothing."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.cli import group
from cpuhp.report.diagrams.theme import DARK, LIGHT
from cpuhp.report.page.svg import embedded

HERE = Path(__file__).parents[1]
SPEC = (HERE / "data/handover.hp").read_text()
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = (
    '</script><script>pwned=1</script>"><img src=x onerror=pwned=2>'
    "'--></style><svg onload=pwned=3>{{7*7}}<a href='javascript:pwned=4'>&lt;"
)
needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="no dot program")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A violated, a witnessed and proved claims; the names of file and rows are evil."""
    folder = tmp_path_factory.mktemp("run")
    spec = folder / "<img src=x onerror=pwned=5>.hp"
    spec.write_text(
        SPEC.replace("/// Does the duty", f"/// {EVIL} Does the duty")
        .replace("check duty", f"/// {EVIL}\ncheck duty")
        .replace("dying = aps;", f"dying = aps; // {EVIL}")
        + "check never_off { always owner != none || owner == none; }\n"
    )
    table = folder / "x.states"
    rows = ["  0: offline", f"  1: {EVIL}", " 86: cpu:bringup", "145: cpu:teardown"]
    table.write_text("\n".join([*rows, "236: online", ""]))
    out = folder / "out"
    result = CliRunner().invoke(
        group,
        ["check", str(spec), "--order", str(table), "-D", "spare_dying=false",
         "--report", str(out), "--jobs", "1"],
    )  # fmt: skip
    assert result.exit_code == 1, result.output
    return out


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox"]
        )
        yield found
        found.close()


class Visit:
    """A page that is open, and what it complained of or asked for."""

    def __init__(self, browser, file, **settings):
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.trouble, self.asked = [], []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def is_quiet(self):
        assert self.trouble == []
        assert len(self.asked) == 1 and self.asked[0].startswith("file:")
        assert self.page.evaluate("typeof pwned") == "undefined"
        return True


@pytest.fixture
def visit(browser, made):
    with Visit(browser, made / "report.html") as found:
        yield found
        assert found.is_quiet()


def test_the_filter_shows_what_is_asked_for(visit):
    page = visit.page
    rows = page.locator(".verdicts tbody tr:visible")
    total = rows.count()
    assert (
        total >= 6
        and page.locator("#shown").inner_text() == f"{total} of {total} claims"
    )
    page.fill("#find", "duty always")
    assert rows.count() == 1
    page.fill("#find", "")
    page.click(".chip[data-verdict=PROVED]")
    page.click(".chip[data-verdict=WITNESSED]")
    assert rows.count() == 1 and "VIOLATED" in rows.first.inner_text()
    page.click(".chip[data-verdict=VIOLATED]")
    assert page.locator("#shown").inner_text().startswith("0 of")


@needs_dot
def test_the_player_steps_with_buttons_and_keys(visit):
    page = visit.page
    player = page.locator(".player").first
    where, now = player.locator(".where"), player.locator(".now")
    total = int(player.get_attribute("data-steps"))
    player.locator("[data-go=next]").click()
    assert where.inner_text() == f"step 1 of {total}"
    assert "dying = aps" in now.inner_text()
    assert player.locator(".steps.current").count() == 1
    assert player.locator(".steps.future").count() == total - 1
    assert "dying = aps" in player.locator(".text .here").inner_text()
    assert "true" in player.locator("[data-cell='dying[CPU1]']").inner_text()
    player.focus()
    page.keyboard.press("ArrowRight")
    assert where.inner_text() == f"step 2 of {total}"
    page.keyboard.press("End")
    assert where.inner_text() == f"step {total} of {total}"
    assert player.locator(".steps.future").count() == 0
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("p")
    assert where.inner_text() == f"step {total - 2} of {total}"
    page.keyboard.press("Home")
    assert where.inner_text() == f"start of {total}"
    page.keyboard.press(" ")
    assert player.locator("[data-go=play]").inner_text() == "Pause"
    page.keyboard.press(" ")
    player.locator(".to-bad").click()
    assert "Bad read" in now.inner_text()
    player.locator("input[type=range]").fill("4")
    assert where.inner_text() == f"step 4 of {total}"


@needs_dot
def test_the_graph_zooms_and_moves(visit):
    page = visit.page
    svg = page.locator("figure.graph svg").first
    before = svg.get_attribute("viewBox")
    page.click("[data-zoom=in] >> nth=0")
    closer = svg.get_attribute("viewBox")
    assert float(closer.split()[2]) < float(before.split()[2])
    page.locator("figure.graph").first.focus()
    page.keyboard.press("ArrowRight")
    assert svg.get_attribute("viewBox") != closer
    page.keyboard.press("0")
    assert [float(n) for n in svg.get_attribute("viewBox").split()] == [
        float(n) for n in before.split()
    ]
    box = page.locator("figure.graph").first.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 220)
    page.mouse.up()
    assert svg.get_attribute("viewBox") != before


def test_a_proof_is_told_in_sentences(visit):
    visit.page.click("#proofs summary >> nth=0")
    assert "ever" in visit.page.locator(".clauses li").first.inner_text()


def test_names_are_shown_as_they_are_and_do_nothing(visit):
    page = visit.page
    assert EVIL in page.locator("#failures .about").first.inner_text()
    assert EVIL in page.locator("#steps").inner_text()
    assert "pwned=5" in page.locator("#made").inner_text()
    assert page.locator("img").count() == 0


def test_the_theme_follows_the_system_and_the_button(browser, made):
    def paper(visit):
        return visit.page.evaluate("getComputedStyle(document.body).backgroundColor")

    with Visit(browser, made / "report.html", color_scheme="dark") as visit:
        dark = paper(visit)
        visit.page.click("#theme")
        light = paper(visit)
        assert (dark, light) == ("rgb(22, 25, 29)", "rgb(255, 255, 255)")
        if shutil.which("dot"):
            shape = visit.page.locator(".chart .steps polygon").first
            fill = "e => getComputedStyle(e).fill"
            before = shape.evaluate(fill)
            visit.page.click("#theme")
            assert shape.evaluate(fill) != before
        assert visit.is_quiet()


def test_it_reads_without_scripts(browser, made):
    with Visit(browser, made / "report.html", java_script_enabled=False) as visit:
        page = visit.page
        assert page.locator(".js:visible").count() == 0
        assert page.locator(".verdicts tbody tr:visible").count() >= 6
        assert page.locator("#failures table.steps tr:visible").count() > 5
        assert page.locator("#proofs .clauses li:visible").count() > 0
        assert page.locator("#spec li.cited:visible").count() > 3
        assert len(visit.asked) == 1


def test_every_field_of_a_result_may_be_evil(browser, made, tmp_path):
    data = json.loads((made / "results.json").read_text())
    file = tmp_path / "evil.json"
    file.write_text(json.dumps(poisoned(data)))
    page = tmp_path / "evil.html"
    result = CliRunner().invoke(group, ["report", str(file), "-o", str(page)])
    assert result.exit_code == 0, result.output
    with Visit(browser, page) as visit:
        if visit.page.locator(".player").count():
            visit.page.locator("[data-go=last]").first.click()
        visit.page.fill("#find", EVIL)
        assert visit.is_quiet()
        handlers = (
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
            ".filter(a => /^on/i.test(a.name) || /^javascript:/i.test(a.value)).length"
        )
        assert visit.page.evaluate(handlers) == 0
        assert visit.page.locator("script").count() == 1


def poisoned(value, key=""):
    """The same, with evil text in each field that may hold any text, names included."""
    if isinstance(value, dict):
        free = key in ("changes", "initial", "checks", "sources", "options", "versions")
        return {k + EVIL * free: poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v, key) for v in value]
    if isinstance(value, str) and key not in ("verdict", "cpus"):
        return value + EVIL
    return value


class Parts(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.unlabelled = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if tag == "a" and "href" in told else []
        role = told.get("role")
        if role in ("img", "region", "group") and not {
            "aria-label",
            "aria-labelledby",
        } & set(told):
            self.unlabelled.append(told)


def test_links_inside_the_page_lead_somewhere_and_ids_are_unique(made):
    parts = Parts((made / "report.html").read_text())
    assert len(parts.ids) == len(set(parts.ids))
    inside = {link[1:] for link in parts.links if link.startswith("#")}
    assert inside and not inside - set(parts.ids)
    assert parts.unlabelled == []


def test_the_policy_allows_nothing_but_the_own_script_and_style(made):
    text = (made / "report.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]* style=", text)


def test_a_picture_keeps_only_what_draws():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" onload="a()" width="30pt" height="15pt" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"><script>b()</script>'
        '<g class="node" id="n"><a xlink:href="javascript:c()" xlink:title="&lt;t&gt;">'
        '<text fill="url(http://x/)" onclick="d()">e&lt;f</text></a></g>'
        '<foreignObject><p/></foreignObject><image href="http://x/"/></svg>'
    )
    assert embedded(svg, "one") == (
        '<svg width="40" height="20" aria-labelledby="one-title one-desc" '
        'focusable="false"><g class="node"><g><title>&lt;t&gt;</title>'
        "<text>e&lt;f</text></g></g></svg>"
    )


def test_colours_of_pictures_turn_into_those_of_the_dark_theme():
    from cpuhp.report.page import _dark_pictures

    rules = _dark_pictures()
    for name in ("ink", "bad", "bad_fill", "call", "quiet", "message"):
        light, dark = getattr(LIGHT, name), getattr(DARK, name)
        assert f"[fill='{light}']{{fill:{dark}}}" in rules


def test_without_graphviz_the_page_says_so(made, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    page = tmp_path / "page.html"
    args = ["report", str(made / "results.json"), "-o", str(page)]
    result = CliRunner().invoke(group, args)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "apt-get install graphviz" in text and "as a table" in text
