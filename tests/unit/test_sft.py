"""SFT data are drawn as the config says, losses go where they should, and a resume is exact."""

import pytest
import torch
from sft_runs import LIKE, ON_CARDS, run, with_methods
from targets import first

from healscope.models import checkpoints
from healscope.tasks.tables import sft_examples
from healscope.training import recording, sft


def drawn_examples(pool, settings, seed):
    return sft_examples(pool, settings.deals, settings.examples, seed)


def test_examples_come_from_few_deals_and_repeat_by_seed(study, tables):
    pool = tables[1]
    drawn = drawn_examples(pool, study.sft, 0)
    assert len(drawn) == study.sft.examples
    assert drawn["instance_id"].nunique() <= study.sft.deals
    assert not drawn["problem_id"].duplicated().any()
    assert drawn.equals(drawn_examples(pool, study.sft, 0))
    assert not drawn.equals(drawn_examples(pool, study.sft, 1))


def test_face_cards_do_not_dominate(study, tables):
    """Values are drawn evenly, so deals with many ways to show a ten are no more frequent."""
    pool = tables[1]
    drawn = drawn_examples(pool, study.sft.model_copy(update={"deals": 1000}), 0)
    assert drawn["n_faces"].mean() < 0.5 * pool["n_faces"].mean()


def test_no_held_out_deal_is_trained_on(tables):
    problems, pool, rl_pool = tables
    held_out = set(problems.loc[problems["split"] == "held_out", "instance_id"])
    assert held_out
    assert not held_out & set(pool["instance_id"])
    assert not held_out & set(rl_pool["instance_id"])


def test_paraphrases_change_the_prompts_alone(study, task, tables):
    drawn = drawn_examples(tables[1], study.sft, 0)
    other = sft.paraphrase(drawn, task, seed=0)
    assert other.drop(columns="prompt").equals(drawn.drop(columns="prompt"))
    assert (other["prompt"] != drawn["prompt"]).mean() > 0.8
    assert other.equals(sft.paraphrase(drawn, task, seed=0))
    for text, row in zip(other["prompt"], drawn.to_dict("records"), strict=True):
        assert text in list(task.paraphrases(task.read(row)))


def test_rows_and_checkpoints_follow_the_grid(study, trained, base_manifest):
    rows, weights = trained("sft")
    assert list(rows["step"]) == [0, 2, 4, 6, 8, 10, 12]
    assert list(weights) == study.sft.checkpoints
    start = checkpoints.load_weights(base_manifest)
    assert all(torch.equal(weights[0][k], start[k]) for k in start)
    moved = {k for k in start if not torch.equal(weights[12][k], start[k])}
    assert moved == {k for k in start if "proj" in k}
    for split in ("id_test", "ood_test"):
        assert rows[f"{split}_format_error_share"].between(0, 1).all()
    assert rows["id_train_loss_nats"].iloc[-1] < rows["id_train_loss_nats"].iloc[0]
    assert rows["learning_rate"].iloc[-1] == pytest.approx(
        study.sft.optimizer.learning_rate * 11 / 20
    )


@pytest.fixture
def read(monkeypatch, base_manifest):
    """The (prompt, answer) pairs that training reads, batch by batch."""
    _, tokenizer = checkpoints.load_model(base_manifest)
    batches = []
    real = sft.SFTTrainer.training_step

    def step(self, model, inputs, *rest):
        batch = []
        for ids, labels in zip(inputs["input_ids"], inputs["labels"], strict=True):
            taught = labels != -100
            known = ids != tokenizer.pad_token_id
            batch.append((tokenizer.decode(ids[~taught & known]), tokenizer.decode(ids[taught])))
        batches.append(batch)
        return real(self, model, inputs, *rest)

    monkeypatch.setattr(sft.SFTTrainer, "training_step", step)
    return batches


def test_solutions_are_all_answers_to_the_same_problems_in_the_same_order(
    study, base_manifest, tables, task, read, tmp_path
):
    once = run(study.sft, base_manifest, tables, task, tmp_path / "sft")[1]
    main = list(read)
    read.clear()
    control = run(study.sft, base_manifest, tables, task, tmp_path / "solutions", "solutions")[1]
    assert [[p for p, _ in batch] for batch in read] == [[p for p, _ in batch] for batch in main]
    examples = drawn_examples(tables[1], study.sft, 0)
    posed = {f"<bos> {row['prompt']}": task.read(row) for row in examples.to_dict("records")}
    answers = {}
    for asked, answer in (pair for batch in read for pair in batch):
        answer = answer.removesuffix(" <eos>")
        assert task.verify(posed[asked], answer).outcome == "correct"
        answers.setdefault(asked, []).append(answer)
    assert {len(several) for several in answers.values()} == {4}  # 12 steps, three an epoch
    assert sum(len(set(several)) > 1 for several in answers.values()) > 0.5 * len(answers)
    assert not torch.equal(*(w[12]["model.layers.0.mlp.up_proj.weight"] for w in (once, control)))


@pytest.mark.parametrize("arm", first(["sft"], ["sft", "solutions", *ON_CARDS]))
def test_an_interrupted_run_resumes_exactly(
    arm, study, base_manifest, tables, task, trained, tmp_path, monkeypatch
):
    whole, settings = trained(arm), with_methods(study, **LIKE)
    folder = tmp_path / "stopped"

    class StopError(Exception):
        pass

    real = recording.Recorder.on_step_end

    def stops(self, args, state, control, **kwargs):
        if state.global_step == 7:
            raise StopError
        return real(self, args, state, control, **kwargs)

    monkeypatch.setattr(recording.Recorder, "on_step_end", stops)
    with pytest.raises(StopError):
        run(settings, base_manifest, tables, task, folder, arm)
    monkeypatch.undo()
    torn = folder / "trainer" / "checkpoint-6"  # a newer state whose writing was cut off
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    rows, weights = run(settings, base_manifest, tables, task, folder, arm)
    assert rows.equals(whole[0])
    assert all(
        torch.equal(weights[step][k], whole[1][step][k]) for step in weights for k in weights[step]
    )
