"""Prompts that are whole conversations: a system text, or turns that were made before.

A prompt is text, the user's turn. One that is a conversation is text too: MARK, then its messages
as JSON, so that tables and functions that pass prompts on need not know of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

MARK = "<|healscope:conversation|>"
"""How a prompt begins that is a conversation; no other prompt may."""


class Message(TypedDict):
    """A message: `role` is system, user or assistant."""

    role: str
    content: str


def as_prompt(messages: Sequence[Message]) -> str:
    """Write messages as a prompt; one message of the user is its own text."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return MARK + json.dumps(list(messages), ensure_ascii=False)


def messages_of(prompt: str) -> list[Message]:
    """Return the messages of a prompt."""
    if prompt.startswith(MARK):
        return json.loads(prompt.removeprefix(MARK))
    return [{"role": "user", "content": prompt}]
