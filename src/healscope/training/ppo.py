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

What the released code does differently is a setting of its own, named where it is used; the recipe
`ppo_reference` sets them all (healscope.config.rl.REFERENCE).

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
from healscope.training import health, processes, state, stop
from healscope.training.learner import Learner
from healscope.training.references import Penalty, distances, due
from healscope.training.sampling import (
    Turn,
    advantage_statistics,
    chunks,
    encoded,
    entropy_nats,
    padded,
    parts,
    rollout,
    summary,
    token_weights,
)
from healscope.training.schedule import scale

ROWS_AT_ONCE = 128  # a micro-batch: small enough that its activations stay in a CPU's cache


def train(recipe: PPO, branch) -> list[dict]:
    """Runs PPO from `branch.start` and stages the result; returns one row for each iteration.

    Every iteration draws from its own named streams: a resumed run repeats nothing. Of several
    processes each samples its share of the prompts and reads its share of every minibatch; what is
    made of all turns together, all compute alike. Raises Diverged where a number is not finite any
    more, or success is lost, and Stopped on a signal.
    """
    seed, work, compute = branch.seed, branch.work, branch.compute
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    compute.checkpointed(model)
    penalty = Penalty(recipe, branch)
    head, optimizer, value_optimizer = _optimizers(recipe, model, trained, seed)
    own_head = recipe.value_head == "own"
    policy = Policy(model, None if own_head else head)
    learner = Learner(compute, policy, optimizer, recipe.optimizer.max_grad_norm)
    if learner.engine is None:
        modules = {"model": model, "value": head}
        optimizers = {"optimizer": optimizer, "value_optimizer": value_optimizer}
    else:  # the rest is the engine's to keep
        modules = {"value": head} if own_head else {}
        optimizers = {"value_optimizer": value_optimizer}
    first, rows = state.restore(work, modules, optimizers, learner.engine)
    pool = branch.prompt_pool(recipe)
    sampler = branch.sampler(
        recipe,
        attempts=recipe.attempts,
        feedback=recipe.feedback,
        extra_attempt=recipe.extra_attempt,
        prompt_states=True,
    )
    with Bar(recipe.iterations, branch.label, done=first) as bar:
        for i in range(first, recipe.iterations):
            if health.spent(rows, recipe):
                break
            rate = recipe.optimizer.learning_rate * scale(recipe, i)
            learner.rate(rate)
            began = time.perf_counter()
            with health.finite_sampling(rows, branch.name), learner.whole(), compute.autocast():
                turns, beyond = rollout(recipe, sampler, model, tokenizer, pool, (seed, i))
            sampled = time.perf_counter()
            judged = judge(recipe, head, tokenizer, turns, penalty, beyond[0] if beyond else None)
            order = np.random.default_rng([seed, 6, i])
            updates = Update(recipe, model, learner, tokenizer, penalty)
            statistics = updates.policy(turns, judged, order)
            if value_optimizer is not None:
                statistics |= update_values(recipe, head, value_optimizer, judged)
                processes.copied(head)
            row = {
                "iteration": i + 1,
                **summary(turns, recipe.samples_per_prompt, beyond),
                **advantage_statistics((judged.advantages_B * judged.differ).numpy()),
                **explained(judged),
                **statistics,
                "learning_rate": rate,
                "sampling_seconds": sampled - began,
                "training_seconds": time.perf_counter() - sampled,
            }
            last = i + 1 == recipe.iterations or health.spent([*rows, row], recipe)
            if due(recipe, i, last):
                with learner.whole(), compute.autocast():
                    row |= distances(penalty.models, model, tokenizer, turns, recipe.temperature)
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


class Policy(nn.Module):
    """What an update reads: the model, and with it a shared value head (or None)."""

    def __init__(self, model, head: nn.Module | None):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, ids_BL, mask_BL, width: int, temperature: float) -> tuple:
        """Log-probabilities of responses (B,T), all of them (B,T,V), and values (B,) or None."""
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
    """Generalised advantage estimates and returns, each (B,) (arXiv 1506.02438, eq. 16).

    Turns stand one after another, episode by episode. Nothing flows over a turn whose `ends_B` is
    true: the value after it is 0. `following` is the value of the state after the last row.
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
    advantages_B: torch.Tensor,
    clip: float,
    ratio: str,
    ratio_limit: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped surrogate (1707.06347, eq. 7) of each row, and the share of it that clipping holds.

    `weights_BT`: 1 on response tokens, 0 on padding; the released code also has 0 and 0.5. `ratio`:
    "token" clips each token's ratio and averages over the response; "response" clips the ratio of
    the whole response, the action. Above `ratio_limit` only the clipped branch counts. The share is
    that of ratios without gradient: beyond the clip, on the side that the advantage pushes to.
    """
    difference_BT = (logprobs_BT - old_BT) * weights_BT
    if ratio == "response":
        rho = difference_BT.sum(1, keepdim=True).exp()
        share = torch.ones_like(rho)
    else:
        rho = difference_BT.exp()
        share = weights_BT / weights_BT.sum(1, keepdim=True).clamp(min=1)
    gain = advantages_B[:, None]
    within = rho.clamp(1 - clip, 1 + clip) * gain
    surrogate = torch.minimum(rho * gain, within)
    if ratio_limit is not None:
        surrogate = torch.where(rho > ratio_limit, within, surrogate)
    held = torch.where(gain > 0, rho > 1 + clip, (rho < 1 - clip) & (gain < 0))
    if ratio_limit is not None:
        held |= (rho > ratio_limit) & (gain != 0)
    return -(surrogate * share).sum(1), (held * share).sum(1).detach()


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """pi_ref/pi - 1 - log(pi_ref/pi), element by element: never negative.

    Its mean over samples of pi estimates KL(pi || pi_ref); the gradient of that mean, samples held
    fixed, is that of KL(pi_ref || pi) (arXiv 2402.03300, eq. 4).
    """
    gap = reference - logprobs
    return gap.exp() - 1 - gap


def value_loss(
    values_B: torch.Tensor, old_B: torch.Tensor, returns_B: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Half the squared error of each row; with `clip`, the worse of it and the clipped one's."""
    error_B = (values_B - returns_B) ** 2
    if clip is not None:
        near_B = old_B + (values_B - old_B).clamp(-clip, clip)
        error_B = torch.maximum(error_B, (near_B - returns_B) ** 2)
    return 0.5 * error_B


def value_head(kind: str, hidden_size: int) -> nn.Sequential:
    """V(s), (B, H) -> (B, 1). "own": small, on what the policy makes of the prompt; "shared": the
    released one, three layers on the last prompt token, trained with the policy."""
    if kind == "own":
        return nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1)
        )
    sizes = hidden_size, max(1, hidden_size // 4), max(1, hidden_size // 8), 1
    first, second, third = (nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)


def _optimizers(recipe: PPO, model, trained: list, seed: int):
    """(value head, optimizer of the policy, optimizer of an own head or None)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = value_head(recipe.value_head, model.config.hidden_size).to(model.device)
    own = recipe.value_head == "own"
    o = recipe.optimizer
    optimizer = torch.optim.AdamW(
        trained if own else [*trained, *head.parameters()],
        betas=(0.9, o.beta2),
        eps=o.epsilon,
        weight_decay=o.weight_decay,
    )
    values = torch.optim.AdamW(head.parameters(), lr=recipe.value_learning_rate) if own else None
    return head, optimizer, values


@dataclass(frozen=True)
class Judged:
    """What the critic makes of a batch of turns, each (B,) on the CPU: r with any KL penalty, V
    before the update, A and R = A + V. `states_BH` is what an own value head reads."""

    rewards_B: torch.Tensor
    values_B: torch.Tensor
    advantages_B: torch.Tensor
    returns_B: torch.Tensor
    states_BH: torch.Tensor | None

    @property
    def differ(self) -> bool:
        """Whether any reward differs from another: else there is nothing to prefer."""
        return bool(self.rewards_B.min() != self.rewards_B.max())


@torch.no_grad()
def judge(
    recipe: PPO, head, tokenizer, turns: list[Turn], penalty, following: Turn | None = None
) -> Judged:
    """Values, advantages and returns of every turn, by GAE along its episode.

    `following`: the turn after the last one, where the batch was cut.
    """
    rewards_B = torch.tensor([t.reward for t in turns])
    if recipe.kl == "reward":
        rewards_B = rewards_B - recipe.kl_coefficient * penalty.of_responses(tokenizer, turns)
    # read while sampling: the mean of the prompt's last hidden states, or the last of them
    which = 0 if recipe.value_head == "own" else 1
    device = next(head.parameters()).device
    read = [*turns, following] if following else turns
    states_BH = torch.stack([t.state_2H[which] for t in read]).to(device)
    values_B = head(states_BH)[:, 0].cpu()
    after = float(values_B[-1]) if following else 0.0
    states_BH, values_B = states_BH[: len(turns)], values_B[: len(turns)]
    # the released code ends the recursion at a success alone: the value of a failed hand leaks
    # into the next, unrelated one
    ends = [t.last if recipe.cut_failures else t.success for t in turns]
    advantages_B, returns_B = gae(
        rewards_B, values_B, torch.tensor(ends), recipe.discount, recipe.gae_lambda, after
    )
    own = states_BH if recipe.value_head == "own" else None
    return Judged(rewards_B, values_B, advantages_B, returns_B, own)


def update_values(recipe: PPO, head, optimizer, judged: Judged) -> dict[str, float]:
    """`value_steps` steps of an own value head on the returns."""
    device = judged.states_BH.device
    old_B, returns_B = judged.values_B.to(device), judged.returns_B.to(device)
    for _ in range(recipe.value_steps):
        optimizer.zero_grad(set_to_none=True)
        values_B = head(judged.states_BH)[:, 0]
        loss = value_loss(values_B, old_B, returns_B, recipe.value_clip).mean()
        loss.backward()
        optimizer.step()
    return {"value_loss": loss.item()}


def explained(judged: Judged) -> dict[str, float]:
    """Share of the returns' variance that V explained before the update, where they vary."""
    spread = judged.returns_B.var()
    if not judged.differ:
        return {}
    return {"explained_variance": float(1 - (judged.returns_B - judged.values_B).var() / spread)}


@dataclass(frozen=True)
class Update:
    """The policy's update on one batch of turns, and with it a shared value head's."""

    recipe: PPO
    model: nn.Module
    learner: Learner
    tokenizer: object
    penalty: Penalty

    def policy(self, turns: list[Turn], judged: Judged, order) -> dict[str, float]:
        """All epochs over the turns; returns means of the logged statistics, and tokens learned.

        Where all rewards are equal there is nothing to prefer: normalised, the critic's own errors
        would be all that is left to follow.
        """
        recipe, gains_B = self.recipe, judged.advantages_B
        if recipe.normalise_advantages:
            gains_B = (gains_B - gains_B.mean()) / (gains_B.std() + 1e-6)
        if not judged.differ and recipe.value_head == "own":
            if recipe.kl != "loss" and not recipe.entropy_coefficient:
                with self.learner.whole(), self.learner.compute.autocast():
                    some = turns[:ROWS_AT_ONCE]
                    entropy = entropy_nats(self.model, self.tokenizer, some, recipe.temperature)
                return {"entropy_nats": entropy, "trained_tokens": 0}
            gains_B = torch.zeros_like(gains_B)
        at_once = self.learner.compute.launch.micro_batch or ROWS_AT_ONCE
        self.model.train()
        totals: dict[str, float] = {}
        norms = 0.0
        for _ in range(recipe.epochs):
            for rows in np.array_split(order.permutation(len(turns)), recipe.minibatches):
                batches = chunks(turns, processes.own(rows), parts(len(rows), at_once))
                self.learner.start()
                for k, chunk in enumerate(batches):
                    share = len(chunk) / len(rows)
                    with self.learner.compute.autocast():
                        loss, logged = self._loss(turns, chunk, gains_B, judged)
                    self.learner.backward(loss * share, last=k + 1 == len(batches))
                    for key, value in logged.items():
                        totals[key] = totals.get(key, 0.0) + value * share
                norms += self.learner.step()
        learned = recipe.epochs * sum(len(t.response_ids) for t in turns)
        everywhere = processes.joined([totals])
        means = {key: sum(t[key] for t in everywhere) / recipe.steps for key in totals}
        return means | {"gradient_norm": norms / recipe.steps, "trained_tokens": learned}

    def _loss(self, turns, chunk, gains_B, judged) -> tuple[torch.Tensor, dict[str, float]]:
        recipe, some = self.recipe, [turns[i] for i in chunk]
        index = torch.from_numpy(chunk)
        gains_B = gains_B[index].to(self.model.device)
        ids_BL, mask_BL, width, real_BT = encoded(self.tokenizer, some, self.model.device)
        now_BT, all_BTV, values_B = self.learner(ids_BL, mask_BL, width, recipe.temperature)
        old_BT = padded([t.logprobs for t in some], width, self.model.device)
        weights_BT = token_weights(recipe, self.tokenizer, some, real_BT)
        exact_BT, before_BT = now_BT, old_BT
        if recipe.logprob_precision == "bfloat16":
            now_BT, old_BT = now_BT.bfloat16().float(), old_BT.bfloat16().float()
            if recipe.ratio == "response":  # the sum is rounded too, to steps of 0.03 to 0.06
                now_BT, old_BT = (
                    (x * weights_BT).sum(1, keepdim=True).bfloat16().float()
                    for x in (now_BT, old_BT)
                )
                weights_BT = torch.ones_like(now_BT)
        surrogate_B, clipped_B = policy_loss(
            now_BT, old_BT, weights_BT, gains_B, recipe.clip, recipe.ratio, recipe.ratio_limit
        )
        tokens_B = real_BT.sum(1).clamp(min=1)
        entropy_B = (-(all_BTV.exp() * all_BTV).sum(-1) * real_BT).sum(1) / tokens_B
        drift_B = ((before_BT - exact_BT) * real_BT).sum(1) / tokens_B
        loss = surrogate_B.mean() - recipe.entropy_coefficient * entropy_B.mean()
        logged = {
            "policy_loss": surrogate_B.mean().item(),
            "entropy_nats": entropy_B.mean().item(),
            "clip_share": clipped_B.mean().item(),
            "kl_from_rollout_nats": drift_B.mean().item(),
        }
        if recipe.kl == "loss":
            other_BT = self.penalty.logprobs(ids_BL, mask_BL, width)
            kl_B = torch.where(real_BT, k3(exact_BT, other_BT), 0.0).sum(1) / tokens_B
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
