"""Norms of matrices: by hand on a model on disk, and through the table."""

from pathlib import Path

import pytest

from healscope import findings, provenance
from healscope.measuring import Inputs, measurements
from healscope.models.stored import Stored


def test_norms_are_those_of_the_weights(study, base_manifest, tmp_path):
    norms = measurements()["norms"]
    inputs = Inputs({"base": base_manifest, "end": base_manifest}, {})
    rows = norms.measure(inputs, norms.settings(study, "micro"), 0, "")
    weight = Stored(Path(base_manifest).parent)["model.layers.0.self_attn.q_proj.weight"]
    one = rows[(rows["landmark"] == "end") & (rows["layer"] == 0) & (rows["role"] == "q")]
    assert one["norm"].item() == pytest.approx(float((weight.double() ** 2).sum() ** 0.5))
    file = tmp_path / "probe.parquet"
    provenance.write_table(file, rows.assign(track="micro", seed=0), {}, norms.SCHEMA)
    table = findings.build("norms", {"measured": [str(file)]}, {})
    provenance.write_table(tmp_path / "norms.parquet", table, {}, findings.FINDINGS["norms"].schema)
