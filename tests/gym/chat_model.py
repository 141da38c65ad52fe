"""Makes a small chat model: `python tests/gym/chat_model.py FOLDER` (a minute's training, on sums).

It has a chat template, and knows sums of one-digit numbers in the words of reasoning-gym.
"""

import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from healscope.evaluation.losses import response_loss
from healscope.models import tokens
from healscope.tasks.gym.reasoning_gym import INSTRUCTION

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<eos>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
STEPS = 60


def main(folder: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pairs = [
        (f"State the final answer to the following arithmetic problem: {a} + {b} =\n\n"
         f"{INSTRUCTION}", f"<answer>{a + b}</answer>")
        for a in range(10) for b in range(10)
    ]  # fmt: skip
    tokenizer = tokens.text_tokenizer([a + b + TEMPLATE for a, b in pairs])
    tokenizer.chat_template = TEMPLATE
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        some = [pairs[i] for i in torch.randint(len(pairs), (16,)).tolist()]
        response_loss(model, *tokens.encode_pairs(tokenizer, some)).backward()
        optimizer.step()
        optimizer.zero_grad()
    Path(folder).mkdir(parents=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
