"""What the documents refer to is there: links, paths, and the numbers of decisions."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
PACKAGES = ("sweep", "analysis", "search_spaces", "trainables")
SOURCES = (*PACKAGES, "benchmarks", "tests")
GUIDES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md")
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "RESULTS.md"})


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page's headings have."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_every_decision_has_its_parts_and_its_line_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8").splitlines()
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        heading, _, status = text.splitlines()[:3]
        number, title = re.fullmatch(r"# (\d{4}) (.+)", heading).groups()  # type: ignore[union-attr]
        state, date = re.fullmatch(r"Status: (.+)\. Date: (\d{4}-\d\d-\d\d)\.", status).groups()  # type: ignore[union-attr]
        assert number == path.name[:4]
        assert re.match(r"accepted|superseded by \[\d{4}\]", state), path.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path.name
        assert f"| [{number}]({path.name}) | {title} | {date} | {state} |" in index


def test_links_lead_somewhere() -> None:
    for page in DOCUMENTS:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_code_names_decisions_that_are_there() -> None:
    numbers = {path.name[:4] for path in DECISIONS}
    sources = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    named = {one for path in sources for one in re.findall(r"docs/decisions/(\d{4})", path.read_text(encoding="utf-8"))}
    assert named
    assert named <= numbers


def test_every_path_in_the_guides_is_there() -> None:
    """A path is what is in backquotes and begins with a folder of ours, or is named like a file of ours."""
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"runs"}
    modules = {path.name for folder in SOURCES for path in (ROOT / folder).rglob("*.py")} | {"my_grid.py"}  # a reader's
    for guide in GUIDES:
        for name in re.findall(r"`([\w./-]+)`", (ROOT / guide).read_text(encoding="utf-8")):
            if name.split("/")[0] in ours:
                assert (ROOT / name).exists(), f"{guide}: {name}"
            elif name.endswith(".py"):
                assert name in modules, f"{guide}: {name}"
            elif re.fullmatch(r"\w+\.(cfg|toml|txt|md)", name):
                assert (ROOT / name).exists() or (ROOT / "benchmarks" / name).exists(), f"{guide}: {name}"


def test_the_picture_of_the_rooms_names_all_of_them() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{package}` |"))
        named = set(re.findall(r"`(\w+)`", row)) - set(PACKAGES)
        assert named == {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}, package


def test_lines_of_the_guides_are_short() -> None:
    for guide in GUIDES:
        for line in (ROOT / guide).read_text(encoding="utf-8").splitlines():
            assert len(line) < 120 or line.startswith("| "), f"{guide}: {line}"
