"""Proximal policy optimisation in one file (Schulman et al. 2017, arXiv 1707.06347).

One action is one whole response (a turn); an episode is a problem, answered and asked again after
feedback until it is right or attempts are used up. Symbols follow arXiv 2509.12235, section 2.1:

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t),   A_t = sum_l (gamma lambda)^l delta_{t+l}
    L = -E min(rho A, clip(rho, 1 - eps, 1 + eps) A) + c_v L_V - c_e H[pi] + c_k K(pi, pi_ref)
    L_V: half the squared error of V against R = A + V
    K: mean of k3 = pi_ref/pi - 1 - log(pi_ref/pi) over tokens (arXiv 2402.03300, eq. 4), which has
       the gradient of KL(pi_ref || pi); as part of the reward instead, log(pi/pi_ref) of the whole
       response, which has that of KL(pi || pi_ref)

With one step on each batch (epochs = minibatches = 1) rho is 1: nothing is clipped, and L has the
gradient of plain REINFORCE with a baseline.

Each difference of the released code is a setting, explained where it is used; the recipe
`ppo_reference` has them all (healscope.config.recipes.REFERENCE).

Shape suffixes: B turns, L padded prompt and response, T response tokens, V vocabulary, H hidden.
"""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from healscope.config import PPO
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints
from healscope.progress import Bar
from healscope.training import credit, health, masked, off_policy, processes, state, stop
from healscope.training.branch import Branch
from healscope.training.compute import ROWS_AT_ONCE
from healscope.training.learner import Learner
from healscope.training.optimization import adamw, scale
from healscope.training.references import distances, due, log_ratios, references
from healscope.training.released import ratio_terms
from healscope.training.rollouts import rollout
from healscope.training.turns import (
    Turn,
    advantage_statistics,
    encode,
    entropy_nats,
    micro_batch_count,
    micro_batches,
    pad,
    summary,
)


def train(recipe: PPO, branch: Branch) -> list[dict]:
    """Run PPO from `branch.start` and stage the checkpoint `branch.name`.

    Every iteration draws from its own named streams: a resumed run repeats nothing. Of several
    processes each samples its share of the prompts and reads its share of every minibatch; all
    compute advantages alike, from all turns.

    Return one row for each iteration. Raises Diverged if a number is not finite any more or
    success is lost, and Stopped on a signal.
    """
    seed, work, compute = branch.seed, branch.work, branch.compute
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    compute.checkpointed(model)
    if recipe.mask is not None:
        masked.train_only(model, masked.masks(recipe.mask, branch.start, branch.masked_by, seed))
    others = references(recipe, branch, recipe.kl_from if recipe.kl != "none" else None)
    head, optimizer, value_optimizer = value_head_and_optimizers(recipe, model, trained, seed)
    own_head = recipe.value_head == "own"
    policy = Policy(model, None if own_head else head)
    learner = Learner(compute, policy, optimizer, recipe.optimizer.max_grad_norm)
    if learner.engine is None:
        modules = {"model": model, "value": head}
        optimizers = {"optimizer": optimizer, "value_optimizer": value_optimizer}
    else:  # DeepSpeed's engine keeps the rest
        modules = {"value": head} if own_head else {}
        optimizers = {"value_optimizer": value_optimizer}
    first, rows = state.restore(work, modules, optimizers, learner.engine)
    pool = branch.prompt_pool(recipe)
    turns = recipe.model_dump(include={"attempts", "feedback", "extra_attempt"})
    sampler = branch.sampler(recipe, **turns, prompt_states=True)
    with Bar(recipe.iterations, branch.label, done=first) as bar:
        for i in range(first, recipe.iterations):
            if health.spent(rows, recipe):
                break
            rate = recipe.optimizer.learning_rate * scale(recipe, i)
            learner.rate(rate)
            began = time.perf_counter()
            with health.finite_sampling(rows, branch.name), learner.whole(), compute.autocast():
                found = rollout(recipe, sampler, model, tokenizer, pool, (seed, i))
            sampled, turns = time.perf_counter(), found.turns
            judged = judge(recipe, head, tokenizer, turns, others, found.following)
            favoured = None
            if recipe.credit is not None and recipe.credit.tokens != "none":
                rng = np.random.default_rng([seed, 9, i])
                favoured = credit.favoured(recipe.credit, branch.task, tokenizer, turns, rng)
            order = np.random.default_rng([seed, 6, i])
            logged = update_policy(
                recipe, learner, tokenizer, turns, judged, others, order, favoured
            )
            if value_optimizer is not None and not grouped(recipe):
                logged |= update_values(recipe, head, value_optimizer, judged)
                processes.copied(head)
            row = {
                "iteration": i + 1,
                **summary(found.sampled, recipe.samples_per_prompt, found.unused),
                **found.logged,
                **advantage_statistics((judged.advantages_B * judged.rewards_differ).numpy()),
                **explained_variance(judged),
                **logged,
                "learning_rate": rate,
                "sampling_seconds": sampled - began,
                "training_seconds": time.perf_counter() - sampled,
            }
            last = i + 1 == recipe.iterations or health.spent([*rows, row], recipe)
            if due(recipe, i, last):
                with learner.whole(), compute.autocast():
                    row |= distances(others, model, tokenizer, turns, recipe.temperature)
            row = processes.agreed(row)
            health.log(rows, row, branch.name)
            bar.note(reward=row["reward_mean"], correct=row["correct_share"])
            bar.update()
            keep = partial(state.keep, work, i + 1, modules, optimizers, rows, learner.engine)
            where = f"iteration {i + 1} of {recipe.iterations}"
            stop.at_step(keep, i + 1, recipe.state_every, last, where)
    with learner.whole():
        if processes.first():
            with work.stage(branch.name) as folder:
                checkpoints.save_weights(folder, model, tokenizer)
    return rows


def grouped(recipe: PPO) -> bool:
    """Return whether the responses to a prompt are each other's baseline, and no critic is."""
    return recipe.credit is not None and recipe.credit.baseline == "group"


@dataclass(frozen=True)
class Judged:
    """Rewards r (with any KL penalty), values V before the update, advantages A and R = A + V.

    Each is (B,) on the CPU. `states_BH` is what an own value head reads.
    """

    rewards_B: torch.Tensor
    values_B: torch.Tensor
    advantages_B: torch.Tensor
    returns_B: torch.Tensor
    states_BH: torch.Tensor | None

    @property
    def rewards_differ(self) -> bool:
        """Whether any reward differs from another; else no response is to be preferred."""
        return bool(self.rewards_B.min() != self.rewards_B.max())


@torch.no_grad()
def judge(
    recipe: PPO, head, tokenizer, turns: list[Turn], others: dict, following: Turn | None = None
) -> Judged:
    """Compute value, advantage and return of every turn, by GAE along its episode.

    `others` are the models of `references`; `following` is the turn after the last one, where the
    batch was cut.
    """
    rewards_B = torch.tensor([t.reward for t in turns])
    if recipe.kl == "reward":
        ratios_B = log_ratios(others[recipe.kl_from], tokenizer, turns, recipe.temperature)
        rewards_B = rewards_B - recipe.kl_coefficient * ratios_B
    # read while sampling: the mean of the prompt's last hidden states, or the last of them
    which = 0 if recipe.value_head == "own" else 1
    device = next(head.parameters()).device
    read = [*turns, following] if following else turns
    states_BH = torch.stack([t.state_2H[which] for t in read]).to(device)
    values_B = head(states_BH)[:, 0].cpu()
    next_value = float(values_B[-1]) if following else 0.0
    states_BH, values_B = states_BH[: len(turns)], values_B[: len(turns)]
    # the released code ends the recursion only at a success: the value of a failed hand leaks into
    # the next, unrelated one
    ends = [t.last if recipe.cut_failures else t.success for t in turns]
    advantages_B, returns_B = gae(
        rewards_B, values_B, torch.tensor(ends), recipe.discount, recipe.gae_lambda, next_value
    )
    if grouped(recipe):
        size, spread = recipe.samples_per_prompt, recipe.credit.spread
        advantages_B = credit.group_advantages(rewards_B, size, spread)
    own = states_BH if recipe.value_head == "own" else None
    return Judged(rewards_B, values_B, advantages_B, returns_B, own)


def explained_variance(judged: Judged) -> dict[str, float]:
    """Return the share of the returns' variance that V explained before the update.

    Return an empty dictionary if all rewards are equal.
    """
    if not judged.rewards_differ:
        return {}
    residual = (judged.returns_B - judged.values_B).var()
    return {"explained_variance": float(1 - residual / judged.returns_B.var())}


def update_policy(
    recipe: PPO,
    learner: Learner,
    tokenizer,
    turns: list[Turn],
    judged: Judged,
    others: dict,
    order,
    favoured: list[list[float]] | None = None,
) -> dict[str, float]:
    """Take all steps on one batch of turns, and with them those of a shared value head.

    `order` is the generator that shuffles the turns; `favoured` says which tokens get more credit
    (`credit.favoured`). Of fewer turns than minibatches each is a step. Return means of the logged
    statistics over steps, and the number of tokens learned from. If all rewards are equal, nothing
    is to be preferred: normalised, the critic's own errors would be all that is left to follow.
    """
    model, compute = learner.module.model, learner.compute
    advantages_B = judged.advantages_B
    if recipe.normalise_advantages and not grouped(recipe):
        advantages_B = (advantages_B - advantages_B.mean()) / (advantages_B.std() + 1e-6)
    if not judged.rewards_differ and recipe.value_head == "own":
        if recipe.kl != "loss" and not recipe.entropy_coefficient:
            with learner.whole(), compute.autocast():
                entropy = entropy_nats(model, tokenizer, turns[:ROWS_AT_ONCE], recipe.temperature)
            return {"entropy_nats": entropy, "trained_tokens": 0}
        advantages_B = torch.zeros_like(advantages_B)
    at_once = compute.launch.micro_batch or ROWS_AT_ONCE
    model.train()
    totals: dict[str, float] = {}
    norms = 0.0
    minibatches = max(1, min(recipe.minibatches, len(turns) // processes.size()))
    steps = recipe.epochs * minibatches
    for _ in range(recipe.epochs):
        for rows in np.array_split(order.permutation(len(turns)), minibatches):
            number = micro_batch_count(len(rows), at_once)
            batches = micro_batches(turns, processes.own(rows), number)
            learner.start()
            for k, batch in enumerate(batches):
                share = len(batch) / len(rows)
                with compute.autocast():
                    loss, logged = batch_loss(
                        recipe, learner, tokenizer, turns, batch, advantages_B, judged, others,
                        favoured,
                    )  # fmt: skip
                learner.backward(loss * share, last=k + 1 == len(batches))
                for key, value in logged.items():
                    totals[key] = totals.get(key, 0.0) + value * share
            norms += learner.step()
    learned = recipe.epochs * sum(len(t.response_ids) for t in turns)
    everywhere = processes.joined([totals])
    means = {key: sum(t[key] for t in everywhere) / steps for key in totals}
    return means | {"gradient_norm": norms / steps, "trained_tokens": learned}


def batch_loss(
    recipe: PPO,
    learner: Learner,
    tokenizer,
    turns: list[Turn],
    batch: np.ndarray,
    advantages_B: torch.Tensor,
    judged: Judged,
    others: dict,
    favoured: list[list[float]] | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of the turns whose numbers are in `batch`, and what is logged of it."""
    index, batch_turns = torch.from_numpy(batch), [turns[i] for i in batch]
    device = learner.module.model.device
    ids_BL, mask_BL, width, real_BT = encode(tokenizer, batch_turns, device)
    now_BT, all_BTV, values_B = learner(ids_BL, mask_BL, width, recipe.temperature)
    old_BT = pad([t.logprobs for t in batch_turns], width, device)
    off_B = torch.tensor([t.off_policy for t in batch_turns], device=device)
    old_BT = torch.where(off_B[:, None], now_BT.detach(), old_BT)  # those have no ratio
    tokens_B = real_BT.sum(1).clamp(min=1)
    gain = advantages_B[index].to(device)
    if favoured is not None:
        more_BT = pad([favoured[i] for i in batch], width, device)
        gain = credit.per_token(gain, more_BT, recipe.credit.alpha)
    surrogate_B, clipped_B = policy_loss(
        *ratio_terms(recipe, tokenizer, batch_turns, now_BT, old_BT, real_BT),
        gain,
        recipe.clip,
        recipe.ratio,
        recipe.ratio_limit,
    )
    if off_B.any():
        shaped_B = off_policy.shaped_loss(now_BT, real_BT, gain, recipe.off_policy.gamma)
        surrogate_B = torch.where(off_B, shaped_B, surrogate_B)
    entropy_B = (-(all_BTV.exp() * all_BTV).sum(-1) * real_BT).sum(1) / tokens_B
    drift_B = ((old_BT - now_BT) * real_BT).sum(1) / tokens_B
    loss = surrogate_B.mean() - recipe.entropy_coefficient * entropy_B.mean()
    logged = {
        "policy_loss": surrogate_B.mean().item(),
        "entropy_nats": entropy_B.mean().item(),
        "clip_share": clipped_B.mean().item(),
        "kl_from_rollout_nats": drift_B.mean().item(),
    }
    if recipe.kl == "loss":
        with torch.no_grad():
            reference = others[recipe.kl_from]
            other_BT = response_logprobs(reference, ids_BL, mask_BL, width, recipe.temperature)[0]
        kl_B = torch.where(real_BT, k3(now_BT, other_BT), 0.0).sum(1) / tokens_B
        loss = loss + recipe.kl_coefficient * kl_B.mean()
        logged["kl_penalty_nats"] = kl_B.mean().item()
    if recipe.value_head == "shared":
        error = value_loss(
            values_B,
            judged.values_B[index].to(values_B),
            judged.returns_B[index].to(values_B),
            recipe.value_clip,
        ).mean()
        loss = loss + recipe.value_coefficient * error
        logged["value_loss"] = error.item()
    return loss, logged


def update_values(recipe: PPO, head, optimizer, judged: Judged) -> dict[str, float]:
    """Take `value_steps` steps of an own value head on the returns."""
    device = judged.states_BH.device
    old_B, returns_B = judged.values_B.to(device), judged.returns_B.to(device)
    for _ in range(recipe.value_steps):
        optimizer.zero_grad(set_to_none=True)
        values_B = head(judged.states_BH)[:, 0]
        loss = value_loss(values_B, old_B, returns_B, recipe.value_clip).mean()
        loss.backward()
        optimizer.step()
    return {"value_loss": loss.item()}


class Policy(nn.Module):
    """The model, and with it a shared value head (or None)."""

    def __init__(self, model, head: nn.Module | None):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, ids_BL, mask_BL, width: int, temperature: float) -> tuple:
        """Return log-probabilities of response tokens (B, T), of the whole vocabulary (B, T, V),
        and values (B,) or None."""
        hidden_BLH, logps_BT, logps_BTV = response_logprobs(
            self.model, ids_BL, mask_BL, width, temperature, hidden=True
        )
        if self.head is None:
            return logps_BT, logps_BTV, None
        return logps_BT, logps_BTV, self.head(hidden_BLH[:, -width - 1])[:, 0]  # last of the prompt


def gae(
    rewards_B: torch.Tensor,
    values_B: torch.Tensor,
    ends_B: torch.Tensor,
    discount: float,
    lam: float,
    following: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return generalised advantage estimates and returns, each (B,) (arXiv 1506.02438, eq. 16).

    Turns stand one after another, episode by episode. After a turn whose `ends_B` is true the value
    is 0. `following` is the value of the state after the last row.
    """
    advantages_B = torch.zeros_like(rewards_B)
    carried = 0.0
    for b in reversed(range(len(rewards_B))):
        goes_on = 1.0 - float(ends_B[b])
        delta = rewards_B[b] + discount * goes_on * following - values_B[b]
        carried = delta + discount * lam * goes_on * carried
        following = values_B[b]
        advantages_B[b] = carried
    return advantages_B, advantages_B + values_B


def policy_loss(
    logprobs_BT: torch.Tensor,
    old_BT: torch.Tensor,
    weights_BT: torch.Tensor,
    advantages: torch.Tensor,
    clip: float,
    ratio: str,
    ratio_limit: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clipped surrogate loss (1707.06347, eq. 7) of each row, and its clipped share.

    `advantages` are those of rows (B,), or of tokens (B, T). `weights_BT`: 1 on response tokens, 0
    on padding; the released code also has 0 and 0.5. `ratio`: "token" clips each token's ratio and
    averages over the response; "response" clips the ratio of the whole response, the action. Above
    `ratio_limit` only the clipped branch counts. Clipped
    are ratios without gradient: beyond the clip, on the side that the advantage pushes to.
    """
    difference_BT = (logprobs_BT - old_BT) * weights_BT
    if ratio == "response":
        rho = difference_BT.sum(1, keepdim=True).exp()
        share = torch.ones_like(rho)
    else:
        rho = difference_BT.exp()
        share = weights_BT / weights_BT.sum(1, keepdim=True).clamp(min=1)
    gain = advantages if advantages.dim() == 2 else advantages[:, None]
    within = rho.clamp(1 - clip, 1 + clip) * gain
    surrogate = torch.minimum(rho * gain, within)
    if ratio_limit is not None:
        surrogate = torch.where(rho > ratio_limit, within, surrogate)
    held = torch.where(gain > 0, rho > 1 + clip, (rho < 1 - clip) & (gain < 0))
    if ratio_limit is not None:
        held |= (rho > ratio_limit) & (gain != 0)
    return -(surrogate * share).sum(1), (held * share).sum(1).detach()


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return pi_ref/pi - 1 - log(pi_ref/pi), element by element; it is never negative.

    Its mean over samples of pi estimates KL(pi || pi_ref); the gradient of that mean, samples held
    fixed, is that of KL(pi_ref || pi) (arXiv 2402.03300, eq. 4).
    """
    gap = reference - logprobs
    return gap.exp() - 1 - gap


def value_loss(
    values_B: torch.Tensor, old_B: torch.Tensor, returns_B: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Return half the squared error of each row; with `clip`, the larger of it and the clipped."""
    error_B = (values_B - returns_B) ** 2
    if clip is not None:
        near_B = old_B + (values_B - old_B).clamp(-clip, clip)
        error_B = torch.maximum(error_B, (near_B - returns_B) ** 2)
    return 0.5 * error_B


def value_head(kind: str, hidden_size: int) -> nn.Sequential:
    """Return the network of V(s), (B, H) -> (B, 1).

    "own" is small and reads the mean of the prompt's hidden states; "shared" is the released one:
    three layers on the last prompt token, trained with the policy.
    """
    if kind == "own":
        return nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1)
        )
    sizes = hidden_size, max(1, hidden_size // 4), max(1, hidden_size // 8), 1
    first, second, third = (nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)


def value_head_and_optimizers(recipe: PPO, model, trained: list, seed: int) -> tuple:
    """Return (value head, optimizer of the policy, optimizer of an own value head or None)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        size = model.config.get_text_config().hidden_size
        head = value_head(recipe.value_head, size).to(model.device)
    if recipe.value_head == "shared":
        return head, adamw(recipe, [*trained, *head.parameters()]), None
    values = torch.optim.AdamW(head.parameters(), lr=recipe.value_learning_rate)
    return head, adamw(recipe, trained), values
