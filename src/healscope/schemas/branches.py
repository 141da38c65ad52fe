"""Tables that set recipes side by side."""

from healscope.config import ALGORITHMS
from healscope.schema import (
    TRACK,
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
from healscope.schemas.shared import ONE_SEED, SEED, interval
from healscope.training.schemas import ALARM, FAILURE, RL_LOG_COLUMNS, logged

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
            *RL_LOG_COLUMNS,
            flag("hacking_alarm", ALARM),
            TRACK,
            ONE_SEED,
            text("run", "name of the branch"),
            _RECIPE,
            _START,
            *_FACTS,
            flag("landmark", "it is the branch behind landmark rl"),
            FAILURE,
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
            logged("advantage_std", "standard deviation of the advantages", "reward"),
            logged("advantage_entropy_nats", "entropy of the advantages' histogram", "nats"),
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
            logged("generated_tokens", "sampled in the whole run", "tokens"),
            logged("trained_tokens", "response tokens that the optimizer saw", "tokens"),
            logged("seconds", "wall time of sampling and training", "seconds"),
            logged("generated_per_second", "sampled in a second of sampling", "tokens per second"),
            logged("trained_per_second", "learned in a second of training", "tokens per second"),
            share("sampling_share", "of that time, in sampling", True),
            real("reward_last", "mean reward of the last 10 iterations", "reward", True),
            nats("kl_from_start_nats", "KL(now || start) at the end", True),
            flag("hacking", "the alarm of reward hacking was on at the end of a run"),
            _FAILED,
        ),
        "track", "recipe", "start", "seed",
    ),
)  # fmt: skip
