"""Log-probabilities of given texts after their prompts, as for multiple-choice answers."""

import torch

from healscope.engines.generate import NotFinite, response_logprobs
from healscope.models import tokens

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt, and of a text after it."""


@torch.no_grad()
def scores(model, pairs: list[Pair], *, pad: int, batch_size: int) -> list[tuple[float, bool]]:
    """Return for each pair the text's summed log-probability in nats, and whether each of its
    tokens is the most likely one; (0, True) for an empty text. Raises NotFinite.

    Texts that differ in the last token alone, as letters do, are read once for all.
    """
    found: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
    alike: dict[tuple, list[int]] = {}
    for i, (prompt, text) in enumerate(pairs):
        if text:
            alike.setdefault((*prompt, None, *text[:-1]), []).append(i)
    rows = sorted(alike.values(), key=lambda same: sum(map(len, pairs[same[0]])))
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        prompts, texts = zip(*(pairs[same[0]] for same in batch), strict=True)
        ids, mask, width, real_BT = tokens.encode_ids(prompts, texts, pad, model.device)
        logps_BT, logps_BTV = response_logprobs(model, ids, mask, width)
        if logps_BT[real_BT].isnan().any():
            raise NotFinite("the model's probabilities are not finite")
        likeliest_BT = logps_BTV.argmax(-1)
        hit_BT = likeliest_BT == ids[:, -width:]
        for row, same in enumerate(batch):
            last = len(pairs[same[0]][1]) - 1
            before, hit = logps_BT[row, :last].sum(), bool(hit_BT[row, :last].all())
            for i in same:
                token = pairs[i][1][-1]
                total = before + logps_BTV[row, last, token]
                found[i] = float(total), hit and int(likeliest_BT[row, last]) == token
    return found
