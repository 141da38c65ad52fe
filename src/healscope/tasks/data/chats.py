"""Read chats as training files have them: lists of messages with a role and a content."""

from __future__ import annotations

from typing import Any

from healscope.tasks.conversation import Message

_ROLES = {
    **{"system": "system", "developer": "system"},
    **{"user": "user", "human": "user"},
    **{"assistant": "assistant", "gpt": "assistant", "model": "assistant"},
}
"""Role, as some file calls it -> role, as chat templates do."""


def last_answer(given: Any) -> tuple[list[Message], str]:
    """Return the messages before the last answer of a chat, and that answer.

    The answer is "" where the chat ends with the user. Messages have `role` and `content`, or
    `from` and `value`. Raises ValueError on what is no chat.
    """
    if not isinstance(given, list) or not given:
        raise ValueError("it is not a list of messages")
    said = [_message(number, message) for number, message in enumerate(given, 1)]
    last = said.pop()["content"] if said[-1]["role"] == "assistant" else ""
    order = [message["role"] for message in said]
    turns = order[1:] if order[:1] == ["system"] else order
    if len(turns) % 2 == 0 or turns != [("user", "assistant")[i % 2] for i in range(len(turns))]:
        raise ValueError(
            f"before the last answer the roles are {', '.join(order) or 'none'}; a chat has "
            "one system text at most, then user and assistant in turns"
        )
    return said, last


def _message(number: int, message: Any) -> Message:
    about = message if isinstance(message, dict) else {}
    role = about.get("role", about.get("from"))
    content = about.get("content", about.get("value"))
    if role not in _ROLES:
        raise ValueError(
            f"message {number} has the role {role!r}; system, user and assistant can be read"
        )
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"message {number} has no text (content)")
    return {"role": _ROLES[role], "content": encodable(content)}


def encodable(text: str) -> str:
    """Replace halves of characters, which JSON can hold and no file or tokenizer takes."""
    return text.encode("utf-8", "replace").decode()
