"""Models of transformers as a config.json describes them, without their weights."""

from pathlib import Path

import torch


def family(config):
    """Return the class of transformers that makes the causal language model of a config."""
    import transformers
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and config.architectures:
        # the language part of Mllama, once it is saved on its own, is in no mapping
        return getattr(transformers, config.architectures[0], AutoModelForCausalLM)
    return AutoModelForCausalLM


def empty(folder: str | Path, rows: int | None = None, dtype: torch.dtype = torch.float32):
    """Return the model that a folder's config.json describes, with any weights; with `rows`, of a
    vocabulary of so many."""
    from transformers import AutoConfig
    from transformers.initialization import no_init_weights

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if rows is not None:
        config.get_text_config().vocab_size = rows
    kind = family(config)
    make = getattr(kind, "from_config", None) or kind._from_config
    with no_init_weights():
        model = make(config, dtype=dtype)
    model.tie_weights()
    return model.eval()
