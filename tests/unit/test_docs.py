"""Pages for readers: their links lead somewhere, the README stays short, no page is lost."""

import re
from pathlib import Path

import pytest
from runner import ROOT

from healscope import evidence
from healscope.config import load
from healscope.config.files import read_together
from healscope.findings import by_table

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "envs/README.md", *DOCS]
README_LINES = 120
FOLDERS = ("benchmarks", "config", "docs", "envs", "profiles", "src", "tests", "workflow")
ABSENT = {"envs/core.sif", "tests/vllm"}  # made by a command of the page; a name to avoid


def prose(text: str) -> str:
    """The page without its code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: Path) -> list[str]:
    """Targets of all links and pictures of a page, except those to other sites."""
    found = re.findall(r"\]\(([^()\s]+)\)", prose(page.read_text()))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What `#...` can name on a page: its headings as GitHub spells them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for title in re.findall(r"^#+ +(.*)$", text, re.MULTILINE):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        again = found.count(slug)
        found += [slug, *([f"{slug}-{again}"] if again else [])]
    return set(found)


def broken(page: Path, target: str) -> str:
    """Why a link of `page` leads nowhere; empty where it does not."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return f"{page.name}: {target}: there is no such file"
    if anchor and anchor not in anchors(file):
        return f"{page.name}: {target}: the page has no such heading"
    return ""


def paths(page: Path) -> set[str]:
    """Files and folders of the checkout that a page names as code, without wildcards."""
    found = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", page.read_text())
    return set(found) - ABSENT


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_every_link_leads_somewhere(page):
    assert not [why for target in links(page) if (why := broken(page, target))]


@every_page
def test_every_file_that_is_named_is_there(page):
    assert not [path for path in paths(page) if not (ROOT / path).exists()]


def test_the_readme_fits_on_a_few_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_an_index_links_every_page():
    indexes = [page for page in DOCS if page.name == "README.md"]
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for index in indexes
        for target in links(index)
    }
    start = ROOT / "docs/README.md"
    assert not [page.name for page in DOCS if page != start and page not in linked]


def test_the_readme_leads_to_the_index():
    assert "docs/README.md" in links(ROOT / "README.md")


def test_broken_links_are_found(tmp_path):
    """The checks above can fail: files and headings that are not there, but not those in code."""
    (tmp_path / "other.md").write_text("# A title, with `code`\n\n```\n# no title\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[fine](other.md) [fine](other.md#a-title-with-code) [x](https://a.b)\n"
        "[gone](gone.md) ![gone](gone.png) [off](other.md#no-title) [here](#nowhere)\n"
        "`[code](in-line.md)`\n```\n[code](block.md)\n```\n"
    )
    assert links(page)[:2] == ["other.md", "other.md#a-title-with-code"]
    bad = [target for target in links(page) if broken(page, target)]
    assert bad == ["gone.md", "gone.png", "other.md#no-title", "#nowhere"]
    page.write_text("`src/gone.py`, `config/micro.yaml`, `results/x`, `tests/test_*.py`")
    assert paths(page) == {"src/gone.py", "config/micro.yaml"}


@pytest.mark.parametrize(
    "page", [p for p in evidence.pages(ROOT / "docs") if not p.others], ids=lambda p: p.file.stem
)
def test_a_page_of_results_names_a_study_and_tables_that_it_has(page):
    study = load(read_together([ROOT / config for config in page.configs]))
    assert study.seeds
    for table in page.tables:
        assert by_table(table)[0].section


@pytest.mark.parametrize("page", evidence.pages(ROOT / "docs"), ids=lambda p: p.file.stem)
def test_a_page_is_of_todays_results_and_settings_or_says_that_it_is_not(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert page.stale == ("to be remade" in page.file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "other"),
    [
        ("figures: {dpi: 200}", False),
        ("rl: {recipes: {unused: {like: ppo, temperature: 0.5}}}", False),
        ("rl: {recipes: {ppo: {temperature: 0.5}}}", True),
        ("seeds: [7]", True),
    ],
)
def test_a_page_is_old_once_settings_that_it_uses_are_others(change, other, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    more = tmp_path / "more.yaml"
    more.write_text(change)
    one = evidence.Page(tmp_path / "page.md", ("config/config.yaml",), ())
    two = evidence.Page(one.file, (*one.configs, str(more)), ())
    assert (one.versions != two.versions) == other
