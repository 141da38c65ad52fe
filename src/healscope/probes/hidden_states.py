"""Hidden states at the landmarks (arXiv 2509.12235, appendix D.8 and Fig 15)."""

import pandas as pd
import torch

from healscope.models import checkpoints, tokens
from healscope.probes.geometry import POSITIONS
from healscope.tasks.tables import rules_differ

BATCH = 64


def states_at(landmarks: dict[str, str], problems: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Last-layer states on the same paired problems at every landmark (name -> manifest).

    The first `limit` held-out pairs where the rules differ, each under both rules (where they are
    steps of episodes, as many at even distances: the first ones would be of few episodes); of a
    task without such pairs, as many problems of each rule. Columns: landmark, pair_id, rule,
    position (one of POSITIONS), state (float32 list).
    """
    held_out = problems[(problems["split"] == "held_out") & rules_differ(problems)]
    both = held_out[held_out.groupby("pair_id")["rule"].transform("nunique") == 2]
    if len(both):
        pairs = both["pair_id"].drop_duplicates()
        if "episode_id" in both and both["episode_id"].notna().all():
            pairs = pairs.iloc[:: max(1, len(pairs) // limit)]
        pairs = pairs.head(limit)
        chosen = both[both["pair_id"].isin(pairs)]
    else:
        chosen = held_out.groupby("rule").head(limit)
    chosen = chosen.sort_values(["rule", "pair_id"])
    frames = []
    for landmark, manifest in landmarks.items():
        model, tokenizer = checkpoints.load_model(manifest)
        states = prompt_states(model, tokenizer, list(chosen["prompt"]))
        for position, rows in zip(POSITIONS, states.unbind(1), strict=True):
            frame = chosen[["pair_id", "rule"]].assign(landmark=landmark, position=position)
            frames.append(frame.assign(state=list(rows.numpy())))
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def prompt_states(model, tokenizer, prompts: list[str]) -> torch.Tensor:
    """(prompts, POSITIONS, width) float32: what the output layer reads, at the prompts.

    The decoder's last state has been through the final norm, once. Prompts of one length go
    together, so that nothing is padded and there is no question of its effect.
    """
    ids = [tokens.prompt_ids(tokenizer, prompt) for prompt in prompts]
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(i)
    found: dict[int, torch.Tensor] = {}
    for same in by_length.values():
        for start in range(0, len(same), BATCH):
            part = same[start : start + BATCH]
            batch = torch.tensor([ids[i] for i in part], device=model.device)
            state = checkpoints.decoder(model)(input_ids=batch).last_hidden_state.float().cpu()
            both = torch.stack([state[:, -1], state.mean(1)], 1)
            found |= dict(zip(part, both, strict=True))
    return torch.stack([found[i] for i in range(len(prompts))])
