"""Schemas of training logs: of the base model, of SFT and of branches of RL."""

from healscope import artifacts
from healscope.schema import (
    RUN_SEED,
    TRACK,
    Column,
    Schema,
    count,
    flag,
    nats,
    real,
    share,
    text,
)

WINDOW = 10
"""Iterations over which rates of a run are averaged."""

_RUN = (TRACK, RUN_SEED, text("run", "name of the run: base, an arm of SFT, or an RL branch"))

BASE_LOG = Schema(
    "base-log",
    artifacts.TRAINING.replace("{run}", "base"),
    "One step of pretraining; a single row without measurements where the base model was fetched.",
    (
        count("step", "steps done", "steps"),
        nats("loss", "loss on the step's batch, before its update", nullable=True),
        Column("learning_rate", "float", "rate of the step", low=0, nullable=True),
        *_RUN,
    ),
    ("step",),
)

SFT_LOG_COLUMNS = (
    count("step", "SFT step after which it was measured", "steps"),
    nats("id_train_loss_nats", "loss on training examples"),
    nats("id_test_loss_nats", "loss on held-out ID problems where the rules differ"),
    share("id_test_format_error_share", "greedy answers to these that do not parse"),
    nats("ood_test_loss_nats", "loss on the same kind of problems under the OOD rule"),
    share("ood_test_format_error_share", "greedy answers to these that do not parse"),
    nats("train_loss_nats", "mean loss of the batches since the row before", nullable=True),
    Column("learning_rate", "float", "rate of the latest step", low=0, nullable=True),
    Column(
        "gradient_norm",
        "float",
        "norm of the latest gradient, before clipping",
        low=0,
        nullable=True,
    ),
    TRACK,
)
SFT_LOG = Schema(
    "sft-log",
    artifacts.TRAINING.replace("{run}", "{arm}"),
    "One measurement along SFT, on fixed problems.",
    (
        *SFT_LOG_COLUMNS,
        real("penalty", "what a method added to that mean loss", nullable=True),
        *_RUN[1:],
    ),
    ("step",),
)


def logged(name: str, about: str, unit: str = "", low: float = 0, kind: str = "float") -> Column:
    """Make a column of numbers from `low` on, missing where they were not logged."""
    return Column(name, kind, about, unit, low=low, nullable=True)


# What an algorithm does not have, or an iteration did not measure, is missing.
RL_LOG_COLUMNS = (
    count("iteration", "iterations done; steps, for SFT", "iterations", low=1),
    real("reward_mean", "mean reward of all responses", "reward", nullable=True),
    logged("reward_std", "standard deviation of the rewards", "reward"),
    share("positive_share", "responses with a positive reward", nullable=True),
    share("correct_share", "first attempts that were correct", nullable=True),
    share(
        "told_correct_share",
        "of RLAG and its controls: answers after the text that tells the rule that were correct",
        nullable=True,
    ),
    share("agree_share", "of these: answers that are the same without the text", nullable=True),
    share("parsed_share", "first attempts in the answer format", nullable=True),
    share("episode_success_share", "episodes that ended with a correct response", nullable=True),
    logged("turns_per_episode", "responses of an episode, mean", "responses", low=1),
    logged("response_tokens_mean", "mean length of a response", "tokens"),
    logged("generated_tokens", "tokens sampled", "tokens", kind="int"),
    Column(
        "reward_success_correlation",
        "float",
        "Pearson's correlation of reward and success; missing where one of them is constant",
        low=-1,
        high=1,
        nullable=True,
    ),
    share("zero_variance_share", "prompts whose samples all have the same reward", nullable=True),
    logged("draws", "of dynamic sampling: how often prompts were drawn", "draws", 1, "int"),
    share(
        "filled_share",
        "of dynamic sampling: prompts learned from although their samples all have the same "
        "reward, since the last draw left too few others",
        nullable=True,
    ),
    share(
        "repaired_share",
        "prompts whose responses were all wrong of which a second attempt was right",
        nullable=True,
    ),
    share("off_policy_share", "responses that are such second attempts", nullable=True),
    logged("advantage_std", "standard deviation of the advantages", "reward"),
    Column(
        "advantage_entropy_nats",
        "float",
        "entropy of the advantages' histogram with 20 bins",
        "nats",
        low=0,
        nullable=True,
    ),
    real("policy_loss", "what the policy is trained to make small", nullable=True),
    nats("entropy_nats", "mean entropy of the policy", nullable=True),
    share(
        "clip_share",
        "probability ratios that clipping kept from moving on, mean of the optimizer steps; 0 "
        "where an iteration has one step, since all ratios are 1 there",
        nullable=True,
    ),
    real(
        "kl_from_rollout_nats",
        "divergence from the policy that answered, as estimated; can be negative",
        "nats per token",
        nullable=True,
    ),
    real(
        "kl_penalty_nats",
        "divergence that the loss penalises, as estimated",
        "nats per token",
        nullable=True,
    ),
    nats(
        "engine_gap_nats",
        "mean distance of the sampling engine's log-probabilities from those of the trained model, "
        "where another engine samples",
        nullable=True,
    ),
    nats("engine_gap_max_nats", "the largest such distance", nullable=True),
    nats("kl_from_start_nats", "KL(now || start), every few iterations", nullable=True),
    nats("kl_from_base_nats", "KL(now || base), every few iterations", nullable=True),
    logged("gradient_norm", "mean norm of the gradients, before clipping"),
    logged("learning_rate", "rate of the iteration"),
    logged("value_loss", "half the squared error of the value head"),
    Column(
        "explained_variance",
        "float",
        "share of the returns' variance that the value head explained; below 0 it is worse than "
        "their mean",
        "share",
        high=1,
        nullable=True,
    ),
    logged("trained_tokens", "response tokens that the optimizer saw", "tokens", kind="int"),
    logged("sampling_seconds", "wall time of sampling", "seconds"),
    logged("training_seconds", "wall time of everything else", "seconds"),
)
ALARM = "the reward has risen since the start of the run, and success has not"
FAILURE = text("failure", "in the last row, why the run failed; empty elsewhere")

RL_LOG = Schema(
    "rl-log",
    # spelled out as far as can be, since the file that fits best decides
    artifacts.TRAINING.replace("{run}", artifacts.branch("{recipe}", "{start}")),
    "One iteration of a branch: responses sampled and learned from; a step of SFT, for that "
    "control; a single empty row, where weights were averaged.",
    (
        *RL_LOG_COLUMNS,
        Column("hacking_alarm", "bool", ALARM, nullable=True),
        TRACK,
        RUN_SEED,
        text("run", "name of the branch: its recipe, and the SFT step it starts from"),
        FAILURE,
    ),
    ("iteration",),
)

ANSWERS = Schema(
    "rl-answers",
    artifacts.ANSWERS,
    "One response that RL sampled in a kept iteration, before the update that learned from it.",
    (
        count("iteration", "iteration that sampled it, from 1", "iterations", low=1),
        count("answer", "its number within the iteration"),
        text("problem_id", "the problem, in the task's table of RL prompts"),
        count("attempt", "1: the first; 2, 3, …: after feedback, in one episode", low=1),
        text("text", "what the model wrote"),
        text("outcome", "the verifier's verdict, one of the task's outcomes"),
        flag("correct", "the outcome is correct"),
        real("reward", "what training paid", "reward"),
        Column("logprobs", "floats", "log-probability of each token, as sampled", "nats"),
        Column("token_ends", "ints", "characters of the text up to the end of each token", low=0),
        TRACK,
        RUN_SEED,
    ),
    ("iteration", "answer"),
)

PASS_RATES = Schema(
    "pass-rates",
    artifacts.POOL,
    "One training problem, and how many of several sampled answers of a checkpoint to it are "
    "correct.",
    (
        text("problem_id", "the problem, in the task's table of RL prompts"),
        text("instance_id", "its instance"),
        count("samples", "answers sampled", "answers", low=1),
        count("correct", "of them correct", "answers"),
        TRACK,
        RUN_SEED,
    ),
    ("problem_id",),
)
