"""Training logs of branches, and the tables that set recipes side by side."""

from healscope import artifacts
from healscope.config import ALGORITHMS
from healscope.schemas.columns import (
    Column,
    Schema,
    change,
    choice,
    count,
    flag,
    nats,
    real,
    share,
    table,
    text,
)
from healscope.schemas.shared import ONE_SEED, RUN_SEED, SEED, TRACK, interval


def _least(name: str, about: str, unit: str = "", low: float = 0, kind: str = "float") -> Column:
    """A number from `low` on, where it was logged."""
    return Column(name, kind, about, unit, low=low, nullable=True)


# What an algorithm does not have, or an iteration did not measure, is missing.
_LOGGED = (
    count("iteration", "iterations done; steps, for SFT", "iterations", low=1),
    real("reward_mean", "mean reward of all responses", "reward", nullable=True),
    _least("reward_std", "standard deviation of the rewards", "reward"),
    share("positive_share", "responses with a positive reward", nullable=True),
    share("correct_share", "first attempts that were correct", nullable=True),
    share("parsed_share", "first attempts in the answer format", nullable=True),
    share("episode_success_share", "episodes that ended with a correct response", nullable=True),
    _least("turns_per_episode", "responses of an episode, mean", "responses", low=1),
    _least("response_tokens_mean", "mean length of a response", "tokens"),
    _least("generated_tokens", "tokens sampled", "tokens", kind="int"),
    Column(
        "reward_success_correlation",
        "float",
        "Pearson's correlation of reward and success; missing where one of them is constant",
        low=-1,
        high=1,
        nullable=True,
    ),
    share("zero_variance_share", "prompts whose samples all have the same reward", nullable=True),
    _least("draws", "of dynamic sampling: how often prompts were drawn", "draws", 1, "int"),
    share(
        "filled_share",
        "of dynamic sampling: prompts learned from although their samples all have the same "
        "reward, since the last draw left too few others",
        nullable=True,
    ),
    _least("advantage_std", "standard deviation of the advantages", "reward"),
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
    _least("gradient_norm", "mean norm of the gradients, before clipping"),
    _least("learning_rate", "rate of the iteration"),
    _least("value_loss", "half the squared error of the value head"),
    Column(
        "explained_variance",
        "float",
        "share of the returns' variance that the value head explained; below 0 it is worse than "
        "their mean",
        "share",
        high=1,
        nullable=True,
    ),
    _least("trained_tokens", "response tokens that the optimizer saw", "tokens", kind="int"),
    _least("sampling_seconds", "wall time of sampling", "seconds"),
    _least("training_seconds", "wall time of everything else", "seconds"),
)
_ALARM = "the reward has risen since the start of the run, and success has not"
_FAILURE = text("failure", "in the last row, why the run failed; empty elsewhere")

LOGS = (
    Schema(
        "rl-log",
        # spelled out as far as can be, since the file that fits best decides
        artifacts.TRAINING.replace("{run}", artifacts.branch("{recipe}", "{start}")),
        "One iteration of a branch: responses sampled and learned from; a step of SFT, for that "
        "control; a single empty row, where weights were averaged.",
        (
            *_LOGGED,
            Column("hacking_alarm", "bool", _ALARM, nullable=True),
            TRACK,
            RUN_SEED,
            text("run", "name of the branch: its recipe, and the SFT step it starts from"),
            _FAILURE,
        ),
        ("iteration",),
    ),
)

_RECIPE = text("recipe", "name of the recipe in the config")
_START = count("start", "SFT step where it starts", "steps")
_FACTS = (
    choice("kind", ("rl", "control"), "control: it samples no responses"),
    flag("main", "it is the recipe of the figures that show one"),
    text("reward", "reward functions and their weights; empty for controls"),
)
_FAILED = text("failed", "why the run failed, or those of which seeds; empty where none did")

BRANCHES = (
    table(
        "rl-training",
        "One iteration of one branch of one seed, as it was logged.",
        (
            *_LOGGED,
            flag("hacking_alarm", _ALARM),
            TRACK,
            ONE_SEED,
            text("run", "name of the branch"),
            _RECIPE,
            _START,
            *_FACTS,
            flag("landmark", "it is the branch behind landmark rl"),
            _FAILURE,
        ),
        "track", "seed", "run", "iteration",
    ),
    table(
        "window",
        "Healing by the main recipe from one start, beside the state of its training: means over "
        "the first 10 iterations, unless said otherwise.",
        (
            TRACK,
            _START,
            SEED,
            count("seeds", "seeds that were evaluated", "seeds"),
            change("healing", "held-out OOD accuracy after minus before", True),
            *interval(change, True),
            share("before", "OOD accuracy at the start", True),
            share("after", "OOD accuracy after the recipe", True),
            share("positive_share", "responses with a positive reward", True),
            _least("advantage_std", "standard deviation of the advantages", "reward"),
            _least("advantage_entropy_nats", "entropy of the advantages' histogram", "nats"),
            nats("entropy_nats", "entropy of the policy", True),
            share("zero_variance_share", "prompts whose samples have the same reward", True),
            share("clip_share", "probability ratios that were clipped", True),
            nats("entropy_end_nats", "entropy of the policy in the last iteration", True),
            nats("kl_from_start_nats", "KL(now || start) at the end", True),
            nats("kl_from_base_nats", "KL(now || base) at the end", True),
            _FAILED,
        ),
        "track", "start", "seed",
    ),
    table(
        "recipes",
        "What one recipe made of one start on held-out deals, paired by problem, and what it cost. "
        "Of all seeds: accuracies are means of those evaluated, costs of those that ran to their "
        "end.",
        (
            TRACK,
            _RECIPE,
            _START,
            SEED,
            choice("algorithm", tuple(ALGORITHMS), "algorithm of the recipe"),
            *_FACTS,
            count("seeds", "seeds that were evaluated", "seeds"),
            share("ood_after", "OOD accuracy after it", True),
            change("healing", "OOD accuracy after minus before", True),
            *interval(change, True),
            share("id_after", "ID accuracy after it", True),
            change("id_change", "ID accuracy after minus before", True),
            change("id_low", "lower limit of its interval", True),
            change("id_high", "upper limit of its interval", True),
            _least("generated_tokens", "sampled in the whole run", "tokens"),
            _least("trained_tokens", "response tokens that the optimizer saw", "tokens"),
            _least("seconds", "wall time of sampling and training", "seconds"),
            _least("generated_per_second", "sampled in a second of sampling", "tokens per second"),
            _least("trained_per_second", "learned in a second of training", "tokens per second"),
            share("sampling_share", "of that time, in sampling", True),
            real("reward_last", "mean reward of the last 10 iterations", "reward", True),
            nats("kl_from_start_nats", "KL(now || start) at the end", True),
            flag("hacking", "the alarm of reward hacking was on at the end of a run"),
            _FAILED,
        ),
        "track", "recipe", "start", "seed",
    ),
)  # fmt: skip
