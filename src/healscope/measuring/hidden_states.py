"""Hidden states at the landmarks (arXiv 2509.12235, appendix D.8 and Fig 15)."""

import pandas as pd

from healscope import artifacts
from healscope.config import LANDMARKS, Study
from healscope.measuring import Cost, Inputs, geometry
from healscope.schema import RUN_SEED, TRACK, Schema, choice, real, share, text
from healscope.tasks.schemas import RULE
from healscope.tasks.tables import rules_differ

BATCH = 64

TABLES = {"problems": artifacts.PROBLEMS}
COLUMNS = (
    choice(
        "kind",
        geometry.KINDS,
        "distance: of the means, in spreads of prompts; cka: linear CKA; way_back: share of the "
        "way from End to MaxOOD that RL went back",
    ),
    choice("position", geometry.POSITIONS, "the prompt's last token, or the mean of its tokens"),
    RULE,
    choice("landmark", LANDMARKS, "which checkpoint"),
    choice("other", ("", *LANDMARKS), "the second one; empty for kind state"),
    text("pair_id", "the problem, for kind state; else empty"),
    real("pc1", "first component", "state units", nullable=True),
    real("pc2", "second component", "state units", nullable=True),
    share("share1", "variance that the first explains", nullable=True),
    share("share2", "variance that the second explains", nullable=True),
    real("value", "the number; missing for kind state", "spreads or ratio", nullable=True),
    real(
        "chance",
        "of way_back: what a step of that length in a random direction stays within",
        "ratio",
        nullable=True,
    ),
)
KEY = ("kind", "position", "rule", "landmark", "other", "pair_id")

SCHEMA = Schema(
    "hidden-states-probe",
    artifacts.probe("hidden-states"),
    "Last-layer states of prompts at the landmarks: one prompt on two principal components "
    "(state), or a number about two landmarks, all prompts and all dimensions.",
    (*COLUMNS, TRACK, RUN_SEED),
    KEY,
)


def reads(study: Study) -> list[str]:
    """Return all landmarks."""
    return list(study.landmark_checkpoints)


def settings(study: Study, _track: str) -> dict:
    """Return the number of prompts."""
    return {"problems": study.hidden_states.problems}


def cost(study: Study) -> Cost:
    """Prompts of both rules at every landmark."""
    landmarks = len(LANDMARKS)
    return Cost(loads=landmarks, sequences=landmarks * 2 * study.hidden_states.problems)


def measure(inputs: Inputs, settings: dict, _seed: int, _label: str) -> pd.DataFrame:
    """Return `geometry.describe` of the states at every landmark."""
    states = states_at(inputs.checkpoints, inputs.tables["problems"], settings["problems"])
    return geometry.describe(states)


def states_at(landmarks: dict[str, str], problems: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Return last-layer states on the same paired problems at every landmark (name -> manifest).

    The first `limit` held-out pairs where the rules differ, each under both rules (where they are
    steps of episodes, as many at even distances: the first ones would be of few episodes); of a
    task without such pairs, as many problems of each rule. Columns: landmark, pair_id, rule,
    position (one of `geometry.POSITIONS`), state (float32 list).
    """
    from healscope.models import checkpoints

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
        for position, rows in zip(geometry.POSITIONS, states.unbind(1), strict=True):
            frame = chosen[["pair_id", "rule"]].assign(landmark=landmark, position=position)
            frames.append(frame.assign(state=list(rows.numpy())))
    return pd.concat(frames, ignore_index=True)


def prompt_states(model, tokenizer, prompts: list[str]):
    """Return the output layer's inputs at the prompts: (prompts, `geometry.POSITIONS`, width),
    float32.

    The decoder's last state has been through the final norm, once. Prompts of one length go
    together, so that nothing is padded and there is no question of its effect.
    """
    import torch

    from healscope.models import checkpoints, tokens

    ids = [tokens.prompt_ids(tokenizer, prompt) for prompt in prompts]
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(i)
    found: dict[int, torch.Tensor] = {}
    for same in by_length.values():
        for start in range(0, len(same), BATCH):
            part = same[start : start + BATCH]
            batch = torch.tensor([ids[i] for i in part], device=model.device)
            with torch.no_grad():
                state = checkpoints.decoder(model)(input_ids=batch).last_hidden_state.float().cpu()
            both = torch.stack([state[:, -1], state.mean(1)], 1)
            found |= dict(zip(part, both, strict=True))
    return torch.stack([found[i] for i in range(len(prompts))])
