"""Pages of results, made by running their studies."""

import pytest
from runner import ROOT

from healscope import evidence, provenance


@pytest.mark.long
def test_a_page_is_made_from_nothing_and_again_for_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs/mine.md"
    page.write_text(
        f"# Mine\n\n<!-- evidence: {ROOT}/config/micro.yaml; factorial -->\n<!-- end -->\n"
    )
    assert evidence.main(["docs/mine.md", "--cores", "2"]) == 0
    text = page.read_text()
    assert "### " in text
    (figure,) = (tmp_path / "evidence/micro/results/figures").glob("*.png")
    assert figure.stem == "fig_factorial"
    spent = provenance.read_json(evidence.TIMES)["mine.md"]
    assert spent > 10
    assert "wall time: 0:0" in text
    assert evidence.main(["--cores", "2"]) == 0  # all pages of docs/
    assert page.read_text() == text
    assert provenance.read_json(evidence.TIMES)["mine.md"] == spent
