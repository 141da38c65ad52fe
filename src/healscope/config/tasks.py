"""Tasks: one section for each family, chosen by its key `family`."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator

from healscope.config.matrices import DeterminantTask, RankTask
from healscope.config.navigation import NavigationTask
from healscope.config.types import CardValue, Chosen, Natural, Positive, Section, TaskSection
from healscope.errors import HealscopeError


class FaceRule(Section):
    """What the face cards are worth."""

    J: CardValue
    Q: CardValue
    K: CardValue


class Rewards(Section):
    """Reward of each verdict. The defaults are the table of the released code (reference)."""

    correct: float = 5
    partial: float = 1
    wrong_value: float = -1
    wrong_number: float = -2
    wrong_line: float = -2
    illegal: float = -3
    no_answer: float = -3


class GeneralPointsTask(TaskSection):
    """The card game (arXiv 2509.12235, section 3.1 and appendix C.1)."""

    problems_of: ClassVar[tuple[str, ...]] = ("neighbours",)  # protocols that no other task has
    judging_only: ClassVar = ("rewards", "verifier", "grade_number_line", "reasoning")
    dealing_only: ClassVar = ("held_out", "orders", "seed")

    family: Literal["generalpoints"] = "generalpoints"
    cards: Annotated[int, Field(ge=2, le=4)] = Field(4, description="cards in a deal")
    targets: Chosen[CardValue] = [24]
    id_rule: FaceRule = FaceRule(J=10, Q=10, K=10)
    ood_rule: FaceRule = FaceRule(J=11, Q=12, K=13)
    rendering: Literal["json", "compact"] = "json"
    verifier: Literal["tolerant", "reference"] = Field(
        "tolerant", description="reference: answers are read and paid as by the released code"
    )
    grade_number_line: bool = Field(
        False, description="false (reference): only the formula counts; true: the number line too"
    )
    rewards: Rewards = Rewards()
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="share of deals (by their ID values) kept from SFT and RL"
    )
    orders: Positive = Field(2, description="card orders evaluated for each deal")
    seed: Natural = Field(0, description="draws the hold-out and the card orders")

    @model_validator(mode="after")
    def _reference_ignores_the_line(self):
        if self.verifier == "reference" and self.grade_number_line:
            raise ValueError(
                "verifier 'reference' grades the formula alone: set grade_number_line: false"
            )
        return self


class LmEvalTask(TaskSection):
    """Benchmarks of lm-evaluation-harness (docs/benchmarks-as-tasks.md); nothing is trained."""

    rendering: ClassVar = "json"
    held_out: ClassVar = 1.0
    trainable: ClassVar = False

    family: Literal["lm_eval"]
    id: Chosen[str] = Field(description="tasks, groups or tags of the harness: the ID problems")
    ood: Chosen[str] = Field(description="the same of the OOD problems")
    include: str | None = Field(None, description="folder with the YAML files of local tasks")
    limit: Positive | None = Field(
        None, description="documents of each task at most, the first ones; null: all"
    )
    fewshot: Natural | None = Field(
        None, description="examples in each prompt; null: as each task says"
    )
    metric: str | dict[str, str] | None = Field(
        None,
        description="what counts as right, in all tasks or by task; null: each task's first "
        "metric that is 0 or 1",
    )
    filter: str | dict[str, str] | None = Field(
        None, description="which of a task's filters reads an answer, alike; null: the first"
    )
    chat_template: bool = Field(
        True, description="prompts are put by the tokenizer's chat template, where it has one"
    )
    seed: Natural = Field(1234, description="draws examples, as the harness's own default does")
    code: str | None = Field(
        None, description="version and hash of what is asked; filled in, or given to insist on it"
    )

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data):
        if not _names_tasks(data):
            return data
        from healscope.tasks import lm_eval_files  # late: that package reads this one

        return _said_of_a_value(lm_eval_files.completed, data)

    @model_validator(mode="after")
    def _two_sides(self):
        if both := set(self.id) & set(self.ood):
            raise ValueError(f"ood: '{min(both)}' is in id too; the rules need tasks of their own")
        return self


def _names_tasks(data) -> bool:
    """Whether a section is far enough in order for its files to be looked for."""
    if not isinstance(data, dict) or not isinstance(data.get("include"), str | None):
        return False
    named = [data.get("id"), data.get("ood")]
    return all(isinstance(n, list) and all(isinstance(x, str) for x in n) for n in named)


class OwnTask(TaskSection):
    """A task of one's own (docs/own-task.md); what is left out is as the class says."""

    family: str = Field(description="a Python file, or an entry point of group healscope.tasks")
    options: dict[str, Any] = Field({}, description="values for the fields of the task's class")
    rendering: Literal["json", "compact"] = "json"
    rewards: dict[str, float] = Field({}, description="outcome -> reward, of the task's outcomes")
    held_out: Annotated[float, Field(gt=0, le=1)] = 0.4
    seed: Natural = 0
    mixture: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="shares of the rules in the pretraining of a model from scratch"
    )
    code: str = Field("", description="hash of the code; filled in, or given to insist on it")

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data):
        if not isinstance(data, dict) or not isinstance(data.get("family"), str):
            return data
        return _said_of_a_value(own_tasks().completed, data)

    @model_validator(mode="after")
    def _can_be_built(self):
        _said_of_a_value(own_tasks().build, "of the config", self.model_dump())
        return self

    @property
    def trainable(self) -> bool:
        """Whether there are reference answers to train on."""
        return own_tasks().find(self.family).cls.trainable

    @property
    def episodes(self) -> bool:
        """Whether problems are steps of episodes."""
        return own_tasks().find(self.family).cls.episodes


def own_tasks():
    """`healscope.tasks.own`, late: that package reads this one."""
    from healscope.tasks import own

    return own


def _said_of_a_value(function, *arguments):
    """What `function` returns; its HealscopeError as the ValueError of a section."""
    try:
        return function(*arguments)
    except HealscopeError as error:
        raise ValueError(str(error)) from None


def _family(value) -> str:
    """By which of the alternatives below a section is read."""
    family = value.get("family", "generalpoints") if isinstance(value, dict) else value.family
    return family if family in families() else "own"


AnyTask = Annotated[
    Annotated[GeneralPointsTask, Tag("generalpoints")]
    | Annotated[RankTask, Tag("rank")]
    | Annotated[DeterminantTask, Tag("determinant")]
    | Annotated[NavigationTask, Tag("navigation")]
    | Annotated[LmEvalTask, Tag("lm_eval")]
    | Annotated[OwnTask, Tag("own")],
    Discriminator(_family),
]


def families() -> dict[str, type[Section]]:
    """Name of every family that is built in -> its section."""
    tagged = (get_args(section) for section in get_args(get_args(AnyTask)[0]))
    return {tag.tag: section for section, tag in tagged if section is not OwnTask}


def task_settings(section: dict) -> AnyTask:
    """The settings in the plain values of a task section; raises HealscopeError."""
    try:
        return TypeAdapter(AnyTask).validate_python(section)
    except ValidationError as error:
        said = []
        for wrong in error.errors():
            key, message = ".".join(map(str, wrong["loc"][1:])), wrong["msg"]
            said.append(f"{key}: " * bool(key) + message.removeprefix("Value error, "))
        raise HealscopeError("; ".join(said)) from None
