"""Makes, in the working directory, what users have: a base, two checkpoints of a run, an adapter on
the base, files of questions and answers, and result files of two models.

Runs in an environment that holds nothing but healscope as it is installed by users.
"""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["red", "blue", "cat", "dog", "sun", "moon", "salt", "tea", "one", "two", "yes", "no"]


def main() -> None:
    torch.manual_seed(0)
    words = ["<pad>", "<s>", "</s>", "<unk>", "Say", *WORDS, *map(str.upper, WORDS)]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )  # fmt: skip
    )
    save(model, tokenizer, "base")
    for step in (10, 20):
        nudge(model.parameters())
        save(model, tokenizer, f"run/checkpoint-{step}")
    base = LlamaForCausalLM.from_pretrained("base")
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear"))
    nudge(weight for weight in tuned.parameters() if weight.requires_grad)
    tuned.save_pretrained("adapter")
    for name, said in (("id", str), ("ood", str.upper)):
        rows = [{"question": f"Say {said(word)}", "answer": said(word)} for word in WORDS]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def save(model, tokenizer, folder: str) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def nudge(weights) -> None:
    with torch.no_grad():
        for weight in weights:
            weight += 0.05 * torch.randn(weight.shape)


if __name__ == "__main__":
    main()
