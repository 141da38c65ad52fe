"""Which files a study has: for the rules of the workflow, and for the inputs of findings."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from healscope import artifacts
from healscope.config import EXHAUSTIVE, Study, own_checkpoints, sources
from healscope.tasks.cards.generalpoints import GeneralPoints


def fill(pattern: str, **wildcards) -> list[str]:
    """Return `pattern` for every combination of values; the last wildcard varies fastest.

    A value is a string, a number or a list of them.
    """
    lists = [v if isinstance(v, list | tuple) else [v] for v in wildcards.values()]
    return [
        artifacts.path(pattern, **dict(zip(wildcards, values, strict=True)))
        for values in product(*lists)
    ]


@dataclass(frozen=True, eq=False)
class Files:
    """The files of a study, by what they hold. Functions take tracks (`of`) and give a list of
    files for these and all seeds; without `of`, for the tracks that the study follows.

    `published`: the files of published values, which lie beside the workflow.
    """

    study: Study
    published: tuple[str, ...] = ()

    @cached_property
    def followed(self) -> list[str]:
        """Tracks that the study makes unasked."""
        return self.study.followed

    @cached_property
    def beside(self) -> dict[str, list[str]]:
        """Track that is not followed -> names of the branches that findings may ask for."""
        return self.study.beside

    @cached_property
    def cards(self) -> list[str]:
        """Followed tracks of the card game, which some tables are about alone."""
        return [t for t in self.followed if self._task(t).task_class is GeneralPoints]

    @cached_property
    def near(self) -> list[str]:
        """Followed tracks on tasks that have neighbours."""
        return [t for t in self.followed if "neighbours" in self._task(t).problems_of]

    @cached_property
    def episodic(self) -> list[str]:
        """Tracks whose problems are steps of episodes: those followed, or where none is, all."""
        found = [t for t in self.study.tracks if self._task(t).task_class.episodes]
        return [t for t in found if t in self.followed] or found

    def _task(self, track: str):
        return self.study.tasks[self.study.task_of(track)]

    @property
    def trained(self) -> bool:
        """Whether the study trains its checkpoints: of given ones, training is not known."""
        return not self.study.own_checkpoints

    @cached_property
    def given(self) -> dict[str, dict[str, str]]:
        """model -> checkpoint -> where it is taken from, of checkpoints that are given."""
        models = self.study.models.items() if self.study.own_checkpoints else ()
        return {name: own_checkpoints.checkpoints(model) for name, model in models}

    @cached_property
    def neighbours(self) -> list[str]:
        """Protocols that ask for neighbours of the training rule."""
        return self._protocols("neighbours")

    @cached_property
    def drawn(self) -> list[str]:
        """Protocols that draw their problems, and are compared with the main one."""
        return [name for name in self._protocols("drawn") if name in self.others]

    @cached_property
    def others(self) -> list[str]:
        """Protocols that are compared with the main one."""
        return self.study.evaluation.compared

    def _protocols(self, problems: str) -> list[str]:
        protocols = self.study.evaluation.protocols
        return [name for name, p in protocols.items() if p.problems == problems]

    def protocols_of(self, track: str) -> list[str]:
        """Return the protocols under which a track is evaluated on its own task."""
        task = self.study.task_of(track)
        return [p for p in self.study.evaluation.protocols if self.study.poses(task, p)]

    def sft(self, arm: str = "sft") -> list[str]:
        """Return the checkpoints of one arm of SFT."""
        return self.study.sft_checkpoints(arm)

    @property
    def rl(self) -> list[str]:
        """The branch behind landmark `rl`, if there is one."""
        return [self.study.rl_landmark] if self.study.rl_landmark is not None else []

    @property
    def along(self) -> list[str]:
        """Checkpoints of SFT, and of the main recipe from each of its starts."""
        return [*self.sft(), *self.study.main_branches]

    @property
    def at_landmarks(self) -> list[str]:
        """Checkpoints that landmarks may be."""
        return [*self.sft(), *self.rl]

    def behind(self, *points: str) -> list[str]:
        """Return the checkpoints that landmarks may be, each once; any other name is that of a
        checkpoint."""
        known = self.study.landmark_checkpoints
        return list(dict.fromkeys(c for p in points for c in known.get(p, [p])))

    def each(self, pattern: str, of: Iterable[str] | None = None, **wildcards) -> list[str]:
        """Return `pattern` for each track, seed and combination of `wildcards`.

        {task} is the track's own, unless it is given. A function gives values for each track.
        """
        found = []
        for track in self.followed if of is None else of:
            named = {"task": self.study.task_of(track), **wildcards}
            named = {k: v(track) if isinstance(v, Callable) else v for k, v in named.items()}
            found += fill(pattern, track=track, seed=self.study.seeds, **named)
        return list(dict.fromkeys(found))

    def evaluations(self, checkpoints, of: Iterable[str] | None = None) -> list[str]:
        """Return the answers of checkpoints to the training task, under the main protocol."""
        names = [checkpoints] if isinstance(checkpoints, str) else list(checkpoints)
        return self.each(artifacts.EVALUATION, of, protocol=EXHAUSTIVE, checkpoint=names)

    @property
    def keepers(self) -> list[str]:
        """Tasks that are evaluated along SFT, after every branch and edit, and never trained on."""
        return self.study.evaluation.keepers

    def of_keepers(self, checkpoints: Iterable[str]) -> list[str]:
        """Return the answers of checkpoints to keepers."""
        places = {"protocol": EXHAUSTIVE, "checkpoint": list(checkpoints), "task": self.keepers}
        return self.each(artifacts.EVALUATION, **places)

    def under_other_protocols(
        self, of: Iterable[str] | None = None, checkpoints: Iterable[str] | None = None
    ) -> list[str]:
        """Return answers under all other protocols; of the checkpoints of landmarks, if no others
        are given."""
        names = self.at_landmarks if checkpoints is None else list(checkpoints)

        def protocols(track: str) -> list[str]:
            return [name for name in self.protocols_of(track) if name in self.others]

        return self.each(artifacts.EVALUATION, of, protocol=protocols, checkpoint=names)

    def landmarks(self, of: Iterable[str] | None = None) -> list[str]:
        return self.each(artifacts.LANDMARKS, of)

    def logs(self, runs: Iterable[str]) -> list[str]:
        """Return the training logs of runs."""
        return self.each(artifacts.TRAINING, run=list(runs))

    def signals(self, of: Iterable[str] | None = None) -> list[str]:
        """Return what could be watched along SFT; nothing is known of SFT done elsewhere."""
        return self.each(artifacts.probe("signals"), of) if self.trained else []

    def pools(self, of: Iterable[str] | None = None) -> list[str]:
        """Return what SFT drew its examples from, a file for each task."""
        return self.each(artifacts.SFT_POOL, of) if self.trained else []

    def edits(self, stage: str) -> list[str]:
        return self.each(artifacts.EDIT, stage=stage, edit=self.study.edits.names())

    def keeper_edits(self, stage: str) -> list[str]:
        """Return the answers of edited models to keepers."""
        names = self.study.edits.names()
        return self.each(artifacts.EDIT, stage=stage, edit=names, task=self.keepers)

    def around(self, stage: str) -> list[str]:
        """Return the answers of all that the target and the parent of a stage of edits may be.

        The base is evaluated as the start of SFT.
        """
        return self.evaluations(self.checkpoints_around(stage))

    def checkpoints_around(self, stage: str) -> list[str]:
        """Return what the target and the parent of a stage of edits may be, as it is evaluated."""
        points = self.study.edits.stages[stage]
        names = self.behind(points.target, points.parent)
        return list(dict.fromkeys(artifacts.sft(0) if n == "base" else n for n in names))

    @property
    def factor_points(self) -> list[str]:
        """Landmarks and checkpoints whose factors the study needs: all landmarks, and what is
        edited."""
        return list(dict.fromkeys([*self.study.landmark_checkpoints, *self._edited]))

    @property
    def _edited(self) -> list[str]:
        stages = self.study.edits.stages.values()
        return [point for stage in stages for point in (stage.target, stage.parent)]

    @property
    def _arms(self) -> list[list[str]]:
        return [self.sft(arm) for arm in ["sft", *self.study.sft.arms]]

    @cached_property
    def without_role(self) -> list[str]:
        """Checkpoints whose weights nothing needs once they are evaluated."""
        kept = {artifacts.sft(self.study.end_step), *self.rl, *self._edited}
        return [c for c in [*sum(self._arms, []), *self.study.branches] if c not in kept]

    @property
    def dropped(self) -> list[str]:
        """Checkpoints whose weights are deleted. Given ones are links, with nothing to delete."""
        drop = self.study.checkpoints.keep == "landmarks" and not self.study.own_checkpoints
        return self.without_role if drop else []

    def made_from(self, track: str, seed: str, checkpoint: str) -> list[str]:
        """Return what is made from the weights of a checkpoint without a role, for one seed."""
        arm = next((names for names in self._arms if checkpoint in names), [checkpoint])
        place = {"track": track, "seed": seed}
        found = fill(artifacts.LANDMARKS, **place)  # made from all of SFT, main protocol
        protocols = [EXHAUSTIVE]
        if arm == self._arms[0]:
            protocols = [name for name in self.protocols_of(track) if name != EXHAUSTIVE]
            after = [
                b
                for b in self.study.branches
                if artifacts.sft(artifacts.parse_branch(b)[1]) == checkpoint
            ]
            found += fill(artifacts.CHECKPOINT, **place, checkpoint=after)
        if arm == self._arms[0] or checkpoint in self.study.branches:
            keepers = {"checkpoint": arm, "task": self.keepers}
            found += fill(artifacts.EVALUATION, **place, protocol=EXHAUSTIVE, **keepers)
        # of all of its arm, since one job evaluates several
        names = {"protocol": protocols, "checkpoint": arm, "task": self.study.task_of(track)}
        return found + fill(artifacts.EVALUATION, **place, **names)

    def batches(self, variants: list[str]) -> list[list[str]]:
        """Return chunks of as many variants as one process evaluates."""
        size = self.study.evaluation.variants_per_job
        return [variants[i : i + size] for i in range(0, len(variants), size)]

    def asked_alike(self, protocol: str) -> list[tuple[str, tuple[str, ...], list[str]]]:
        """Return (ending of rules' names, tasks, tracks) of tracks that are asked the same.

        A rule names its outputs alike for all that it makes, so each of these has its own rules.
        """
        alike: dict[tuple[str, ...], list[str]] = {}
        for track in self.study.tracks:
            tasks = [t for t in self.study.evaluated(track) if self.study.poses(t, protocol)]
            alike.setdefault(tuple(tasks), []).append(track)
        names = [re.sub(r"\W", "_", tracks[0]) for tracks in alike.values()]
        endings = ["", *(f"_{name}" for name in names[1:])]
        if len(set(endings)) < len(endings):  # my-model and my.model
            endings = ["", *(f"_{number}_{name}" for number, name in enumerate(names[1:], 2))]
        named = zip(endings, alike.items(), strict=True)
        return [(ending, *found) for ending, found in named if found[0]]


def of_model(source: str) -> list[str]:
    """Return the files of a model that lies in a folder here, weights, tokenizer and chat template;
    none where it is made or fetched."""
    here = source != "scratch" and sources.folder(source).is_dir()
    return sources.files(source) if here else []
