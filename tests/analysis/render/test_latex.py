"""The LaTeX table: rules, escapes, bold only where separable, daggers only where they hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from simulated import comparison, systems
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.render.latex import escaped, separable_best, to_latex
from trainables.config import EvalConfig

Make = Callable[..., Path]


def rows_of(text: str) -> list[list[str]]:
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    return [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if line.endswith(r"\\")]


def test_the_table_has_booktabs_rules_and_a_cell_for_every_column(make_sweep: Make) -> None:
    found = compare(make_sweep(grid(B={"state": "failed", "cause": "no"})))
    text = to_latex(Findings(found))
    assert [text.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]
    rows = rows_of(text)
    columns = re.search(r"\\begin{tabular}{(\w+)}", text)
    assert columns
    assert {len(row) for row in rows} == {len(columns[1])}
    assert [row[0] for row in rows[1:]] == [escaped(row.name) for row in found.table.rows]
    assert r"grid\_2x2x2" in text
    assert to_latex(Findings(compare(found.table.folder))) == text


def test_the_metric_that_chose_has_a_column(make_sweep: Make) -> None:
    assert "R-Lsum" not in rows_of(to_latex(Findings(compare(make_sweep()))))[0]
    assert "R-Lsum" in rows_of(to_latex(Findings(compare(make_sweep(), "rougeLsum"))))[0]


def test_what_latex_would_take_for_a_command_is_escaped() -> None:
    assert escaped(r"a_b & 50% of $x {y} #1 ~ ^ \n") == (
        r"a\_b \& 50\% of \$x \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}n"
    )


def test_only_a_separable_best_is_bold_and_only_holm_gives_daggers(make_sweep: Make) -> None:
    enough = EvalConfig(validation_examples=12, test_examples=60)
    trials = [baseline(quality=0.3), configuration("A", quality=0.3), configuration("B", rank=16, quality=0.95)]
    rows = {row[0]: row for row in rows_of(to_latex(Findings(compare(make_sweep(trials, enough)))))}
    best = rows["B"][-4:]
    assert all(cell.startswith(r"\textbf{") and cell.endswith(r"$^\dagger$") for cell in best)
    assert not any("textbf" in cell or "dagger" in cell for name in ("A", "zero-shot v1") for cell in rows[name])
    close = [baseline(), configuration("A", quality=0.9), configuration("B", rank=16, quality=0.9)]
    assert r"\textbf" not in to_latex(Findings(compare(make_sweep(close, enough))))


def test_few_examples_give_no_dagger_and_the_caption_says_so(make_sweep: Make) -> None:
    text = to_latex(Findings(compare(make_sweep(grid(), EvalConfig(validation_examples=4, test_examples=4)))))
    assert r"$^\dagger$" not in text
    assert "no difference from the untrained model could have been significant" in text


def test_the_separable_best_is_the_best_and_none_of_equals() -> None:
    draw = np.random.default_rng(0)
    clear = systems(draw, 4, 100, effects=np.array([0, 0, 0.2, 0]))
    assert separable_best(comparison({"test": clear}), "rougeL") == "C2"
    assert separable_best(comparison({"test": systems(draw, 4, 100)}), "rougeL") is None


def test_a_configuration_of_several_seeds_is_one_row_with_its_mean(make_sweep: Make) -> None:
    trials = [configuration("A", seed=seed, quality=0.5 + 0.2 * (seed - 42)) for seed in (42, 43)]
    found = compare(make_sweep([baseline(), *trials]))
    rows = [row for row in rows_of(to_latex(Findings(found))) if row[0] == "A"]
    mean = np.mean([row.mean("test", "rouge1") for row in found.table.of_kind("configuration")])
    assert len(rows) == 1
    assert rows[0][-4].startswith(f"{100 * mean:.2f}")


# What the table may hold beside plain text; anything else is a special character that LaTeX would take for its own.
ALLOWED = re.compile(
    r"\\(?:begin|end){(?:table|tabular)}|\\begin{tabular}{\w+}|\\(?:centering|(?:top|mid|bottom)rule)(?![a-z])|\\\\$|"
    r"\\(?:textbf|caption){|\$\^?\\dagger\$|\\[_&%$#{}]|\\text(?:asciitilde|asciicircum|backslash|less|greater|bar){}",
    re.MULTILINE,
)


def structure_of(text: str) -> None:
    """Fail where LaTeX would: no compiler of it is at hand."""
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end){(\w+)}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.isascii() or not re.search("[→×†∞–]", text)  # what pdflatex lacks without further packages
    columns = re.search(r"\\begin{tabular}{(\w+)}", text)
    assert columns
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert len(re.split(r"(?<!\\)&", line)) == len(columns[1]), line
    rest = ALLOWED.sub("", text)
    assert not re.search(r"[\\$#%_^~]", re.sub(r"(?<= )&(?= )", "", rest)), re.findall(r".{20}[\\$#%_^~].{20}", rest)


def test_the_structure_is_what_latex_takes_whatever_the_names(make_sweep: Make) -> None:
    hostile = "100% of #1_a & $b^2 {c} ~d \\e <f> |g|"
    trials = [baseline(), configuration("A", quality=0.9), configuration("B & C_1", rank=16, quality=0.2)]
    folder = make_sweep(trials, banner=hostile)
    structure_of(to_latex(Findings(compare(folder))))
    structure_of(to_latex(Findings(compare(make_sweep(grid(D={"state": "diverged", "cause": hostile}))))))


def test_what_latex_would_join_or_take_for_an_option_is_kept_apart(make_sweep: Make) -> None:
    assert escaped("a--b---c | d") == r"a-{}-b-{}-{}-c \textbar{} d"
    assert escaped("\x1b[31m\n") == r"\textbackslash{}x1b[31m\textbackslash{}n"
    trials = [baseline(), configuration("[2ex]"), configuration("*", rank=16)]
    lines = to_latex(Findings(compare(make_sweep(trials)))).splitlines()
    assert sum(line.startswith(("{}[2ex] &", "{}* &")) for line in lines) == 2
    assert not any(line.startswith(("[", "*")) for line in lines)
