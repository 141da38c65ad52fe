"""Hook of MkDocs: pages that stand elsewhere in the checkout, as CONTRIBUTING.md, become pages of
the site, with links to and from them. A link that reads `edits.md` reads as the page's title."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.structure.files import File

PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "envs/README.md")
"""Pages outside of docs/, by their path in the checkout, which is also that in the site."""

LINK = re.compile(r"\[(?P<text>[^][]*)\]\((?P<file>(?!/)[\w./-]+)(?P<anchor>#[\w-]*)?\)")


def on_files(files, config):
    root = Path(config.config_file_path).parent
    for page in PAGES:
        text = (root / page).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, **_):
    titles = dict(named(config.nav))
    at = page.file.src_uri

    def link(found: re.Match) -> str:
        file = place(found["file"], at)
        text = found["text"]
        if text.endswith(".md") and file in titles:
            text = titles[file]
        return f"[{text}]({relpath(file, PurePosixPath(at).parent)}{found['anchor'] or ''})"

    return LINK.sub(link, markdown)


def place(target: str, page: str) -> str:
    """Return the place in the site of a file of the checkout that a page of the site links."""
    folder = PurePosixPath(page if page in PAGES else f"docs/{page}").parent
    return normpath(folder / target).removeprefix("docs/")


def named(nav: list):
    """Yield each page of a navigation with its title."""
    for entry in nav:
        for title, inside in entry.items() if isinstance(entry, dict) else ():
            if isinstance(inside, str):
                yield inside, title
            else:
                yield from named(inside)
