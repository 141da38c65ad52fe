"""Makes the base model: trains it from scratch, or loads it from a folder or the hub.

Pretraining teaches arithmetic under many stated rules, and the layout of the evaluation only under
another format token. So SFT has a format to align, and a skill to keep or to forget.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from healscope.config import Architecture, Model, Pretraining, Scratch, sources
from healscope.errors import HealscopeError
from healscope.evaluation.losses import response_loss
from healscope.models import (
    against_base,
    asking,
    checkpoints,
    hub,
    integrity,
    mllama,
    pictures,
    tokens,
)
from healscope.models.stored import Stored
from healscope.progress import Bar
from healscope.tasks.task import Task
from healscope.training import state, stop

POSITIONS = {"compact": 256, "json": 4096}
"""rendering -> context length of a model from scratch, at least."""
_ATTEMPTS = 5  # of a conversation with the longest prompts and answers, for which there is room


def task_tokenizer(task: Task):
    """Return a tokenizer of the task's words (compact) or of the text of its examples (JSON)."""
    if task.rendering == "compact":
        return tokens.word_tokenizer(list(task.words()))
    return tokens.text_tokenizer(task.corpus())


def positions(task: Task, tokenizer) -> int:
    """Return the context length of a model from scratch: several attempts at any problem fit."""
    longest = (tokenizer.encode(text, add_special_tokens=False) for text in task.longest())
    needed = _ATTEMPTS * sum(map(len, longest))
    return max(POSITIONS[task.rendering], 1 << (needed - 1).bit_length())


def scratch_model(
    architecture: Architecture,
    tokenizer,
    seed: int,
    positions: int = 256,
    shown: Mapping[str, np.ndarray] | None = None,
) -> PreTrainedModel:
    """Return a freshly initialised Llama with the tokenizer's vocabulary (float32).

    With `shown`, word -> picture, it has a tower and sees pictures in place of these words.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.heads,
        intermediate_size=architecture.ffn_size,
        max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        initializer_range=architecture.init_std,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if shown:
            return pictures.seeing(architecture.vision, config, tokenizer, shown)
        return LlamaForCausalLM(config)


def pretrain(
    scratch: Scratch, task: Task, seed: int, work: state.Workspace, label: str
) -> list[dict]:
    """Train the base model and stage it as checkpoint `base`; return the logged rows.

    Raises Stopped on a signal.
    """
    settings = scratch.pretraining
    tokenizer = task_tokenizer(task)
    places, shown = positions(task, tokenizer), task.pictures()
    model = scratch_model(scratch.architecture, tokenizer, seed, places, shown)
    model.to(checkpoints.device())
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )
    rows: list[dict] = []
    start = 0
    if before := work.latest():
        state.restore_model(model, before.tensors)
        state.restore_optimizer(optimizer, "optimizer", before.tensors)
        start, rows = before.step, before.rows

    def keep() -> None:
        moments = state.optimizer_tensors(optimizer, "optimizer")
        work.save(rows[-1]["step"], {**state.model_tensors(model), **moments}, rows)

    with stop.heeded(), Bar(settings.steps, label, done=start) as bar:
        for step in range(start, settings.steps):
            rate = settings.learning_rate * _linear(step, settings.warmup_steps, settings.steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            ids, mask, width, real = _batch(task, settings, tokenizer, seed, step)
            ids, mask, real = (x.to(model.device) for x in (ids, mask, real))
            loss = response_loss(model, ids, mask, width, real)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            rows.append({"step": step + 1, "loss": loss.item(), "learning_rate": rate})
            bar.note(loss=rows[-1]["loss"])
            bar.update()
            last = step + 1 == settings.steps
            where = f"step {step + 1} of {settings.steps}"
            stop.at_step(keep, step + 1, settings.state_every, last, where)
    with work.stage("base") as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return rows


def fetch(model: Model, work: state.Workspace) -> list[dict]:
    """Stage a model from a local folder or the hub as checkpoint `base`, in float32.

    Raises HealscopeError if it cannot be loaded, its keys do not all match, its weights are random
    (unless `check_random` is false), or its stored logits are those of another model.
    """
    source = sources.folder(model.source)
    if not source.is_dir():
        source = hub.folder(model.source, model.revision)
    name = f"model source '{model.source}'"
    about = against_base.read_json(name, source / "config.json")
    against_base.refuse_unknown_code(name, about)
    integrity.refuse_untied(name, Stored(source))
    try:
        network = integrity.load(str(source))
        tokenizer = _tokenizer(model, source, network)
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise HealscopeError(
            f"{name} cannot be loaded: {first} "
            "(it takes config.json, tokenizer files and safetensors)"
        ) from None
    if (source / integrity.LOGITS).is_file():
        integrity.check_logits(source, network)
    if model.check_random:
        std = integrity.initial_std(network.config.to_dict())
        integrity.check_trained(network.state_dict(), std, name)
    if network.config.model_type == mllama.TEXT:
        network = mllama.as_llama(network)
    _mend(network)
    with work.stage("base") as folder:
        checkpoints.save_weights(folder, network, tokenizer)
    return [{"step": 0}]


def _tokenizer(model: Model, source: Path, network):
    """Return the tokenizer of a source, with the tokens that it needs (`asking.changes`)."""
    tokenizer = tokens.load_tokenizer(str(source))
    if (source / asking.TOKENIZER[0]).is_file():
        rows = network.get_input_embeddings().weight.shape[0]
        changed, notes = asking.changes(source, rows, model.end_token, tokens.model_ends(network))
        for key, value in changed.items():
            setattr(tokenizer, key, value)
        for note in notes:
            print(f"healscope: model source '{model.source}': {note}", file=sys.stderr)
    return tokenizer


def _mend(network) -> None:
    """Keep of generation settings that transformers would not save the special tokens alone."""
    settings = network.generation_config
    try:
        settings.validate(strict=True)
    except ValueError:
        ids = ("bos_token_id", "eos_token_id", "pad_token_id")
        network.generation_config = type(settings)(**{i: getattr(settings, i) for i in ids})


def _batch(task: Task, settings: Pretraining, tokenizer, seed: int, step: int):
    """Return the encoded examples of one step: all of one turn or all of two, to pad little."""
    conversations = np.random.default_rng([seed, 10, step]).random() < settings.conversations
    rng = np.random.default_rng([seed, 1, step])
    drawn = task.examples(settings.batch_size, rng, settings, conversations)
    return tokens.encode_ids(
        [tokens.conversation_ids(tokenizer, turns) for turns, _ in drawn],
        [tokens.response_ids(tokenizer, response) for _, response in drawn],
        tokenizer.pad_token_id,
    )


def _linear(step: int, warmup: int, steps: int) -> float:
    """Return the share of the peak rate: up over the warm-up, then down to 0 at the end."""
    return min((step + 1) / max(warmup, 1), (steps - step) / max(steps - warmup, 1), 1.0)
