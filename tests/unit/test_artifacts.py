from healscope import artifacts


def test_edit_names_round_trip():
    for kind, axis, amount in [("values", "layers", 2), ("directions", "rank", 0.0625)]:
        assert artifacts.parse_edit(artifacts.edit(kind, axis, amount)) == (kind, axis, amount)


def test_stage_and_step():
    assert artifacts.stage_and_step("sft-140") == ("sft", 140)
    assert artifacts.stage_and_step("rpsft_strong-140") == ("rpsft_strong", 140)
    assert artifacts.stage_and_step("ppo-from-140") == ("rl", 140)
