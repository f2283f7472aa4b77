"""Every relative link of a page, every anchor in it, and every page that a source, tool or test names is there."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = "adapters adapters-activated adapters-for bench deploy docs include routers src tests tools".split()
# The one says what was true of each version, whose pages may have moved since; the other is a part of docs/performance/evaluation.md.
LEFT_OUT = {ROOT / "CHANGELOG.md", ROOT / "tools" / "paper" / "notes.md"}
NAMES_PAGES = {".c", ".h", ".cfg", ".conf", ".html", ".js", ".json", ".md", ".py", ".yaml", ".build", ".1", ".5", ""}


def files():
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in NAMES_PAGES and path.is_file())


def pages():
    return [path for path in files() if path.suffix == ".md" and path not in LEFT_OUT]


def without_blocks(text):
    """The page without what stands between fences; its lines stay where they are."""
    return re.sub(r"^( *)```.*?^\1```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.S | re.M)


def without_code(text):
    """Without what is printed as it stands: blocks, and pieces between backquotes."""
    return re.sub(r"`[^`\n]*`", "", without_blocks(text))


@cache
def anchors(page):
    """The anchors of a page's headings, as GitHub makes them: lower case, spaces to dashes, no punctuation, numbers behind repetitions."""
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_blocks(page.read_text()), re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        name, n = slug, 0
        while name in found:
            n += 1
            name = f"{slug}-{n}"
        found.add(name)
    return found


def links(page):
    text = without_code(page.read_text())
    return re.findall(r"\]\(<?([^)\s>]+)>?\)", text) + re.findall(r'(?:src|srcset|href)="([^"\s]+)"', text)


def wrong(page, link):
    """What is wrong with a link of a page, or nothing."""
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return "no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return "no such heading"
    return None


def test_every_relative_link_and_anchor_of_a_page_exists():
    assert len(pages()) > 30
    assert not [f"{page.relative_to(ROOT)}: {link}: {wrong(page, link)}" for page in pages() for link in links(page) if wrong(page, link)]


def test_every_page_of_docs_that_a_file_names_exists():
    named, missing = 0, []
    for path in files():
        if path in LEFT_OUT or path.stat().st_size > 1 << 20:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for name in re.findall(r"(?<![\w/.-])docs/[\w/-]+\.md(?:#[\w-]+)?", text):
            named += 1
            if wrong(ROOT / "README.md", name):
                missing.append(f"{path.relative_to(ROOT)}: {name}: {wrong(ROOT / 'README.md', name)}")
    assert named > 20 and not missing


def test_every_page_of_docs_is_reached_from_its_index():
    """By links alone, from docs/README.md."""
    reached, ahead = set(), [ROOT / "docs" / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and ROOT / "docs" in target.parents:
                ahead.append(target)
    assert not [str(page) for page in pages() if ROOT / "docs" in page.parents and page not in reached]


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One thing\n\n[a](#one-thing) [b](#another) [c](missing.md) `[d](code.md)`\n\n```\n[e](block.md)\n```\n")
    assert {link: wrong(page, link) for link in links(page)} == {"#one-thing": None, "#another": "no such heading", "missing.md": "no such file"}


def test_every_source_file_that_a_page_names_exists():
    """Between backquotes, by its path or by the end of it. What holds a placeholder (NAME, *) is not looked for."""
    elsewhere = {"tools/server/tests"}  # in llama.cpp's sources
    known = {str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}
    folders = {str(parent) for path in known for parent in Path(path).parents}
    named, missing = 0, []
    for page in pages():
        text = without_blocks(page.read_text())
        for name in re.findall(r"`((?:src|bench|tests|tools|include|deploy)/[\w./-]*|[\w/-]+\.[ch])`", text):
            named += 1
            name = name.rstrip("/")
            if "NAME" not in name and name not in known | folders | elsewhere and not any(path.endswith(f"/{name}") for path in known):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert named > 200 and not missing


def test_prose_has_lines_of_at_most_100_columns():
    """Except tables, headings, code, pictures, and the page that make paper writes."""
    long = []
    for page in pages():
        if page.name == "evaluation.md":
            continue
        text = without_blocks(page.read_text())
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > 100 and "](http" not in line and not line.startswith(("|", "#", "<", "    ")):
                long.append(f"{page.relative_to(ROOT)}:{number}")
    assert not long
