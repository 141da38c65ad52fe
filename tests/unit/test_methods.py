"""Penalties have the gradients they should, projections hold, and every method's run is its own."""

import pytest
import torch
from sft_runs import ON_CARDS, with_methods
from test_sft import drawn_examples
from transformers import GPT2Config, GPT2LMHeadModel

from healscope import config
from healscope.errors import HealscopeError
from healscope.models import checkpoints, tokens
from healscope.training import methods

M, N, K = 7, 5, 2
PENALTIES = [
    name for name, method in config.SFT().methods.items() if isinstance(method, config.Penalised)
]


@pytest.fixture
def block():
    """W0 and W = W0 + D in float64, and the leading singular vectors of W0."""
    rng = torch.Generator().manual_seed(0)
    w0, d = (torch.randn(M, N, generator=rng, dtype=torch.float64) for _ in range(2))
    u, s, vh = torch.linalg.svd(w0, full_matrices=False)
    return w0, 0.1 * d, u[:, :K], s[:K], vh[:K].T


def finite_differences(function, x, h=1e-6):
    """Central differences of a scalar function, element by element."""
    gradient = torch.zeros_like(x)
    for at in range(x.numel()):
        step = torch.zeros_like(x)
        step.view(-1)[at] = h
        gradient.view(-1)[at] = (function(x + step) - function(x - step)) / (2 * h)
    return gradient


def by_autograd(function, x):
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(x), x)
    return gradient


@pytest.mark.parametrize("name", ["block_drift", "rotation", "drift"])
def test_gradients_of_penalties_are_those_of_finite_differences(name, block):
    _, d, u, _, v = block
    basis = () if name == "drift" else (u, v)

    def value(x):
        return getattr(methods, name)(x, *basis)

    expected = finite_differences(value, d)
    assert torch.allclose(by_autograd(value, d), expected, rtol=1e-8, atol=1e-8)
    closed = {
        "drift": 2 * d,
        "block_drift": 2 * u @ u.T @ d @ v @ v.T,
        "rotation": 2 * (d @ v @ v.T + u @ u.T @ d - 2 * u @ u.T @ d @ v @ v.T),
    }
    assert torch.allclose(expected, closed[name], rtol=1e-8, atol=1e-8)


def test_penalties_are_the_published_formulas(block):
    """Written in W, as the papers do, not in W - W0."""
    w0, d, u, s, v = block
    w = w0 + d
    drift = (u.T @ w @ v - u.T @ w0 @ v).square().sum()
    assert methods.block_drift(d, u, v) == pytest.approx(float(drift), rel=1e-12)
    assert methods.block_drift(w0, u, v) == pytest.approx(float(s.square().sum()), rel=1e-12)
    left, right = torch.eye(M).double() - u @ u.T, torch.eye(N).double() - v @ v.T
    off = (left @ w @ v).square().sum() + (u.T @ w @ right).square().sum()
    assert methods.rotation(d, u, v) == pytest.approx(float(off), rel=1e-12)
    assert float(methods.rotation(w0, u, v)) < 1e-25  # W0 itself is not turned
    assert torch.allclose(methods.outside(d, u, v), left @ d @ right, atol=1e-14)


def test_a_rotation_of_the_leading_subspace_is_what_each_penalty_sees_or_not(block):
    """Scaling the leading values drifts the block and turns nothing; a small turn does both the
    other way round: it is all off-diagonal, and the block changes in second order only."""
    w0, _, u, s, v = block
    scaled = 1e-3 * (u * s) @ v.T
    assert methods.block_drift(scaled, u, v) == pytest.approx(1e-6 * float(s.square().sum()))
    assert float(methods.rotation(scaled, u, v)) < 1e-25
    full, _, _ = torch.linalg.svd(w0, full_matrices=True)
    angle = 1e-3
    turn = torch.eye(M).double()
    turn[K - 1, K - 1] = turn[K, K] = torch.cos(torch.tensor(angle).double())
    turn[K, K - 1], turn[K - 1, K] = angle, -angle
    turned = full @ turn @ full.T @ w0 - w0
    assert float(methods.rotation(turned, u, v)) > 1e4 * float(methods.block_drift(turned, u, v))


def test_shares_of_energy_add_up(block):
    """|D|^2 = leading block + off-diagonal blocks + what is outside of both subspaces."""
    _, d, u, _, v = block
    parts = (
        methods.block_drift(d, u, v),
        methods.rotation(d, u, v),
        methods.drift(methods.outside(d, u, v)),
    )
    assert float(sum(parts)) == pytest.approx(float(methods.drift(d)), rel=1e-12)


@pytest.fixture
def batch(model_and_tokenizer, study, tables):
    """A model in float64, a copy of it that moved, and a padded batch."""
    model, tokenizer = model_and_tokenizer
    model.double()
    checkpoints.freeze(model, study.sft.freeze)
    rows = drawn_examples(tables[1], study.sft, 0).head(3)
    ids = [
        (tokens.prompt_ids(tokenizer, p), tokens.response_ids(tokenizer, r))
        for p, r in zip(rows["prompt"], rows["response"], strict=True)
    ]
    length = max(len(p + r) for p, r in ids)
    inputs = {"input_ids": [], "labels": [], "attention_mask": []}
    for prompt, response in ids:
        padding = [0] * (length - len(prompt + response))
        inputs["input_ids"].append(prompt + response + padding)
        inputs["labels"].append([-100] * len(prompt) + response + [-100] * len(padding))
        inputs["attention_mask"].append([1] * len(prompt + response) + padding)
    return model, {key: torch.tensor(value) for key, value in inputs.items()}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_of_a_model_is_zero_at_the_start_and_has_the_right_slope(name, study, batch):
    model, inputs = batch
    if name == "kl":  # norms inside a Llama are computed in float32, those of a GPT-2 are not
        sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": model.config.vocab_size}
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(**sizes)).double().eval()
    penalty = methods.penalty(with_methods(study).methods[name], model)
    weights = [p for p in model.parameters() if p.requires_grad]
    rng = torch.Generator().manual_seed(1)

    def random():
        return [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in weights]

    @torch.no_grad()
    def moved(step, direction):
        """The penalty after a step, which stays."""
        for p, d in zip(weights, direction, strict=True):
            p += step * d
        return float(penalty(inputs))

    assert moved(0, random()) == pytest.approx(0, abs=1e-12)
    assert moved(0.02, random()) > 0
    direction, h = random(), 1e-6
    gradients = torch.autograd.grad(penalty(inputs), weights)
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    above, below = moved(h, direction), moved(-2 * h, direction)
    assert (above - below) / (2 * h) == pytest.approx(float(slope), rel=1e-6)


def test_the_normalised_penalty_is_relative_to_each_block(study, batch):
    model, inputs = batch
    settings = with_methods(study).methods
    plain = methods.penalty(settings["rpsft"], model)
    relative = methods.penalty(settings["rpsft_normalised"], model)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p *= 1.01
    matrices = sum(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        assert float(relative(inputs)) == pytest.approx(1e-4 * matrices, rel=1e-6)
        assert float(plain(inputs)) != pytest.approx(float(relative(inputs)), rel=0.1)


def test_a_share_of_one_is_the_drift_of_the_whole_matrix(study, batch):
    """The published rule for k >= min(m, n); a thin basis would miss a part of a long matrix."""
    model, inputs = batch
    settings = with_methods(study, rpsft={"share": 1.0}).methods
    block, whole = (methods.penalty(settings[name], model) for name in ("rpsft", "l2"))
    with torch.no_grad():
        for p in model.parameters():
            p += 0.01
    assert float(block(inputs)) == pytest.approx(float(whole(inputs)), rel=1e-12)


@pytest.mark.parametrize("directions", ["leading", "trailing", "random"])
def test_directions_are_those_asked_for(directions, batch):
    model, _ = batch
    held = methods.anchors(model, 0.25, directions)
    again = methods.anchors(model, 0.25, directions)
    assert len(held) == sum(p.requires_grad for p in model.parameters())
    for a, b in zip(held, again, strict=True):
        u, s, vh = torch.linalg.svd(a.start, full_matrices=False)
        k = len(s) // 4
        for x, y, basis in ((a.u, b.u, u), (a.v, b.v, vh.T)):
            assert torch.equal(x, y)  # a resumed run has the same
            assert torch.allclose(x.T @ x, torch.eye(k).double(), atol=1e-12)
            kept = {"leading": basis[:, :k], "trailing": basis[:, -k:]}.get(directions)
            cosines = torch.linalg.svdvals(x.T @ (basis[:, :k] if kept is None else kept))
            if kept is None:
                assert cosines.max() < 0.99
            else:
                assert torch.allclose(cosines, torch.ones(k).double(), atol=1e-9)


def test_kl_is_over_answers_alone_and_exact(study, batch):
    model, inputs = batch
    penalty = methods.penalty(with_methods(study).methods["kl"], model)
    before = torch.log_softmax(model(**inputs).logits, -1)
    with torch.no_grad():
        for p in model.parameters():
            p *= 1.1
    after = torch.log_softmax(model(**inputs).logits, -1)
    total, count = 0.0, 0
    for row, label in enumerate(inputs["labels"]):
        for at in range(1, len(label)):
            if label[at] != -100:
                p, q = before[row, at - 1], after[row, at - 1]
                total += float((p.exp() * (p - q)).sum())
                count += 1
    assert float(penalty(inputs)) == pytest.approx(total / count, rel=1e-9)


@pytest.fixture(scope="module")
def runs(trained):
    """(rows, weights of every checkpoint) of plain SFT and of each method."""
    return {arm: trained(arm) for arm in ["sft", *ON_CARDS]}


def test_every_method_trains_the_same_matrices_and_ends_elsewhere(study, runs, base_manifest):
    start = checkpoints.load_weights(base_manifest)
    plain = runs["sft"][1][12]
    for arm in ON_CARDS:
        rows, weights = runs[arm]
        assert list(rows["step"]) == [0, 2, 4, 6, 8, 10, 12]
        assert all(torch.equal(weights[0][k], start[k]) for k in start), arm
        assert set(weights[12]) == set(start), arm
        moved = {k for k in start if not torch.equal(weights[12][k], start[k])}
        assert moved == {k for k in start if "proj" in k}, arm
        assert not torch.equal(weights[12]["model.layers.0.mlp.up_proj.weight"],
                               plain["model.layers.0.mlp.up_proj.weight"]), arm  # fmt: skip


def test_losses_are_logged_apart_from_penalties(runs):
    for arm in PENALTIES:
        rows = runs[arm][0]
        assert (rows["penalty"].iloc[2:] > 0).all(), arm  # the first update has a rate of 0
        first = runs["sft"][0]["train_loss_nats"].iloc[
            1
        ]  # of two steps, one where the penalty is 0
        assert rows["train_loss_nats"].iloc[1] == pytest.approx(first, rel=1e-2), arm
    for arm in set(runs) - set(PENALTIES):
        assert "penalty" not in runs[arm][0], arm


def blocks(start, weights, share):
    """(leading block, off-diagonal, outside) energies of each matrix's change, name by name."""
    for name in (k for k in start if "proj" in k):
        w0 = start[name].double()
        d = weights[name].double() - w0
        u, s, vh = torch.linalg.svd(w0, full_matrices=False)
        k = max(1, round(share * len(s)))
        basis = u[:, :k], vh[:k].T
        inside, off = methods.block_drift(d, *basis), methods.rotation(d, *basis)
        yield name, w0, d, basis, inside, off


def test_protected_directions_stay_to_roundoff(study, runs, base_manifest):
    """U'(W - W0) = 0 and (W - W0)V = 0 in every checkpoint, and something moved."""
    start = checkpoints.load_weights(base_manifest)
    share = study.sft.methods["protected"].share
    for step in (4, 12):
        for name, w0, d, (u, v), _, _ in blocks(start, runs["protected"][1][step], share):
            roundoff = 1e-7 * torch.linalg.matrix_norm(w0)
            assert torch.linalg.matrix_norm(u.T @ d) < roundoff, name
            assert torch.linalg.matrix_norm(d @ v) < roundoff, name
            assert torch.linalg.matrix_norm(d) > 1e3 * roundoff, name


@pytest.mark.parametrize(("arm", "part"), [("rpsft", 0), ("rpsft_normalised", 0), ("rotation", 1)])
def test_a_penalty_shrinks_what_it_is_about(arm, part, runs, base_manifest):
    """Less energy in its own block than plain SFT leaves there, as a share of the change."""
    start = checkpoints.load_weights(base_manifest)
    shares = {}
    for name in ("sft", arm):
        found = list(blocks(start, runs[name][1][12], 0.25))
        held, all_ = (sum(float(x) for x in y) for y in zip(
            *((row[4 + part], methods.drift(row[2])) for row in found), strict=True))  # fmt: skip
        shares[name] = held / all_
    assert shares[arm] < 0.7 * shares["sft"]


def test_lora_updates_have_low_rank_and_are_merged(study, runs, base_manifest):
    start = checkpoints.load_weights(base_manifest)
    for name in (k for k in start if "proj" in k):
        d = runs["lora"][1][12][name].double() - start[name].double()
        s = torch.linalg.svdvals(d)
        assert s[1] > 1e-5 * torch.linalg.matrix_norm(start[name].double()), name
        assert s[2] < 1e-3 * s[0], name  # float32 entries of W round D


def test_merged_weights_answer_as_the_adapted_model(study, model_and_tokenizer, batch):
    import copy

    model, inputs = batch
    plain = copy.deepcopy(model)
    method = with_methods(study, lora={"rank": 2}).methods["lora"]
    adapted = methods.adapted(model, method, seed=0)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) < 0.5 * sum(p.numel() for p in plain.parameters())
    with torch.no_grad():
        for p in trained:
            p += 0.05
    inputs = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    expected = adapted(**inputs).logits
    assert not torch.allclose(plain(**inputs).logits, expected, atol=1e-3)
    assert torch.allclose(methods.merge(adapted, plain)(**inputs).logits, expected, atol=1e-6)


def test_dft_weighs_tokens_by_their_probability(study, runs):
    """Its logged loss is the mean of -p log p, below that of plain SFT on the same batches."""
    plain, weighed = (runs[arm][0]["train_loss_nats"].iloc[1] for arm in ("sft", "dft"))
    assert 0 < weighed < 0.5 * plain


def replay(**given):
    return config.Replay.model_validate({"method": "replay", "share": 0.25, **given})


def test_a_share_of_the_rows_replays_what_the_base_answers(
    study, task, tables, model_and_tokenizer
):
    model, tokenizer = model_and_tokenizer
    examples = drawn_examples(tables[1], study.sft, 0)
    for share, answers in ((0.25, 80), (0.5, 40)):
        method = replay(share=share, answers=answers)
        rows = methods.replayed(method, model, examples, tokenizer, task, 0)
        texts = ["prompt", "response"]
        first = rows[: len(examples)]
        assert first[texts].equals(examples[texts].reset_index(drop=True))
        assert len(examples) / len(rows) == pytest.approx(1 - share, abs=1 / len(rows))
        added = rows[len(examples) :]
        assert set(added["prompt"]) <= set(task.neutral_prompts(40, 0))
        longest = max(len(tokens.response_ids(tokenizer, r)) for r in added["response"])
        assert 1 < longest <= 64  # the end that is taught is the base's own
        assert rows.equals(methods.replayed(method, model, examples, tokenizer, task, 0))
        assert not rows.equals(methods.replayed(method, model, examples, tokenizer, task, 1))


def test_an_answer_that_does_not_end_is_not_replayed(study, task, tables, model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    method = replay(prompts=1, answers=1, max_new_tokens=1)
    with pytest.raises(HealscopeError, match="none of 1 answers .* raise max_new_tokens"):
        methods.replayed(method, model, drawn_examples(tables[1], study.sft, 0), tokenizer, task, 0)


def test_replay_keeps_a_model_nearer_to_its_base_where_it_is_not_trained(
    study, task, tables, runs, base_manifest
):
    """On answers that replay did not show: another seed draws them."""
    base, tokenizer = checkpoints.load_model(base_manifest)
    examples = drawn_examples(tables[1], study.sft, 0)
    rows = methods.replayed(replay(), base, examples, tokenizer, task, 9)[len(examples) :]
    texts = rows[["prompt", "response"]].itertuples(index=False, name=None)
    ids, mask, width, real = tokens.encode_pairs(tokenizer, [*texts])
    labels = ids.masked_fill(~mask, -100)
    labels[:, : ids.shape[1] - width] = -100
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def away(arm):
        model, _ = checkpoints.load_model(base_manifest)
        model.load_state_dict(runs[arm][1][12], strict=False)
        return float(methods.kl(base, model, inputs))

    assert away("replay") < 0.9 * away("sft")
