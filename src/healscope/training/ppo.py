"""Proximal policy optimisation in one file (Schulman et al. 2017, arXiv 1707.06347).

One action is one whole response (a turn); an episode is a list of turns. Rewards come from a plain
Python function. Symbols follow arXiv 2509.12235, section 2.1:

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t),   A_t = sum_l (gamma lambda)^l delta_{t+l}
    L = -E min(rho A, clip(rho, 1 - eps, 1 + eps) A)
        - c_e H[pi] + c_k KL(pi || pi_start),   V by regression on R = A + V

Shape suffixes: E episodes, N turns of an episode, B rows (one turn each), L padded prompt and
response, T response tokens, V vocabulary. In this world an episode is one turn long; `rollout` is
where longer ones enter.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from healscope.config import PPO
from healscope.evaluation.generate import generate, position_ids, response_logprobs, seeded
from healscope.models import checkpoints, tokens
from healscope.progress import Bar
from healscope.tasks.generalpoints import Problem, from_row
from healscope.tasks.problems import draw
from healscope.tasks.verdict import Verdict
from healscope.training import state

ROWS_AT_ONCE = 128  # a micro-batch: small enough that its activations stay in a CPU's cache
RewardFunction = Callable[[Problem, str], Verdict]


class ValueHead(nn.Module):
    """V(s): a small network on the model's reading of the prompt, which it does not train."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1)
        )

    def forward(self, hidden_BH: torch.Tensor) -> torch.Tensor:
        return self.net(hidden_BH)[:, 0]


@dataclass(frozen=True)
class Rollout:
    """One batch of turns. `turn_EN` gives the row of each turn, -1 after an episode's end."""

    ids_BL: torch.Tensor
    mask_BL: torch.Tensor
    real_BT: torch.Tensor
    old_logprobs_BT: torch.Tensor
    rewards_B: torch.Tensor
    turn_EN: torch.Tensor
    verdicts: list[Verdict]

    @property
    def width(self) -> int:
        return self.real_BT.shape[1]


def gae(
    rewards_EN: torch.Tensor,
    values_EN: torch.Tensor,
    real_EN: torch.Tensor,
    discount: float,
    lam: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimates and returns, both (E, N), 0 outside `real_EN`.

    Nothing flows over the end of an episode: the value after its last turn is 0
    (arXiv 1506.02438, eq. 16).
    """
    advantages = torch.zeros_like(rewards_EN)
    carried = torch.zeros(len(rewards_EN), device=rewards_EN.device)
    following = torch.zeros_like(carried)
    for n in reversed(range(rewards_EN.shape[1])):
        real = real_EN[:, n].to(rewards_EN.dtype)
        delta = rewards_EN[:, n] + discount * following - values_EN[:, n]
        carried = real * (delta + discount * lam * carried)
        following = real * values_EN[:, n]
        advantages[:, n] = carried
    return advantages, (advantages + values_EN) * real_EN


def policy_loss(
    logprobs_BT: torch.Tensor,
    old_BT: torch.Tensor,
    real_BT: torch.Tensor,
    advantages_B: torch.Tensor,
    clip: float,
    ratio: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped surrogate (1707.06347, eq. 7) of each row, and the share of its ratios clipped.

    `ratio`: "token" clips each token's ratio and averages over the response; "response" clips the
    ratio of the whole response, the action.
    """
    difference = (logprobs_BT - old_BT) * real_BT
    if ratio == "response":
        rho, weight = difference.sum(1, keepdim=True).exp(), torch.ones_like(advantages_B[:, None])
    else:
        rho, weight = difference.exp(), real_BT / real_BT.sum(1, keepdim=True).clamp(min=1)
    gain = advantages_B[:, None]
    surrogate = torch.minimum(rho * gain, rho.clamp(1 - clip, 1 + clip) * gain)
    clipped = ((rho - 1).abs() > clip).float()
    return -(surrogate * weight).sum(1), (clipped * weight).sum(1).detach()


def value_loss(
    values_B: torch.Tensor, old_B: torch.Tensor, returns_B: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Half the squared error of each row; with `clip`, the worse of it and the clipped one's."""
    error = (values_B - returns_B) ** 2
    if clip is not None:
        near = old_B + (values_B - old_B).clamp(-clip, clip)
        error = torch.maximum(error, (near - returns_B) ** 2)
    return 0.5 * error


def rollout(
    model, tokenizer, problems: list, settings: PPO, max_new_tokens: int, reward: RewardFunction,
    prompts: list[str], generator: torch.Generator,
) -> Rollout:  # fmt: skip
    """Samples `samples_per_prompt` one-turn episodes for each problem and scores them."""
    prompt_ids = [tokens.prompt_ids(tokenizer, p) for p in prompts]
    model.eval()
    responses = generate(
        model,
        prompt_ids,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        max_new_tokens=max_new_tokens,
        temperature=settings.temperature,
        samples=settings.samples_per_prompt,
        generator=generator,
    )
    n = settings.samples_per_prompt
    verdicts = [
        reward(problems[i // n], tokens.response_text(tokenizer, ids))
        for i, ids in enumerate(responses.ids())
    ]
    repeated = [ids for ids in prompt_ids for _ in range(n)]
    left_BP, left_mask_BP, _, _ = tokens.encode_ids(
        repeated, [[]] * len(repeated), tokenizer.pad_token_id, model.device
    )
    return Rollout(
        ids_BL=torch.cat([left_BP, responses.tokens_BT], 1),
        mask_BL=torch.cat([left_mask_BP, responses.mask_BT], 1),
        real_BT=responses.mask_BT,
        old_logprobs_BT=responses.logprobs_BT,
        rewards_B=torch.tensor([v.reward for v in verdicts], device=model.device),
        turn_EN=torch.arange(len(verdicts), device=model.device)[:, None],
        verdicts=verdicts,
    )


def train(
    settings: PPO,
    start: str,
    pool: pd.DataFrame,
    reward: RewardFunction,
    max_new_tokens: int,
    seed: int,
    work: state.Workspace,
    checkpoint: str,
    label: str,
) -> list[dict]:
    """Runs PPO from the checkpoint behind manifest `start` and stages the result as `checkpoint`.

    Problems are drawn from `pool` without repeats inside an iteration. Returns one row for each
    iteration. Every iteration draws from its own named streams: a resumed run repeats nothing.
    """
    model, tokenizer = checkpoints.load_model(start)
    trained = checkpoints.freeze(model, settings.freeze)
    reference = _reference(start) if settings.kl_coefficient > 0 else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = ValueHead(model.config.hidden_size).to(model.device)
    optimizer = torch.optim.AdamW(
        trained,
        betas=(0.9, settings.optimizer.beta2),
        weight_decay=settings.optimizer.weight_decay,
    )
    value_optimizer = torch.optim.AdamW(head.parameters(), lr=settings.value_learning_rate)
    first, rows = 0, []
    if before := work.latest():
        state.restore_model(model, before.tensors)
        state.restore_model(head, before.tensors, "value")
        state.restore_optimizer(optimizer, "optimizer", before.tensors)
        state.restore_optimizer(value_optimizer, "value_optimizer", before.tensors)
        first, rows = before.step, before.rows
    with Bar(settings.iterations, label, done=first) as bar:
        for i in range(first, settings.iterations):
            rate = settings.optimizer.learning_rate
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (i + 1) / max(1, settings.optimizer.warmup_steps))
            batch = draw(pool, settings.prompts, np.random.default_rng([seed, 4, i]))
            problems = [from_row(r) for r in batch.to_dict("records")]
            sampled = rollout(
                model, tokenizer, problems, settings, max_new_tokens, reward,
                list(batch["prompt"]), seeded(seed, 5, i),
            )  # fmt: skip
            order = np.random.default_rng([seed, 6, i])
            hidden_BH = prompt_states(model, sampled)
            judged = judge_turns(head, hidden_BH, sampled, settings)
            statistics = {
                **update_policy(model, optimizer, sampled, judged, settings, reference, order),
                **update_values(head, value_optimizer, hidden_BH, judged, settings),
            }
            rows.append({"iteration": i + 1, **_summary(sampled), **statistics})
            bar.note(reward=rows[-1]["reward_mean"], correct=rows[-1]["correct_share"])
            bar.update()
            if (i + 1) % settings.state_every == 0 or i + 1 == settings.iterations:
                work.save(
                    i + 1,
                    {
                        **state.model_tensors(model),
                        **state.model_tensors(head, "value"),
                        **state.optimizer_tensors(optimizer, "optimizer"),
                        **state.optimizer_tensors(value_optimizer, "value_optimizer"),
                    },
                    rows,
                )
    with work.stage(checkpoint) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return rows


@dataclass(frozen=True)
class Judged:
    """What the critic makes of a rollout: V before the update, A and R = A + V, each (B,)."""

    values_B: torch.Tensor
    advantages_B: torch.Tensor
    returns_B: torch.Tensor


@torch.no_grad()
def judge_turns(head: ValueHead, hidden_BH: torch.Tensor, batch: Rollout, settings: PPO) -> Judged:
    """Values, advantages and returns of every turn, by GAE along its episode."""
    values_B = head(hidden_BH)
    real_EN = batch.turn_EN >= 0
    rows_EN = batch.turn_EN.clamp(min=0)
    advantages_EN, returns_EN = gae(
        batch.rewards_B[rows_EN] * real_EN,
        values_B[rows_EN] * real_EN,
        real_EN,
        settings.discount,
        settings.gae_lambda,
    )
    advantages_B, returns_B = torch.zeros_like(values_B), torch.zeros_like(values_B)
    advantages_B[batch.turn_EN[real_EN]] = advantages_EN[real_EN]
    returns_B[batch.turn_EN[real_EN]] = returns_EN[real_EN]
    return Judged(values_B, advantages_B, returns_B)


def update_policy(
    model, optimizer, batch: Rollout, judged: Judged, settings: PPO, reference, order
) -> dict[str, float]:
    """All epochs of the policy over one rollout; returns means of the logged statistics.

    Where all rewards are equal there is nothing to prefer, and the policy stays: normalised, the
    critic's own errors would be all that is left to follow.
    """
    spread = judged.advantages_B.std()
    if batch.rewards_B.min() == batch.rewards_B.max():
        return {"advantage_std": float(spread)}
    normalised_B = (judged.advantages_B - judged.advantages_B.mean()) / (spread + 1e-6)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    model.train()
    totals: dict[str, float] = {}
    for _ in range(settings.epochs):
        for rows in np.array_split(order.permutation(len(normalised_B)), settings.minibatches):
            optimizer.zero_grad(set_to_none=True)
            for chunk in np.array_split(rows, max(1, len(rows) // ROWS_AT_ONCE)):
                share = len(chunk) / len(rows)
                index = torch.from_numpy(np.sort(chunk)).to(normalised_B.device)
                loss, parts = _loss(model, batch, index, normalised_B, settings, reference)
                (loss * share).backward()
                for key, value in parts.items():
                    totals[key] = totals.get(key, 0.0) + value * share
            norm = nn.utils.clip_grad_norm_(trained, settings.optimizer.max_grad_norm)
            totals["gradient_norm"] = totals.get("gradient_norm", 0.0) + float(norm)
            optimizer.step()
    steps = settings.epochs * settings.minibatches
    means = {key: value / steps for key, value in totals.items()}
    return {**means, "advantage_std": float(spread)}


def update_values(
    head: ValueHead, optimizer, hidden_BH: torch.Tensor, judged: Judged, settings: PPO
) -> dict[str, float]:
    """`value_steps` steps of the value head on the rollout's returns.

    `explained_variance` is that of the values the advantages were made with, before these steps.
    """
    for _ in range(settings.value_steps):
        optimizer.zero_grad(set_to_none=True)
        loss = value_loss(
            head(hidden_BH), judged.values_B, judged.returns_B, settings.value_clip
        ).mean()
        loss.backward()
        optimizer.step()
    left = (judged.returns_B - judged.values_B).var() / judged.returns_B.var().clamp(min=1e-9)
    return {"value_loss": loss.item(), "explained_variance": float(1 - left)}


def _loss(
    model, batch: Rollout, index, advantages_B, settings: PPO, reference
) -> tuple[torch.Tensor, dict[str, float]]:
    ids, mask, real = batch.ids_BL[index], batch.mask_BL[index], batch.real_BT[index]
    logps_BT, logps_BTV = response_logprobs(model, ids, mask, batch.width, settings.temperature)
    old_BT = batch.old_logprobs_BT[index]
    surrogate_B, clipped_B = policy_loss(
        logps_BT, old_BT, real, advantages_B[index], settings.clip, settings.ratio
    )
    tokens_B = real.sum(1).clamp(min=1)
    entropy_B = (-(logps_BTV.exp() * logps_BTV).sum(-1) * real).sum(1) / tokens_B
    loss = surrogate_B.mean() - settings.entropy_coefficient * entropy_B.mean()
    parts = {
        "policy_loss": surrogate_B.mean().item(),
        "entropy_nats": entropy_B.mean().item(),
        "clip_share": clipped_B.mean().item(),
        "kl_from_rollout_nats": (((old_BT - logps_BT) * real).sum(1) / tokens_B).mean().item(),
    }
    if reference is not None:
        with torch.no_grad():
            start_BT, _ = response_logprobs(reference, ids, mask, batch.width, settings.temperature)
        gap = (start_BT - logps_BT) * real
        kl_B = ((gap.exp() - 1 - gap) * real).sum(1) / tokens_B  # unbiased, never negative
        loss = loss + settings.kl_coefficient * kl_B.mean()
        parts["kl_from_start_nats"] = kl_B.mean().item()
    return loss, parts


@torch.no_grad()
def prompt_states(model, batch: Rollout) -> torch.Tensor:
    """The state s of each row, (B, H): the mean of its prompt's last hidden states.

    Under the policy that answered it; each distinct prompt is read once.
    """
    left = batch.ids_BL.shape[1] - batch.width
    prompts, back = torch.unique(batch.ids_BL[:, :left], dim=0, return_inverse=True)
    row = torch.zeros(len(prompts), dtype=torch.long, device=back.device)
    row[back] = torch.arange(len(back), device=back.device)
    mask_BP = batch.mask_BL[row, :left]
    hidden_BPH = model.get_decoder()(
        input_ids=prompts,
        attention_mask=mask_BP,
        position_ids=position_ids(mask_BP),
        use_cache=False,
    ).last_hidden_state
    mean_BH = (hidden_BPH * mask_BP[..., None]).sum(1) / mask_BP.sum(1, keepdim=True)
    return mean_BH[back].float()


def _reference(manifest: str):
    model, _ = checkpoints.load_model(manifest)
    return model.requires_grad_(False).eval()


def _summary(batch: Rollout) -> dict[str, float]:
    outcomes = pd.Series([v.outcome for v in batch.verdicts])
    return {
        "reward_mean": float(batch.rewards_B.mean()),
        "positive_share": float((batch.rewards_B > 0).float().mean()),
        "correct_share": float((outcomes == "correct").mean()),
        "parsed_share": float(np.mean([v.parsed for v in batch.verdicts])),
        "response_tokens_mean": float(batch.real_BT.sum(1).float().mean()),
    }
