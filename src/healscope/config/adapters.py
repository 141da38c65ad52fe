"""Folders of PEFT adapters: what can be merged, which base an adapter names, whether it fits one.

Only small files and headers are read, so that an adapter that cannot be taken is refused before the
first job.
"""

from pathlib import Path

from healscope.config import json_files, tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
BEFORE = "base_model.model."
"""What PEFT puts before the name of every tensor."""

_TOKENS = "token_adapter.trainable_tokens_delta"

_PAIRS = (
    ("lora_A", "lora_B"), ("lora_B", "lora_A"),
    ("lora_embedding_A", "lora_embedding_B"), ("lora_embedding_B", "lora_embedding_A"),
)  # fmt: skip

_TAKEN = {
    "peft_type", "task_type", "inference_mode", "base_model_name_or_path", "revision",
    "auto_mapping", "peft_version", "r", "lora_alpha", "lora_dropout", "target_modules",
    "exclude_modules", "fan_in_fan_out", "bias", "use_rslora", "use_dora", "lora_bias",
    "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern",
    "alpha_pattern", "trainable_token_indices", "ensure_weight_tying", "eva_config",
    "runtime_config", "qalora_group_size", "megatron_core", "loftq_config",
}  # fmt: skip
"""Keys of adapter_config.json that may have any value (`loftq_config`: it is told by
`init_lora_weights`)."""

_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base's weights as they are."""

_MERGED = (
    "Merge it where it was trained, PeftModel.from_pretrained(MODEL, FOLDER).merge_and_unload() "
    "then save_pretrained, and give that folder"
)


def read(place: Path) -> dict:
    """Return the content of adapter_config.json; raises ValueError."""
    return json_files.read(place / CONFIG)


def check(place: Path, pickles: bool = False) -> None:
    """Raise ValueError if the adapter in a folder is half written or of a kind that is not merged.

    Merged are LoRA, rsLoRA and DoRA with biases, patterns of ranks, embeddings and whole modules.
    With `pickles` its weights may be a pickle, of which nothing is read here.
    """
    about = read(place)
    kind = about.get("peft_type")
    if kind != "LORA":
        raise ValueError(
            f"an adapter of kind {kind}; LoRA, rsLoRA and DoRA are read (peft_type LORA). {_MERGED}"
            if kind in ("ADALORA", "LOHA", "LOKR", "IA3", "VERA", "OFT", "BOFT", "HRA", "RANDLORA")
            else f"an adapter of kind {kind}, which changes no weights of the model or other ones "
            "than LoRA does; only LoRA, rsLoRA and DoRA are read (peft_type LORA)"
        )
    start = about.get("init_lora_weights")
    if start not in _STARTS:
        raise ValueError(
            f"an adapter with init_lora_weights: {start}, which changes the base's weights too, so "
            f"that it fits no published base. {_MERGED}, or save it with "
            "path_initial_model_for_weight_conversion"
        )
    if used := sorted(key for key, value in about.items() if key not in _TAKEN and value):
        raise ValueError(
            f"an adapter with {used[0]}: {about[used[0]]}, which is not read. {_MERGED}"
        )
    if not (place / WEIGHTS).is_file():
        if (place / PICKLED).is_file():
            if pickles:
                return
            raise ValueError(
                f"{PICKLED} is a pickle, which can run code; only safetensors are read. Convert it "
                "where you trust it: PeftModel.from_pretrained(MODEL, FOLDER).save_pretrained("
                "NEW_FOLDER). Or set models.*.pickles: true, and tensors alone are read from it, "
                "in a process of its own"
            )
        raise ValueError(
            f"an adapter without {WEIGHTS}: it was half written or half copied; copy that file, "
            "or give an earlier checkpoint"
        )
    halves = shapes(place)
    for name in halves:
        for one, two in _PAIRS:
            other = name.replace(f".{one}", f".{two}")
            if other != name and not name.endswith("bias") and other not in halves:
                raise ValueError(
                    f"{WEIGHTS} holds {name} and no {two} beside it: it was half written; give an "
                    "earlier checkpoint"
                )
    if empty := [name for name, shape in halves.items() if 0 in shape]:
        raise ValueError(
            f"{WEIGHTS} holds {len(empty)} tensors without values (as {empty[0]}): it was saved "
            "under DeepSpeed's ZeRO-3 without gathering the parts; save it again with "
            "stage3_gather_16bit_weights_on_model_save: true"
        )
    if not halves:
        raise ValueError(f"{WEIGHTS} holds no tensors; save the adapter again")


def shapes(place: Path) -> tensors.Shapes:
    """Return name in the model's words -> shape of an adapter's tensors; raises ValueError."""
    found = tensors.shapes_in(place / WEIGHTS)
    return {
        tensors.unwrapped(name).removeprefix(BEFORE).replace(".base_layer.", "."): shape
        for name, shape in found.items()
    }


def rows(of_adapter: tensors.Shapes) -> int | None:
    """Return the rows of the embeddings or output layer that an adapter holds; None if it holds
    neither."""
    found = {s[0] for n, s in of_adapter.items() if tensors.has_rows(n)}
    found |= {s[1] for n, s in of_adapter.items() if ".lora_embedding_A" in n}
    return max(found, default=None)


def base_of(place: Path) -> str | None:
    """Return what an adapter calls its base: a path or a hub id; None if it says nothing."""
    return read(place).get("base_model_name_or_path") or None


def refuse_another_base(of_adapter: tensors.Shapes, of_base: tensors.Shapes) -> None:
    """Raise ValueError if an adapter does not fit a base, by the shapes of their tensors.

    Rows of embeddings and output layer may differ: tokens may have been added.
    """
    if "lm_head.weight" not in of_base:  # tied: it has the shape of the embeddings
        rows_of = (s for n, s in of_base.items() if n.endswith(tensors.EMBEDDINGS))
        of_base = {**of_base, "lm_head.weight": next(rows_of, ())}
    for name, shape in of_adapter.items():
        module, _, part = name.partition(".lora_")
        kind = part.split(".")[0]
        if kind == "magnitude_vector" or name.endswith(("lora_B.bias", _TOKENS)):
            continue
        matrix = f"{module}.weight" if part else name
        if matrix not in of_base:
            raise ValueError(
                f"it changes {matrix}, which the base does not have: an adapter for another model"
            )
        there = of_base[matrix]
        if not part:
            same = shape[1:] == there[1:] if tensors.has_rows(name) else shape == there
        elif kind in ("A", "B") and len(shape) == 2:
            same = shape[1 if kind == "A" else 0] in there
        else:
            same = kind == "embedding_A" or there[-1] in shape
        if not same:
            raise ValueError(
                f"its {name} is of shape {shape}, and {matrix} of the base of shape {there}: an "
                "adapter for another model"
            )
