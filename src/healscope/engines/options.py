"""Log-probabilities of given texts after their prompts, as for multiple-choice answers."""

from collections.abc import Iterator
from itertools import accumulate

import torch

from healscope.engines.generate import NotFinite, hidden_states
from healscope.models import checkpoints, tokens

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt, and of a text after it."""

READ = 1 << 14
"""Tokens that a model reads at a time, padding included, if they are of more than one text."""

HELD = 1 << 25
"""Log-probabilities that are in memory at a time, of all tokens of the vocabulary: 128 MiB."""


@torch.no_grad()
def scores(model, pairs: list[Pair], *, pad: int, batch_size: int) -> list[tuple[float, bool]]:
    """Return for each pair the text's summed log-probability in nats, and whether each of its
    tokens is the most likely one; (0, True) for an empty text. Raises NotFinite.

    Texts that differ in the last token alone, as letters do, are read once for all. At most
    `batch_size` are read at a time; memory is bounded by READ and HELD, whatever their lengths.
    """
    found: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
    alike: dict[tuple, list[int]] = {}
    for i, (prompt, text) in enumerate(pairs):
        if text:
            alike.setdefault((*prompt, None, *text[:-1]), []).append(i)
    for batch in _batches(pairs, list(alike.values()), batch_size):
        prompts, texts = zip(*(pairs[same[0]] for same in batch), strict=True)
        ids, mask, width, real_BT = tokens.encode_ids(prompts, texts, pad, model.device)
        before_BTH = hidden_states(model, ids, mask)[:, -width - 1 : -1]
        starts = accumulate(map(len, texts[:-1]), initial=0)
        asked = [(i, place) for place, same in zip(starts, batch, strict=True) for i in same]
        places = [place + k for i, place in asked for k in range(len(pairs[i][1]))]
        wanted = [token for i, _ in asked for token in pairs[i][1]]
        logps, hits = _of_tokens(model, before_BTH[real_BT], places, wanted)
        lengths = [len(pairs[i][1]) for i, _ in asked]
        for (i, _), own, hit in zip(asked, logps.split(lengths), hits.split(lengths), strict=True):
            found[i] = float(own.sum()), bool(hit.all())
    return found


def _batches(pairs: list[Pair], rows: list[list[int]], most: int) -> Iterator[list[list[int]]]:
    """Yield rows of similar length, as many at a time as may be read at once."""
    lengths = {same[0]: sum(map(len, pairs[same[0]])) for same in rows}
    batch: list[list[int]] = []
    for same in sorted(rows, key=lambda same: lengths[same[0]]):
        if batch and (len(batch) == most or (len(batch) + 1) * lengths[same[0]] > READ):
            yield batch
            batch = []
        batch.append(same)
    if batch:
        yield batch


def _of_tokens(
    model, hidden_NH: torch.Tensor, places: list[int], wanted: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability (Q,) of each wanted token after the hidden state at its place, in
    float64, and whether it is the most likely one."""
    place_Q, token_Q = (torch.tensor(x, device=hidden_NH.device) for x in (places, wanted))
    logps_Q = torch.zeros(len(places), dtype=torch.float64, device=hidden_NH.device)
    hits_Q = torch.zeros_like(place_Q, dtype=torch.bool)
    size = max(1, HELD // model.get_output_embeddings().weight.shape[0])
    for start in range(0, len(hidden_NH), size):
        logits_NV = checkpoints.logits(model, hidden_NH[start : start + size])
        logps_NV = torch.log_softmax(logits_NV.float(), -1)
        inside_Q = (place_Q >= start) & (place_Q < start + size)
        place, token = place_Q[inside_Q] - start, token_Q[inside_Q]
        logps_Q[inside_Q] = logps_NV[place, token].double()
        hits_Q[inside_Q] = logps_NV.argmax(-1)[place] == token
    if logps_Q.isnan().any():
        raise NotFinite("the model's probabilities are not finite")
    return logps_Q, hits_Q
