"""How each method of SFT trains: penalties, projections, low-rank updates, replay.

docs/rotation-aware.md explains the methods.

W0 is a matrix where SFT starts, W the same matrix in training and D = W - W0. U and V are left and
right singular vectors of W0, the leading ones unless a control asks for others. Shape suffixes: M,
N rows and columns of a matrix; K directions; B rows of a batch, L tokens, H hidden size, S response
tokens of a batch, V vocabulary.
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import TrainerCallback
from trl import SFTTrainer

from healscope.config.training import (
    DFT,
    BlockDrift,
    Early,
    LoRA,
    Penalised,
    Protected,
    Replay,
    Rotation,
    SFTMethod,
)
from healscope.draws import seeded
from healscope.edit_names import leading
from healscope.engines.generate import generate
from healscope.errors import HealscopeError
from healscope.models import checkpoints, tokens
from healscope.spectra.decompose import decompose
from healscope.spectra.nulls import orthonormal
from healscope.tasks.task import Task
from healscope.training import processes

EPSILON = 1e-12  # in the denominator of the normalised penalty, as in the released code


def drift(d_MN: torch.Tensor) -> torch.Tensor:
    """Return |D|_F^2: the squared distance from the start (L2-SP, arXiv 1802.01483)."""
    return d_MN.square().sum()


def block_drift(d_MN: torch.Tensor, u_MK: torch.Tensor, v_NK: torch.Tensor) -> torch.Tensor:
    """Return |U'WV - U'W0V|_F^2 = |U'DV|_F^2, the change of the leading block (2605.10973)."""
    return (u_MK.T @ d_MN @ v_NK).square().sum()


def rotation(d_MN: torch.Tensor, u_MK: torch.Tensor, v_NK: torch.Tensor) -> torch.Tensor:
    """Return |(I - UU')WV|_F^2 + |U'W(I - VV')|_F^2, to which W0 adds nothing, so that W can be D.

    The off-diagonal blocks: all that turns the leading subspaces to first order in D, and nothing
    else (Wedin 1972; the angles are these blocks divided by differences of singular values).
    """
    right_MK, left_KN = d_MN @ v_NK, u_MK.T @ d_MN
    return (right_MK - u_MK @ (u_MK.T @ right_MK)).square().sum() + (
        left_KN - (left_KN @ v_NK) @ v_NK.T
    ).square().sum()


def outside(d_MN: torch.Tensor, u_MK: torch.Tensor, v_NK: torch.Tensor) -> torch.Tensor:
    """Return (I - UU')D(I - VV'): a change that leaves the leading singular triples alone."""
    d_MN = d_MN - u_MK @ (u_MK.T @ d_MN)
    return d_MN - (d_MN @ v_NK) @ v_NK.T


def kl(reference, model, inputs: dict) -> torch.Tensor:
    """Return KL(reference || model) in nats, the mean over the response tokens of a batch.

    Exact over the vocabulary at every prefix of the answers; `inputs` holds input_ids,
    attention_mask and labels (B, L), -100 where no token is taught.
    """
    with torch.no_grad():
        known_SV = _logprobs(reference, inputs)
    return (known_SV.exp() * (known_SV - _logprobs(model, inputs))).sum(-1).mean()


def _logprobs(model, inputs: dict) -> torch.Tensor:
    hidden_BLH = checkpoints.decoder(model)(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        use_cache=False,
    ).last_hidden_state
    taught_BL = inputs["labels"][:, 1:] != -100
    logits_SV = checkpoints.logits(model, hidden_BLH[:, :-1][taught_BL])
    at_least = torch.promote_types(logits_SV.dtype, torch.float32)
    return torch.log_softmax(logits_SV, -1, dtype=at_least)


@dataclass(frozen=True)
class Anchor:
    """A trained matrix, its value at the start, and the directions that a method protects.

    `u` (M, K) and `v` (N, K) are orthonormal; None where the whole matrix counts.
    """

    weight: nn.Parameter
    start: torch.Tensor
    u: torch.Tensor | None = None
    v: torch.Tensor | None = None

    def change(self) -> torch.Tensor:
        """Return D, with a gradient."""
        return self.weight - self.start


def anchors(model, share: float = 1.0, directions: str = "leading") -> list[Anchor]:
    """Return anchors of all matrices that are trained, at a `share` of their directions.

    Call it before training: the weights at this moment are W0.
    """
    found = []
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.ndim == 2:
            start = weight.detach().clone()
            basis = (None, None) if share == 1 else _basis(start, share, directions, name)
            found.append(Anchor(weight, start, *basis))
    return found


def _basis(start: torch.Tensor, share: float, directions: str, name: str) -> list[torch.Tensor]:
    """Return U (M, K) and V (N, K) of one matrix; its name seeds random ones."""
    k = leading(share, min(start.shape))
    if directions == "random":
        stream = seeded("directions", name)
        both = [orthonormal(n, k, stream) for n in start.shape]
    else:
        factors, _ = decompose(start)
        kept = slice(0, k) if directions == "leading" else slice(-k, None)
        both = [x[:, kept] for x in (factors.u, factors.v)]
    return [x.to(start).contiguous() for x in both]


def penalty(method: Penalised, model) -> Callable[[dict], torch.Tensor]:
    """Return a function of the inputs of a batch: the penalty, without its strength.

    Penalties are sums over matrices, as published. A block that is all of a matrix counts as its
    drift, which is the published rule for k >= min(m, n).
    """
    if isinstance(method, BlockDrift):
        anchored = anchors(model, method.share, method.directions)
        relative = method.method == "rpsft_normalised"
        scales = [1 / (float(_block(a, a.start)) + EPSILON) if relative else 1.0 for a in anchored]
        pairs = list(zip(scales, anchored, strict=True))
        return lambda _: sum(c * _block(a, a.change()) for c, a in pairs)
    if isinstance(method, Rotation):
        anchored = anchors(model, method.share, method.directions)
        return lambda _: sum(rotation(a.change(), a.u, a.v) for a in anchored)
    if method.method == "l2":
        anchored = anchors(model)
        return lambda _: sum(drift(a.change()) for a in anchored)
    if method.method == "kl":
        reference = copy.deepcopy(model).requires_grad_(False).eval()
        return lambda inputs: kl(reference, model, inputs)
    raise NotImplementedError(f"training.methods.penalty does not say what '{method.method}' is")


def _block(anchor: Anchor, d_MN: torch.Tensor) -> torch.Tensor:
    return drift(d_MN) if anchor.u is None else block_drift(d_MN, anchor.u, anchor.v)


class PenalisedTrainer(SFTTrainer):
    """Minimises loss + strength * penalty; logs both apart (`task_loss`, `penalty`)."""

    def __init__(self, penalty: Callable, strength: float, **arguments):
        self.penalty, self.strength = penalty, strength
        self.of_step: dict[str, float] = defaultdict(float)
        super().__init__(**arguments)

    def compute_loss(self, model, inputs, num_items_in_batch=None, **more):
        loss = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch, **more)
        taught = (inputs["labels"] != -100).sum()
        share = taught * processes.size() / num_items_in_batch  # 1 where a step has one micro-batch
        added = self.strength * self.penalty(inputs) * share
        for name, value in (("task_loss", loss), ("penalty", added)):
            mean = processes.total(value.detach()) / processes.size()
            self.of_step[name] += mean.item()
            if self.accelerator.sync_gradients:  # the last micro-batch: the log has means of steps
                self._metrics["train"][name].append(self.of_step.pop(name))
        return loss + added


class Projected(SFTTrainer):
    """Keeps W - W0 in (I - UU')(.)(I - VV'), so that W has these singular triples of W0.

    The gradient is projected before it is clipped; and the whole change after every step, because
    AdamW scales each element of a gradient by its own history and so leaves the subspace.
    """

    def __init__(self, anchors: list[Anchor], **arguments):
        self.anchors = anchors
        super().__init__(**arguments)
        self.add_callback(_Project(anchors))

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        for a in self.anchors:
            a.weight.grad = outside(a.weight.grad, a.u, a.v)
        return loss


class _Project(TrainerCallback):
    def __init__(self, anchors: list[Anchor]):
        self.anchors = anchors

    @torch.no_grad()
    def on_optimizer_step(self, *_, **__):
        for a in self.anchors:
            a.weight.copy_(a.start + outside(a.change(), a.u, a.v))


def unchanged(examples: pd.DataFrame, *_) -> pd.DataFrame:
    """Return the task's examples as they are."""
    return examples


def replayed(
    method: Replay, model, examples: pd.DataFrame, tokenizer, task: Task, seed: int
) -> pd.DataFrame:
    """Return `examples` with rows of the base's own answers, `method.share` of all rows.

    Call it before training. The base answers the task's neutral prompts at temperature 1, so that
    the loss on these rows is an estimate of KL(base || model) there, but for a constant. Answers
    that do not end in time are left out: their end would be taught. Batches have as many rows as
    without replay, so fewer of the task; the loss is a mean over tokens, in which long answers
    weigh more. Raises HealscopeError if no answer ends in time.
    """
    asked = task.neutral_prompts(method.prompts, seed)
    ends = tokens.end_ids(tokenizer, tokens.model_ends(model))
    made = generate(
        model.eval(),
        [tokens.prompt_ids(tokenizer, prompt) for prompt in asked],
        eos=ends,
        pad=tokenizer.pad_token_id,
        max_new_tokens=method.max_new_tokens,
        temperature=1.0,
        samples=-(-method.answers // len(asked)),
        generator=seeded(seed, "replay"),
    )
    repeated = [prompt for prompt in asked for _ in range(len(made.tokens_BT) // len(asked))]
    answered = [
        {"prompt": prompt, "response": tokens.response_text(tokenizer, ids, ends)}
        for prompt, ids in zip(repeated, made.ids(), strict=True)
        if ids[-1] in ends
    ]
    if not answered:
        raise HealscopeError(
            f"arm 'replay': none of {len(repeated)} answers of the base to everyday requests ends "
            f"within {method.max_new_tokens} tokens; raise max_new_tokens of the method"
        )
    wanted = round(len(examples) * method.share / (1 - method.share))
    order = np.random.default_rng([seed, 10]).permutation(len(answered))
    rows = [answered[order[i % len(answered)]] for i in range(wanted)]
    return pd.concat([examples, pd.DataFrame(rows)], ignore_index=True)


@dataclass(frozen=True)
class Setup:
    """How an arm trains.

    Attributes:
        model: the model that is trained.
        whole: returns the model that is saved, with all updates in its matrices.
        examples: returns the rows that are trained on, of those of the task.
        trainer: makes the trainer, with the arguments of SFTTrainer.
        settings: more arguments of SFTConfig.
    """

    model: nn.Module
    whole: Callable[[], nn.Module]
    examples: Callable[..., pd.DataFrame] = unchanged
    trainer: Callable[..., SFTTrainer] = SFTTrainer
    settings: dict = field(default_factory=dict)


def setup(method: SFTMethod | None, model, seed: int) -> Setup:
    """Return how `model` is trained by a method; None is plain SFT."""
    if isinstance(method, LoRA):
        plain = copy.deepcopy(model)
        trained = adapted(model, method, seed)
        return Setup(trained, lambda: merge(trained, plain))
    examples, trainer, settings = unchanged, SFTTrainer, {}
    if isinstance(method, Replay):
        examples = partial(replayed, method, model)
    elif isinstance(method, DFT):
        settings = {"loss_type": "dft"}
    elif isinstance(method, Protected):
        trainer = partial(Projected, anchors(model, method.share, method.directions))
    elif isinstance(method, Penalised):
        trainer = partial(PenalisedTrainer, penalty(method, model), method.strength)
    elif method is not None and not isinstance(method, Early):  # which reads other rows
        raise NotImplementedError(
            f"training.methods.setup does not say how '{method.method}' trains"
        )
    return Setup(model, lambda: model, examples, trainer, settings)


def adapted(model, method: LoRA, seed: int):
    """Give each trained matrix of `model` a low-rank update W0 + (alpha / rank) BA, in place.

    B starts at 0. Return peft's model around it, which is the one to train.
    """
    from peft import LoraConfig, get_peft_model

    trained = {id(p) for p in model.parameters() if p.requires_grad}
    modules = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module.weight) in trained
    ]
    settings = LoraConfig(
        r=method.rank, lora_alpha=method.alpha, target_modules=modules, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, settings)


@torch.no_grad()
def merge(adapted_model, plain):
    """Write the merged matrices into `plain`, a copy of the model from before `adapted`."""
    for name, module in adapted_model.get_base_model().named_modules():
        if hasattr(module, "get_delta_weight"):
            merged = module.base_layer.weight + module.get_delta_weight("default")
            plain.get_parameter(f"{name}.weight").copy_(merged)
    return plain
