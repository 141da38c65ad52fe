"""LLaMA-3.2-Vision as a language model: without an image it is a plain Llama.

Its layers of cross-attention are skipped where there is no image, so that the layers between them,
embeddings and head compute the same on their own. Every trainer and engine knows a Llama, and
1.7 billion unused parameters are neither stored nor trained.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

TEXT = "mllama_text_model"

_SAME = ("hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
         "vocab_size", "rms_norm_eps", "rope_parameters", "max_position_embeddings", "hidden_act",
         "initializer_range", "tie_word_embeddings", "pad_token_id", "bos_token_id",
         "eos_token_id")  # fmt: skip


def as_llama(model) -> LlamaForCausalLM:
    """Return the language part of an Mllama as a Llama that computes the same function of text.
    Layers of cross-attention, and embeddings beyond the vocabulary, which stand for images, are
    left out."""
    config = model.config
    crossing = set(config.cross_attention_layers)
    kept = [i for i in range(config.num_hidden_layers) if i not in crossing]
    about = {key: getattr(config, key) for key in _SAME}
    weights = {}
    for name, tensor in model.state_dict().items():
        parts = name.split(".")
        if parts[1] == "layers":
            if int(parts[2]) in crossing:
                continue
            parts[2] = str(kept.index(int(parts[2])))
        elif parts[1] == "embed_tokens":
            tensor = tensor[: config.vocab_size].clone()
        weights[".".join(parts)] = tensor
    with torch.device("meta"):  # no memory and no time for weights that are replaced
        llama = LlamaForCausalLM(LlamaConfig(num_hidden_layers=len(kept), **about))
    llama.load_state_dict(weights, assign=True)
    llama.generation_config = model.generation_config  # it may name more ends of an answer
    # its buffers are not stored
    llama.model.rotary_emb = type(llama.model.rotary_emb)(llama.config)
    return llama.eval()
