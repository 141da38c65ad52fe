"""Prompts unrelated to the trained rule, to measure drift away from the base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healscope.tasks.problem import TRAINING_FORMATS

if TYPE_CHECKING:
    import numpy as np

    from healscope.tasks.task import Task

INSTRUCTIONS = (
    "Name two cities in Portugal.",
    "Name three animals that sleep through the winter.",
    "Explain in two sentences why the sky is blue.",
    "Translate into French: The train leaves in the morning.",
    "Translate into German: Where can I buy a map of the town?",
    "Translate into English: Los libros están en la mesa.",
    "Rewrite this politely: Send me the report now.",
    "Shorten this sentence: Due to the fact that it was raining, we made the decision to stay in.",
    "Put this into the past tense: She walks to school and meets her friends.",
    "Correct the spelling: Their are to many peple in the room.",
    "Write a Python function that reverses a string.",
    "What does the SQL keyword DISTINCT do?",
    "In Python, what is the difference between a list and a tuple?",
    "Write a shell command that counts the lines of a file named notes.txt.",
    "What does an HTTP status of not found mean for a visitor of a website?",
    "Why is it a bad idea to compare floating-point numbers for equality?",
    "List the planets of the solar system, starting from the Sun.",
    "List five vegetables that grow underground.",
    "Give me a packing list for a weekend of hiking.",
    "Suggest four titles for a story about a lighthouse keeper.",
    "Who composed the opera The Magic Flute?",
    "Which ocean lies between Africa and Australia?",
    "What is steel made of?",
    "How does a vaccine protect against a disease?",
    "What causes the tides?",
    "Summarise the story of Little Red Riding Hood in one sentence.",
    "Write a haiku about the first snow.",
    "Write a short thank-you note to a neighbour who watered my plants.",
    "Draft an e-mail that moves a meeting from Monday to Tuesday.",
    "Describe the taste of a lemon to someone who has never eaten one.",
    "What is the opposite of 'generous'? Use it in a sentence.",
    "Find a word that rhymes with 'night' and write a line of verse with both.",
    "Is a tomato a fruit or a vegetable? Give a reason.",
    "How do I remove a coffee stain from a cotton shirt?",
    "How long should I boil an egg for a soft yolk?",
    "Give two arguments for and two against working from home.",
    "Classify the mood of this review as positive or negative: The soup was cold again.",
    "Extract the name and the city: My name is Amara and I live in Lagos.",
    "Sort these words alphabetically: pear, apple, fig, cherry.",
    "Explain to a child what a library is.",
)
"""Everyday requests; none is about cards or about reaching a number."""


_TRIES = 50  # draws for each prompt that is wanted: a small task may not have as many


def prompts(task: Task, n: int, seed: int) -> list[str]:
    """Draw n different prompts, or fewer if the task has fewer; a longer list begins alike.

    In rendering json these are INSTRUCTIONS in random order. Rendering compact has no other words
    than the task's: there they are problems under rules other than ID and OOD, if pretraining shows
    such, else under the OOD rule, with the format tokens of pretraining. Raises ValueError if
    n < 0.
    """
    if task.rendering == "json":
        return instructions(n, seed)
    rng = stream(n, seed)
    kinds = [kind for kind in task.rule_kinds if kind not in ("id", "ood")] or ["ood"]
    found: dict[str, None] = {}
    for _ in range(_TRIES * n):
        if len(found) == n:
            break
        problem = task.draw(kinds[int(rng.integers(len(kinds)))], rng)
        token = TRAINING_FORMATS[int(rng.integers(len(TRAINING_FORMATS)))]
        found[task.prompt(problem, token)] = None
    return list(found)


def instructions(n: int, seed: int) -> list[str]:
    """Draw at most n of INSTRUCTIONS in random order; a longer list begins alike."""
    return [INSTRUCTIONS[i] for i in stream(n, seed).permutation(len(INSTRUCTIONS))[:n]]


def stream(n: int, seed: int) -> np.random.Generator:
    """Seed a generator for n neutral prompts; raises ValueError if n < 0."""
    import numpy as np

    if n < 0:
        raise ValueError(f"n must be at least 0, not {n}")
    return np.random.default_rng([seed, 7])  # a stream of its own among those of the tasks
