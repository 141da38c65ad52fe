"""Which edits mergekit can make; that it makes them is tested where it is installed."""

import pytest

from healscope.edit_names import parse
from healscope.repair.mergekit import recipe
from healscope.spectra.matrices import Matrix

MATRICES = [
    Matrix(layer, role, f"model.layers.{layer}.{module}.weight")
    for layer in (0, 1)
    for role, module in (("q", "self_attn.q_proj"), ("up", "mlp.up_proj"))
]


def weights(edit, matrices=MATRICES):
    made = recipe(parse(edit), "tuned", "base", matrices, "bfloat16")
    return made and made["models"][0]["parameters"]


def test_a_straight_step_scales_the_update_of_each_role():
    both = [
        {"filter": "self_attn.q_proj.weight", "value": 0.75},
        {"filter": "mlp.up_proj.weight", "value": 0.75},
    ]
    assert weights("swap-strength-0.25") == {"weight": [*both, {"value": 1.0}]}
    assert weights("swap-roles-up-strength-0.25") == {"weight": [both[1], {"value": 1.0}]}


def test_a_ramp_is_a_gradient_and_trimming_a_density():
    by_name = weights("ramp-strength-0.5")["weight"]
    assert by_name[0] == {"filter": "self_attn.q_proj.weight", "value": [0.5, 1.0]}
    trimmed = recipe(parse("trim-tail-0.8"), "tuned", "base", MATRICES, "bfloat16")
    assert (trimmed["merge_method"], trimmed["out_dtype"]) == ("ties", "bfloat16")
    assert trimmed["models"][0]["parameters"]["density"][0]["value"] == 0.2


@pytest.mark.parametrize(
    "edit",
    [
        "threshold", "intruders-k-10", "drop-rank-0.5", "pinned-rank-0.2", "swap-rank-0.5",
        "swap-layers-1", "ramp-layers-1", "trim-rank-0.2", "trim-tail-0.8-strength-0.5",
        "swap-strength-0.5+ramp", "pinned-rank-0.2-as-interpolation",
    ],
)  # fmt: skip
def test_what_mergekit_cannot_make_has_no_config(edit):
    assert weights(edit) is None


def test_parts_of_a_fused_projection_cannot_be_told_apart_there():
    fused = [Matrix(0, "q", "model.layers.0.self_attn.qkv_proj.weight", (0, 4))]
    assert weights("swap-strength-0.5", fused) is None
