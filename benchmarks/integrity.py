"""Does the check for random weights refuse what it should, and nothing else, and what does it cost?

    python benchmarks/integrity.py [FOLDER of models, searched for config.json]

Fresh models of several families and initialisers, as drawn, after small random updates, rounded to
bfloat16 and scaled; small models while they learn the text of docs/; every model of the folder, as
it is and with one role drawn anew; a model of 134M parameters. One thread.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from torch.nn import init
from transformers import AutoConfig, AutoModelForCausalLM

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models import integrity
from healscope.models.stored import Stored

SMALL = {
    "vocab_size": 100, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
    "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES = {
    "llama": {},
    "qwen2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {"num_key_value_heads": 1, "head_dim": 64},
    "mistral": {"num_key_value_heads": 2},
    "phi3": {"num_key_value_heads": 2},  # fused projections
    "gemma2": {"num_key_value_heads": 2, "head_dim": 32},
    "gpt_neox": {},
    "gpt2": {"n_embd": 128, "n_layer": 3, "n_head": 4},  # draws half of its matrices smaller
}
DRAWS = 10
WAYS = {
    "as drawn": lambda w: w,
    "after updates of 0.5%": lambda w: w + 0.005 * w.std() * torch.randn_like(w),
    "in bfloat16": lambda w: w.bfloat16(),
    "times 1.4": lambda w: 1.4 * w,
}
ROOT = Path(__file__).parents[1]
LARGE = 10_000_000  # parameters from which on roles are drawn anew by one initialiser alone


def initialisers(std: float) -> dict:
    def cut(at):
        return lambda w: init.trunc_normal_(w, 0, std, -at * std, at * std)

    return {
        "normal": lambda w: init.normal_(w, 0, std),
        "normal cut at 2": cut(2),
        "normal cut at 3": cut(3),
        "uniform": lambda w: init.uniform_(w, -std * 3**0.5, std * 3**0.5),
        "Kaiming uniform": init.kaiming_uniform_,
        "Kaiming normal": init.kaiming_normal_,
        "linear layer of PyTorch": lambda w: init.kaiming_uniform_(w, a=5**0.5),
        "Xavier uniform": init.xavier_uniform_,
        "Xavier normal": init.xavier_normal_,
        "orthogonal": init.orthogonal_,
        "normal times 0.98": lambda w: init.normal_(w, 0, 0.98 * std),
    }


def refused(weights: dict[str, torch.Tensor], std: float) -> bool:
    try:
        integrity.check_trained(weights, std, "model")
    except HealscopeError:
        return True
    return False


def counted(draw, std: float) -> str:
    """How often models that `draw` makes are refused, in each way."""
    found = dict.fromkeys(WAYS, 0)
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        weights = draw()
        for way, change in WAYS.items():
            changed = {k: change(w) if w.ndim == 2 else w for k, w in weights.items()}
            found[way] += refused(changed, std)
    return ", ".join(f"{n}/{DRAWS} {way}" for way, n in found.items())


def families() -> None:
    for family, more in FAMILIES.items():
        config = AutoConfig.for_model(family, **({} if family == "gpt2" else SMALL), **more)
        std = integrity.initial_std(config.to_dict())
        draw = lambda: AutoModelForCausalLM.from_config(config).state_dict()  # noqa: B023, E731
        print(f"fresh {family}: refused {counted(draw, std)}")


def of_initialisers() -> None:
    config = AutoConfig.for_model("llama", **SMALL)
    weights = AutoModelForCausalLM.from_config(config).state_dict()
    for name, drawn in initialisers(0.02).items():
        draw = lambda: {  # noqa: E731
            k: drawn(w.clone()) if w.ndim == 2 else w  # noqa: B023
            for k, w in weights.items()
        }
        print(f"llama, {name}: refused {counted(draw, 0.02)}")


def while_learning(width: int, seed: int, steps: int = 200, every: int = 10) -> None:
    text = b"".join(f.read_bytes() for f in sorted((ROOT / "docs").glob("*.md")))
    bytes_ = torch.tensor(list(text))
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "llama", vocab_size=256, hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    losses, wrongly = {}, []
    for step in range(1, steps + 1):
        starts = torch.randint(len(bytes_) - 64, (16,))
        ids = torch.stack([bytes_[s : s + 64] for s in starts])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, step / 20)
        optimizer.step()
        optimizer.zero_grad()
        losses[step] = loss.item()
        if step % every == 0 and refused(model.state_dict(), 0.02):
            wrongly.append(step)
    print(
        f"width {width}, seed {seed}: refused at steps {wrongly} of {every}, {2 * every}, …, "
        f"{steps}; loss {losses[1]:.2f} at step 1, {losses[every]:.2f} at {every}, "
        f"{losses[4 * every]:.2f} at {4 * every}, {losses[steps]:.2f} at {steps}"
    )


def trained(folder: Path) -> None:
    """Every model as it is, and with all matrices of one role drawn anew."""
    models = [c.parent for c in sorted(folder.rglob("config.json"))]
    wrongly, seconds, missed, asked = [], 0.0, {}, {}
    for model in models:
        start = time.perf_counter()
        try:
            integrity.check_folder(model)
        except HealscopeError as error:
            wrongly.append(str(error))
        seconds += time.perf_counter() - start
        std = integrity.initial_std(provenance.read_json(model / "config.json"))
        weights = {name: tensor.float() for name, tensor in Stored(model).items()}
        large = sum(w.numel() for w in weights.values()) > LARGE
        roles = integrity.roles_of(weights)
        torch.manual_seed(12345)  # not one that a model was drawn with
        for how, drawn in initialisers(std).items():
            for role in sorted(roles) if how == "normal" or not large else ():
                fresh = {n: drawn(torch.empty_like(weights[n])) for n in roles[role]}
                asked[how] = asked.get(how, 0) + 1
                missed[how] = missed.get(how, 0) + (not refused(weights | fresh, std))
    print(
        f"trained models: refused {len(wrongly)}/{len(models)}, "
        f"{1000 * seconds / max(len(models), 1):.0f} ms each"
    )
    print(*(f"  {text}\n" for text in wrongly), sep="", end="")
    for how in asked:
        print(f"  one role drawn anew, {how}: refused {asked[how] - missed[how]}/{asked[how]}")


def cost() -> None:
    config = AutoConfig.for_model("llama", vocab_size=32000, hidden_size=768,
                                  intermediate_size=2048, num_hidden_layers=12,
                                  num_attention_heads=12)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    fresh = model.state_dict()
    size = sum(w.numel() for w in fresh.values()) / 1e6
    uneven = {k: w * (0.5 + torch.rand(len(w), 1)) if w.ndim == 2 else w for k, w in fresh.items()}
    for name, weights in (("fresh", fresh), ("rows uneven", uneven)):
        start = time.perf_counter()
        answer = "refused" if refused(weights, 0.02) else "passed"
        print(f"{size:.0f}M parameters, {name}: {answer} in {time.perf_counter() - start:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for what in (integrity.record_logits, integrity.check_logits):
            start = time.perf_counter()
            what(folder, model)
            print(f"{size:.0f}M parameters, {what.__name__}: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families()
    of_initialisers()
    for width in (64, 128):
        for seed in (0, 1):
            while_learning(width, seed)
    if len(sys.argv) > 1:
        trained(Path(sys.argv[1]))
    cost()
