"""What the documents refer to is there: links, paths, and the numbers of decisions."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
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
    folders = ("sweep", "search_spaces", "trainables", "analysis", "benchmarks", "tests")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {one for path in sources for one in re.findall(r"docs/decisions/(\d{4})", path.read_text(encoding="utf-8"))}
    assert named
    assert named <= numbers
