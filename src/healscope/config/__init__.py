"""The study: one validated config. The models in this package define its keys, types, limits and
defaults.

`workflow/schemas/study.schema.json` is generated from them (`make schema`), and a test holds the
annotated `config/config.yaml` against them. Every number that a result depends on is here.
"""

from functools import cached_property
from typing import NamedTuple

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from healscope import artifacts
from healscope.config import keepers, own_checkpoints, tracks
from healscope.config.compute import STAGES, Launch, Need, read_deepspeed
from healscope.config.engines import OF_RESULTS, Vllm
from healscope.config.measurement import (
    CRITIC,
    DEEP,
    EXHAUSTIVE,
    LANDMARKS,
    MATRIX_ROLES,
    Checkpoints,
    Claims,
    Edits,
    Evaluation,
    FigureStyle,
    HiddenStates,
    Landmarks,
    Signals,
    Spectra,
    Statistics,
)
from healscope.config.messages import booleans, explained
from healscope.config.models import (
    Architecture,
    Model,
    Scratch,
)
from healscope.config.recipe_bases import PassRate, Pools, Rewarded, Sampling, Training
from healscope.config.recipes import (
    ALGORITHMS,
    BUILT_IN,
    DPO,
    PPO,
    REFERENCE,
    Average,
    Credit,
    Group,
    Mask,
    OffPolicy,
    Planted,
    Recipe,
    RejectionSampling,
    Supervised,
    Taught,
)
from healscope.config.rl import RL
from healscope.config.tracks import Track
from healscope.config.training import (
    ARM_LABELS,
    CONTROLS,
    DFT,
    METHODS,
    SFT,
    BlockDrift,
    LoRA,
    Optimizer,
    Penalised,
    Penalty,
    Protected,
    Replay,
    Rotation,
    SFTMethod,
)
from healscope.edit_kinds import CONTROLS as CONTROLS_OF_EDITS
from healscope.edit_names import OF_LAYERS, beyond, chosen_roles, needed_layers, parse, selects
from healscope.errors import HealscopeError
from healscope.sections import Chosen, FolderName, Natural, Section, without_nulls
from healscope.tasks import AnyTask
from healscope.tasks.posing import Protocol
from healscope.tasks.pretraining import Pretraining


class Asked(NamedTuple):
    """A recipe and its starts, as a section asks for them.

    Attributes:
        where: key of the section, `rl.branches` or `rl.branches_of.TRACK`.
        recipe: name of the recipe.
        starts: SFT steps.
        tracks: names of the tracks that have these branches.
        beside: names of all branches of these tracks.
    """

    where: str
    recipe: str
    starts: list[int]
    tracks: list[str]
    beside: list[str]


class Study(Section):
    """A study: models × training tasks × seeds × what to do and measure."""

    study: FolderName = Field(description="name of the study")
    seeds: list[Natural] = Field(
        min_length=1,
        description="random seeds; each repeats everything: base model, SFT data and order, RL "
        "draws",
    )
    tasks: dict[FolderName, AnyTask] = Field(
        min_length=1,
        description="name -> task; `train_on` says which of them models are trained on",
    )
    train_on: FolderName | Chosen[FolderName] = Field(
        description="the task of SFT and RL; or several, as [gp3, nav]: each has models of its own"
    )
    models: dict[FolderName, Model] = Field(
        min_length=1,
        description="name -> where its base model comes from; null, in a file over another: it is "
        "left out",
    )
    sft: SFT = Field(SFT(), description="supervised fine-tuning on the ID rule")
    rl: RL | None = Field(
        None,
        description="what continues from SFT checkpoints: RL on the ID rule, on training deals "
        "only, and controls",
    )
    evaluation: Evaluation = Field(
        Evaluation(), description="of every checkpoint; edits by the first attempts of `exhaustive`"
    )
    landmarks: Landmarks = Field(Landmarks(), description="checkpoints with a role")
    checkpoints: Checkpoints = Field(Checkpoints(), description="weights on disk")
    spectra: Spectra = Field(
        Spectra(), description="singular values and vectors of the base, MaxOOD, End and RL"
    )
    edits: Edits = Field(
        Edits(),
        description="parts of a target's matrices put back to a parent's, in memory; names: "
        "docs/edits.md",
    )
    signals: Signals = Field(
        Signals(), description="what could be watched along SFT without OOD labels"
    )
    hidden_states: HiddenStates = Field(
        HiddenStates(), description="hidden states at the landmarks"
    )
    vllm: Vllm = Field(
        Vllm(),
        description="the process of engine vllm, if it is chosen; only dtype and max_model_len "
        "change results",
    )
    statistics: Statistics = Field(Statistics(), description="of tables and claims")
    claims: Claims = Field(
        Claims(), description="what is claimed before the study is run (docs/statistics.md)"
    )
    figures: FigureStyle = Field(
        FigureStyle(), description="style; changing it redraws and recomputes nothing else"
    )

    _notes: list[str] = PrivateAttr(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data):
        asked = without_nulls(data, "models", "evaluation.protocols", "rl.branches")
        return keepers.completed(own_checkpoints.completed(asked))

    @model_validator(mode="after")
    def _consistent(self):
        grid = self.sft.checkpoints
        tracks.check(self.tasks, self.trained_on, self.own_checkpoints)
        self._check_beside()
        keepers.check(self.evaluation.keepers, self.tasks, self.trained_on, self.models, grid)
        _ = self.tracks  # each with a name of its own
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed twice")
        if not self.own_checkpoints and self.rl is None:
            raise ValueError("rl: Field required")
        for name in ("maxood", "end"):
            step = getattr(self.landmarks, name)
            if isinstance(step, int) and step not in grid:
                raise ValueError(f"landmarks.{name}: step {step} is not in sft.checkpoints {grid}")
        for step in self.claims.contrast or ():
            if step not in grid:
                raise ValueError(f"claims.contrast: step {step} is not in sft.checkpoints {grid}")
        self._check_branches()
        for pair in self.claims.compare:
            runs = "sft", *self.sft.arms
            ends = [*self.branches, *(c for run in runs for c in self.sft_checkpoints(run))]
            if unknown := [name for name in pair if name not in ends]:
                known = ", ".join(ends)
                raise ValueError(f"claims.compare: no checkpoint '{unknown[0]}'; there are {known}")
        if self.rl and self.rl.main not in self.rl.branches:
            raise ValueError(f"rl.main: '{self.rl.main}' has no start in rl.branches")
        if self.rl_landmark is not None and self.rl_landmark not in self.branches:
            raise ValueError(
                f"landmarks.rl: no branch '{self.rl_landmark}'; there are "
                f"{', '.join(self.branches) or 'none'}"
            )
        for stage, pair in self.edits.stages.items():
            for name in (pair.target, pair.parent):
                self._check_point(stage, name)
        self._check_roles()
        for name, model in self.models.items():
            self._check_model(name, model)
        engines = [self.evaluation.engine, *([self.rl.engine] if self.rl else [])]
        tracks.check_pictures(self.models, self.tasks, engines)
        self._leave_out_controls()
        self._check_neighbours()
        return self

    def _check_beside(self) -> None:
        """Raise ValueError where `rl.branches_of` names a track that is followed, or none."""
        if not self.followed:
            raise ValueError("models: at least one has to be followed")
        for track in self.rl.branches_of if self.rl else ():
            if track not in self.tracks or track in self.followed:
                others = [name for name in self.tracks if name not in self.followed]
                raise ValueError(
                    f"rl.branches_of.{track}: no track that is not followed; there are "
                    f"{', '.join(others) or 'none'} (docs/several-tasks.md)"
                )

    def _asked(self) -> list[Asked]:
        """Return all that `rl.branches` and `rl.branches_of` ask for."""
        if self.rl is None:
            return []
        grid, found = self.sft.checkpoints, []
        for recipe, starts in self.rl.branches.items():
            steps = grid if starts == "all" else starts
            found.append(Asked("rl.branches", recipe, steps, self.followed, self.branches))
        for track, recipes in self.rl.branches_of.items():
            where, beside = f"rl.branches_of.{track}", self.beside[track]
            found += [Asked(where, name, of, [track], beside) for name, of in recipes.items()]
        return found

    def _check_branches(self) -> None:
        """Raise ValueError where a branch, or an arm of SFT, cannot be made as it is asked for."""
        grid = self.sft.checkpoints
        offers = {task: self.tasks[task].offers for task in self.taught}
        for asked in self._asked():
            if stray := [step for step in asked.starts if step not in grid]:
                raise ValueError(
                    f"{asked.where}.{asked.recipe}: step {stray[0]} is not in sft.checkpoints "
                    f"{grid}"
                )
            self._check_mask(asked)
            recipe = self.rl.recipes[asked.recipe]
            for track in asked.tracks:
                task = self.task_of(track)
                if reason := recipe.misfit(task, offers[task]):
                    raise ValueError(
                        f"rl.recipes.{asked.recipe}.{reason}, or leave the recipe out of "
                        f"{asked.where}"
                    )
        for arm in self.sft.arms:
            for task in self.trained_on if arm in self.sft.methods else ():
                if reason := self.sft.methods[arm].misfit(task, self.tasks[task].problems_of):
                    raise ValueError(f"sft.arms: {reason}, or leave the arm out")

    def _check_mask(self, asked: Asked) -> None:
        """Raise ValueError where a recipe trains the entries of a branch that it cannot have."""
        mask = getattr(self.rl.recipes[asked.recipe], "mask", None)
        if mask is None:
            return
        where = f"rl.recipes.{asked.recipe}.mask.of"
        if mask.of not in asked.beside:
            known = ", ".join(asked.beside)
            raise ValueError(f"{where}: no branch '{mask.of}'; there are {known} ({asked.where})")
        other, start = artifacts.parse_branch(mask.of)
        if getattr(self.rl.recipes[other], "mask", None) is not None:
            raise ValueError(f"{where}: '{mask.of}' has a mask itself; name a branch without")
        if asked.starts != [start]:
            raise ValueError(
                f"{where}: '{mask.of}' starts from step {start}, so {asked.where}.{asked.recipe} "
                f"has to be [{start}]"
            )

    def _check_point(self, stage: str, name: str) -> None:
        grid = [artifacts.sft(step) for step in self.sft.checkpoints]
        if name == "base" and grid[0] != artifacts.sft(0):
            raise ValueError(f"edits.stages.{stage}: base needs step 0 in sft.checkpoints")
        if name == "rl" and self.rl_landmark is None:
            raise ValueError(
                f"edits.stages.{stage}: no RL checkpoint starts at End (step {self.end_step}); "
                "give one (models.*.rl), or name the checkpoint"
            )
        if name not in (*LANDMARKS, *grid, *self.branches):
            raise ValueError(
                f"edits.stages.{stage}: '{name}' is neither a landmark ({', '.join(LANDMARKS)}) "
                f"nor a checkpoint; there are {', '.join([*grid, *self.branches])}"
            )

    def _check_model(self, name: str, model: Model) -> None:
        if model.sft:
            own_checkpoints.refuse_own_results(name, own_checkpoints.checkpoints(model).values())
        else:
            try:
                self.sft.check_launch(model.launch)
                for asked in self._asked():
                    if name in {self.tracks[track].model for track in asked.tracks}:
                        self.rl.recipes[asked.recipe].check_launch(model.launch, asked.recipe)
            except ValueError as error:
                raise ValueError(f"models.{name}.launch: {error}") from None
        layers = model.layers()
        if layers is not None:
            depths = [m.layers() for m in self.models.values()]
            # the first 30 layers are all of a model with 28, beside one with 40
            shared = {"layers", "last"} if None in depths or max(depths) > layers else set()
            for key, axes in (("axes", self.edits.axes), ("controlled", self.edits.controlled)):
                for axis in OF_LAYERS & axes.keys():
                    if axis not in shared and (most := beyond(axis, axes[axis], layers)):
                        raise ValueError(
                            f"edits.{key}.{axis}: {most}, but model '{name}' has {layers} layers"
                        )
            self._check_edits(name, layers, shared)
        if model.scratch:
            tracks.check_scratch(name, model, self.tasks, self.taught, self.evaluation.keepers)

    def _check_roles(self) -> None:
        """Raise ValueError where an edit names matrices that are not decomposed."""
        known = self.spectra.matrices
        for name in self.edits.also:
            if unknown := chosen_roles(parse(name)) - set(known):
                raise ValueError(
                    f"edits.also: '{name}' is of role {', '.join(sorted(unknown))}, and "
                    f"spectra.matrices has {', '.join(known)}; add it there, or leave it out here"
                )

    def _check_edits(self, model: str, layers: int, shared: set[str]) -> None:
        """Raise ValueError where a model has too few layers for an edit; `shared` are selectors
        that choose all there is where there are fewer."""
        of_model = f"model '{model}' has {layers} layer{'s' if layers > 1 else ''}"
        for name, controls in self.edits.also.items():
            edit = parse(name)
            for selector, needed in needed_layers(edit).items():
                if needed > layers and selector not in shared:
                    raise ValueError(
                        f"edits.also: '{name}' needs {needed} layers for {selector}, but {of_model}"
                    )
            for control in filter(None, (edit.control, *controls)):
                if (needed := CONTROLS_OF_EDITS[control].layers) > layers:
                    raise ValueError(
                        f"edits.also: control '{control}' of '{name}' needs {needed} layers, but "
                        f"{of_model}; take another control"
                    )
        for name in self.edits.names():
            if not selects(parse(name), self.spectra.matrices, layers):
                raise ValueError(
                    f"edits: '{name}' selects nothing, as {of_model}, and spectra.matrices are "
                    f"{', '.join(self.spectra.matrices)}; leave it out"
                )

    def _leave_out_controls(self) -> None:
        """Take out controls of edits that a model has too few layers for; `notes` say so."""
        depths = {name: model.layers() for name, model in self.models.items()}
        known = {name: depth for name, depth in depths.items() if depth is not None}
        shallow = min(known, key=known.get, default=None)
        controls = self.edits.controls
        short = {c for of in controls.values() for c in of} & {
            name for name, c in CONTROLS_OF_EDITS.items() if c.layers > known.get(shallow, 1 << 30)
        }
        if short:
            kept = {kind: [c for c in of if c not in short] for kind, of in controls.items()}
            kept = {kind: of for kind, of in kept.items() if of}
            object.__setattr__(self, "edits", self.edits.model_copy(update={"controls": kept}))
            self._notes.append(
                f"edits.controls: {', '.join(sorted(short))} left out, since model '{shallow}' has "
                f"{known[shallow]} layer{'s' if known[shallow] > 1 else ''}"
            )

    @property
    def notes(self) -> list[str]:
        """Sentences about what the study does otherwise than its config says."""
        return self._notes

    def _check_neighbours(self) -> None:
        """Raise ValueError if a compact answer to neighbours would be cut short.

        They are asked of no study that trains on no card game.
        """
        protocols = self.evaluation.protocols.items()
        asked = [name for name, protocol in protocols if protocol.problems == "neighbours"]
        trained = [self.tasks[name] for name in self.trained_on]
        cards = [
            task.cards
            for task in trained
            if "neighbours" in task.problems_of and task.rendering == "compact"
        ]
        most = 1 + max(cards, default=0)
        tokens, words = self.evaluation.max_new_tokens, 6 * most
        if asked and cards and tokens < words:
            raise ValueError(
                f"evaluation.max_new_tokens: {tokens}, but an answer with {most} cards, which "
                f"protocol '{asked[0]}' asks for, has {words} words"
            )

    def engine_values(self, engine: str) -> dict:
        """Return the values of an engine that results depend on; none for `hf`."""
        return {"vllm": self.vllm.model_dump(include=OF_RESULTS)} if engine == "vllm" else {}

    @property
    def trained_on(self) -> list[str]:
        """Names of the tasks of `train_on`."""
        return [self.train_on] if isinstance(self.train_on, str) else self.train_on

    @cached_property
    def tracks(self) -> dict[str, Track]:
        """name -> track, of every model on every task that it can be trained on."""
        given, apart = self.own_checkpoints, self.evaluation.keepers
        return tracks.tracks(self.models, self.tasks, self.trained_on, given, apart)

    @property
    def followed(self) -> list[str]:
        """Names of the tracks that the study makes by default: those of its followed models on
        tasks of `train_on`."""
        return [
            name
            for name, track in self.tracks.items()
            if track.task in self.trained_on and self.models[track.model].followed
        ]

    @property
    def beside(self) -> dict[str, list[str]]:
        """Track that is not followed -> names of its branches (`rl.branches_of`)."""
        found = self.rl.branches_of if self.rl else {}
        return {
            track: [
                artifacts.branch(recipe, s) for recipe, of in recipes.items() for s in sorted(of)
            ]
            for track, recipes in found.items()
        }

    @property
    def taught(self) -> list[str]:
        """Names of the tasks that some model is trained on: those of `train_on`, and of tracks
        that are not followed but have branches."""
        own = [self.tracks[track].task for track in self.beside if track in self.tracks]
        return list(dict.fromkeys([*self.trained_on, *own]))

    def model_of(self, track: str) -> Model:
        """Return the model of a track."""
        return self.models[self.tracks[track].model]

    def task_of(self, track: str) -> str:
        """Return the name of the task that a track is trained on."""
        return self.tracks[track].task

    def evaluated(self, track: str) -> list[str]:
        """Return the names of the tasks that a track is evaluated on."""
        scratch, apart = self.model_of(track).scratch is not None, self.evaluation.keepers
        return tracks.evaluated(self.tracks[track], self.tasks, self.taught, scratch, apart)

    def poses(self, task: str, protocol: str) -> bool:
        """Return whether a task has the problems of a protocol."""
        kind = self.evaluation.protocols[protocol].problems
        section = self.tasks[task]
        # where prompts say their rule, there is nothing for a text before them to tell
        known = kind in section.problems_of
        return known and (kind != "contexts" or section.rule_shown == "name")

    @property
    def own_checkpoints(self) -> bool:
        """Whether the study takes the user's checkpoints, and trains nothing."""
        return any(model.sft for model in self.models.values())

    @property
    def end_step(self) -> int:
        return self.sft.checkpoints[-1] if self.landmarks.end == "last" else self.landmarks.end

    @property
    def branches(self) -> list[str]:
        """Names of all branches, recipe by recipe."""
        if self.own_checkpoints:
            starts = sorted(next(iter(self.models.values())).rl)
            return [artifacts.branch(own_checkpoints.RECIPE, start) for start in starts]
        grid = self.sft.checkpoints
        return [
            artifacts.branch(recipe, start)
            for recipe, starts in self.rl.branches.items()
            for start in (grid if starts == "all" else sorted(starts))
        ]

    def sft_checkpoints(self, arm: str = "sft") -> list[str]:
        """Return the names of all checkpoints of an arm of SFT."""
        return [artifacts.sft(step, arm) for step in self.sft.checkpoints]

    @property
    def landmark_checkpoints(self) -> dict[str, list[str]]:
        """Landmark -> checkpoints that it may be. MaxOOD is one of SFT, known once these are
        evaluated."""
        rl = {} if self.rl_landmark is None else {"rl": [self.rl_landmark]}
        end = [artifacts.sft(self.end_step)]
        return {"base": ["base"], "maxood": self.sft_checkpoints(), "end": end, **rl}

    @property
    def first_look(self) -> "Study":
        """The study of the first seed alone, without RL."""
        without = {"rl": self.rl.model_copy(update={"branches": {}})} if self.rl else {}
        return self.model_copy(update={"seeds": self.seeds[:1], **without})

    @property
    def main_branches(self) -> list[str]:
        """Branches of the main recipe."""
        if self.own_checkpoints:
            return self.branches
        return [b for b in self.branches if artifacts.parse_branch(b)[0] == self.rl.main]

    @property
    def rewards_alone(self) -> list[str]:
        """Landmark `rl`, and the branches from its start that differ from the main recipe in their
        reward alone."""
        if self.rl is None or self.rl_landmark is None:
            return []
        start, facts = artifacts.parse_branch(self.rl_landmark)[1], self.rl.facts()
        alike = [name for name, about in facts.items() if about["main"] or about["reward_alone"]]
        return [b for b in self.branches if b in [artifacts.branch(r, start) for r in alike]]

    @property
    def rl_landmark(self) -> str | None:
        """Name of the branch that is landmark `rl`; None if no RL checkpoint starts from End."""
        if self.landmarks.rl != "auto":
            return self.landmarks.rl
        if self.own_checkpoints:
            name = artifacts.branch(own_checkpoints.RECIPE, self.end_step)
            return name if name in self.branches else None
        return artifacts.branch(self.rl.main, self.end_step)


def load(data: dict) -> Study:
    """Validate a config; raises HealscopeError with one line for each wrong key."""
    try:
        study = Study.model_validate(data)
        lines = booleans(data, study.model_dump())
    except ValidationError as error:
        lines = explained(error.errors())
    if lines:
        raise HealscopeError("the config is not valid:\n" + "\n".join(lines)) from None
    return study


def schema() -> dict:
    """Return the JSON schema of a study (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
