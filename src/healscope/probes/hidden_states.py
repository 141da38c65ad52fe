"""Hidden states at the landmarks (arXiv 2509.12235, appendix D.8 and Fig 15)."""

import pandas as pd
import torch

from healscope.models import checkpoints, tokens


@torch.no_grad()
def last_prompt_states(manifest: str, problems: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Last-layer state (after the final norm) of the last prompt token, on paired problems.

    The first `limit` held-out pairs with a face card, each under both rules. Columns: pair_id,
    rule, state (float32 list).
    """
    model, tokenizer = checkpoints.load_model(manifest)
    held_out = problems[(problems["split"] == "held_out") & (problems["n_faces"] > 0)]
    pairs = held_out["pair_id"].drop_duplicates().head(limit)
    chosen = held_out[held_out["pair_id"].isin(pairs)].sort_values(["rule", "pair_id"])
    states = []
    for prompt in chosen["prompt"]:  # one at a time: no padding, so no question of its effect
        ids = torch.tensor([tokens.prompt_ids(tokenizer, prompt)], device=model.device)
        states.append(model.get_decoder()(input_ids=ids).last_hidden_state[0, -1].float().cpu())
    frame = chosen[["pair_id", "rule"]].reset_index(drop=True)
    return frame.assign(state=[s.tolist() for s in states])
