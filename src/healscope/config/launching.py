"""What a launch can train: said before the first job, and again where a run begins."""

import json
from pathlib import Path

from healscope.config.compute import Launch
from healscope.config.rl import DPO, PPO, Group, Recipe, RejectionSampling, Supervised
from healscope.config.training import SFT, BlockDrift, Penalty, Protected, Rotation, SFTMethod
from healscope.errors import HealscopeError

OURS = ("optimizer", "scheduler", "bf16", "fp16", "torch_autocast", "gradient_clipping",
        "train_batch_size", "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps")  # fmt: skip
"""Keys of a DeepSpeed file that would overrule the study's own config."""


def stage(launch: Launch) -> int:
    """ZeRO stage by the name of the DeepSpeed file, 0 without one; of another file, 2 at least."""
    if launch.deepspeed is None:
        return 0
    return 3 if launch.deepspeed.startswith("zero3") else 2


def unshared(zero: int, what: SFTMethod | Recipe | None) -> str | None:
    """Why a method of SFT or a recipe cannot be trained at this ZeRO stage; None where it can."""
    if zero and isinstance(what, Protected):
        return "'protected' projects gradients, which DeepSpeed keeps to itself: use no deepspeed"
    if zero >= 3 and isinstance(what, Penalty | BlockDrift | Rotation):
        return f"the penalty '{what.method}' needs whole matrices, which ZeRO-3 parts: use zero2"
    if zero and isinstance(what, DPO | RejectionSampling | Supervised):
        return f"'{what.algorithm}' trains in one process only: use no deepspeed"
    return None


def check_sft(launch: Launch, settings: SFT) -> None:
    """Raises ValueError where SFT cannot be launched so."""
    launch.share(settings.batch_size, "sft.batch_size")
    last = settings.examples % settings.batch_size
    if last % launch.processes:
        raise ValueError(
            f"sft.examples {settings.examples} leave {last} rows for the last batch of an epoch "
            f"(sft.batch_size {settings.batch_size}), which launch.processes {launch.processes} "
            "cannot share evenly"
        )
    for arm in settings.arms:
        if reason := unshared(stage(launch), settings.methods.get(arm)):
            raise ValueError(f"sft.arms '{arm}': {reason}")


def check_recipe(launch: Launch, name: str, recipe: Recipe) -> None:
    """Raises ValueError where a recipe cannot be launched so."""
    if reason := unshared(stage(launch), recipe):
        raise ValueError(f"rl.branches '{name}': {reason}")
    if isinstance(recipe, PPO | Group):
        where = f"rl.recipes.{name}"
        if recipe.prompts % launch.processes:
            raise ValueError(
                f"{where}: {recipe.prompts} prompts an iteration (responses / samples_per_prompt) "
                f"are no multiple of launch.processes {launch.processes}"
            )
        launch.share(recipe.responses // recipe.minibatches, f"{where}: responses of a minibatch")


def read_deepspeed(name: str, folder: str | Path) -> dict:
    """The DeepSpeed file of this name in `folder`, or at this path.

    Raises HealscopeError where it cannot be read, or holds what the study's config decides.
    """
    file = Path(name) if name.endswith(".json") else Path(folder) / f"{name}.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        there = ", ".join(sorted(f.stem for f in Path(folder).glob("*.json")))
        raise HealscopeError(
            f"launch.deepspeed: '{name}' cannot be read ({error}); there are {there}"
        ) from None
    if wrong := [key for key in OURS if key in content]:
        raise HealscopeError(
            f"launch.deepspeed: {file} sets '{wrong[0]}', which the study's own config decides; "
            "take it out (a scheduler there would replace the learning rates of `schedule`)"
        )
    return content
