from healscope import artifacts


def test_stage_and_step():
    assert artifacts.stage_and_step("sft-140") == ("sft", 140)
    assert artifacts.stage_and_step("rpsft_strong-140") == ("rpsft_strong", 140)
    assert artifacts.stage_and_step("ppo-from-140") == ("rl", 140)
