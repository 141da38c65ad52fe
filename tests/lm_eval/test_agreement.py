"""Answers of this library's engine are as right as the harness finds them with the same model."""

import pytest
import torch
from conftest import CAPITALS, SUMS, Benchmarks, capitals, sums
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM

from healscope.config import Evaluation, Protocol
from healscope.engines import HF
from healscope.evaluation.attempts import Asker, attempts
from healscope.evaluation.losses import response_loss
from healscope.models import tokens

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<q> ' if m.role == 'user' else '<a> ' }}"
    "{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<a> {% endif %}"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Benchmarks:
    """Two tasks whose metrics are named, so that each is a task of its own."""
    made = Benchmarks(tmp_path_factory.mktemp("agreement"))
    made.add("sums", sums(40), sums(9, 40), num_fewshot=1, **SUMS)
    for metric in ("acc", "acc_norm"):
        one = [m for m in CAPITALS["metric_list"] if m["metric"] == metric]
        made.add(f"capitals_{metric}", capitals(60), **{**CAPITALS, "metric_list": one})
    return made


@pytest.fixture(scope="module", params=[None, TEMPLATE], ids=["plain", "chat"])
def model_and_tokenizer(request, made):
    """A model that has learned a part of what is asked, and the rest badly."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = made.task(["sums"], ["capitals_acc"])
    asked = [(task.prompt(p), f" {p.answer}") for p in task.problems("id")]
    asked += [(task.prompt(p), f" {p.answer}") for p in task.problems("ood")]
    tokenizer = tokens.text_tokenizer([a + b for a, b in asked] + ["<q> <a> "])
    first = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    tokenizer.backend_tokenizer.post_processor = first  # as tokenizers of such models have it
    tokenizer.chat_template = request.param
    if request.param:
        asked = [(prompt, answer.strip()) for prompt, answer in asked]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        some = [asked[i] for i in torch.randint(len(asked), (16,)).tolist()]
        loss = response_loss(model, *tokens.encode_pairs(tokenizer, some))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), tokenizer


def ours(model, tokenizer, made, names: list[str], **settings) -> dict[str, bool]:
    """Document, by the id of its problem -> whether the answer is right."""
    task = made.task(names[:1], names[1:], **settings)
    problems = task.posed(task.problem_table(), Protocol())
    settings = Evaluation(max_new_tokens=8, batch_size=7)
    ask = Asker(HF(model), tokenizer, settings, Protocol(), "", task.chat_template)
    rows = attempts(ask, task, problems, Protocol())
    return dict(zip(rows["instance_id"], rows["correct"], strict=True))


def theirs(model, tokenizer, made, names: list[str], chat: bool) -> dict[str, bool]:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5, device="cpu"),
        tasks=names,
        task_manager=TaskManager(include_path=str(made.tasks), include_defaults=False),
        apply_chat_template=chat,
        bootstrap_iters=0,
    )
    return {
        f"{name}:{sample['doc_id']}": sample[sample["metrics"][0]] == 1.0
        for name, samples in found["samples"].items()
        for sample in samples
        if sample["filter"] in ("none", "number")
    }


NAMES = ["sums", "capitals_acc", "capitals_acc_norm"]


def agree(mine: dict[str, bool], harness: dict[str, bool], made) -> None:
    """Assert that verdicts are the same, but where a choice is there twice: the harness takes the
    first of them, which is wrong where the second is the right one."""
    problems = made.task(NAMES[:1], NAMES[1:]).listed("ood")
    twice = {
        p.instance_id for p in problems if len(set(p.data["choices"])) < len(p.data["choices"])
    }
    assert mine.keys() == harness.keys() > twice
    assert [k for k in mine if k not in twice and mine[k] != harness[k]] == []
    assert all(mine[k] >= harness[k] for k in twice)


def test_every_document_is_judged_as_by_the_harness(model_and_tokenizer, made):
    """Written and chosen answers; some are right and some wrong, and the two metrics differ."""
    model, tokenizer = model_and_tokenizer
    chat = bool(tokenizer.chat_template)
    mine = ours(model, tokenizer, made, NAMES)
    agree(mine, theirs(model, tokenizer, made, NAMES, chat), made)
    right = {n: [v for k, v in mine.items() if k.startswith(f"{n}:")] for n in NAMES}
    assert all(0 < sum(values) < len(values) for values in right.values())
    assert right["capitals_acc"] != right["capitals_acc_norm"]


@pytest.mark.parametrize("model_and_tokenizer", [TEMPLATE], ids=["chat"], indirect=True)
def test_a_chat_template_can_be_left_unused(model_and_tokenizer, made):
    model, tokenizer = model_and_tokenizer
    mine = ours(model, tokenizer, made, NAMES, chat_template=False)
    agree(mine, theirs(model, tokenizer, made, NAMES, False), made)
    assert mine != ours(model, tokenizer, made, NAMES)
