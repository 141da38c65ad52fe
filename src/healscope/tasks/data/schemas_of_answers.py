"""JSON schemas as verdicts: read the user's schema, and hold what a model wrote against it.

Patterns of a schema are matched by RE2, in linear time, multiples are exact, and references lead
nowhere outside of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

from healscope.tasks.data.chats import encodable
from healscope.tasks.data.patterns import pattern

UNIQUE = 2_000
"""Items of a list that `uniqueItems` compares; of a longer one they count as not unique."""


def prepare(answer: Any, setting: Any) -> Any:  # noqa: ARG001
    """Return a validator of a schema, given as an object or its text; raises ValueError."""
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except (ValueError, RecursionError):
            raise ValueError("it is not a JSON schema: it is not JSON") from None
    if not isinstance(answer, dict):
        raise ValueError("it is not a JSON schema: it is not an object")
    return _validator(json.dumps(answer, sort_keys=True))


def holds(validator: Any, value: Any) -> bool:
    """Return whether a value is one that the schema allows."""
    try:
        return validator.is_valid(value)
    except (RecursionError, ArithmeticError, ValueError):
        return False


@cache
def _validator(text: str) -> Any:
    from jsonschema import Draft202012Validator, exceptions
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    schema = json.loads(text)

    def matches(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
        if validator.is_type(value, "string") and not _found(wanted, value):
            yield exceptions.ValidationError("it does not match")

    def by_pattern(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
        if validator.is_type(value, "object"):
            for expression, inner in wanted.items():
                for key, member in value.items():
                    if _found(expression, key):
                        yield from validator.descend(member, inner, key, expression)

    def unique(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
        if wanted and validator.is_type(value, "array"):
            written = {json.dumps(item, sort_keys=True) for item in value[: UNIQUE + 1]}
            if len(written) < len(value):
                yield exceptions.ValidationError("its items are not unique")

    def multiple(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
        if validator.is_type(value, "number") and not _is_multiple(value, wanted):
            yield exceptions.ValidationError("it is no multiple")

    def _found(expression: str, text: str) -> bool:
        return pattern(expression).search(encodable(text)) is not None

    own = extend(
        Draft202012Validator,
        {
            "pattern": matches,
            "patternProperties": by_pattern,
            "uniqueItems": unique,
            "multipleOf": multiple,
        },
    )
    try:
        own.check_schema(schema)
        for expression in _patterns(schema):
            pattern(expression)
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
        for reference in (*_values(schema, "$ref"), *_values(schema, "$dynamicRef")):
            resolver.lookup(reference)
    except exceptions.SchemaError as error:
        raise ValueError(
            f"it is not a JSON schema: {' '.join(error.message.split())[:200]}"
        ) from None
    except Unresolvable as error:
        raise ValueError(f"$ref {error.ref} is not in the schema itself") from None
    return own(schema, registry=Registry())


def _is_multiple(value: float, of: float) -> bool:
    """Return whether one number is a multiple of another, both as they are written in decimals.

    What is not finite is none. Numbers of JSON are short here: floats have at most 308 zeros.
    """
    if not (math.isfinite(of) and (isinstance(value, int) or math.isfinite(value))):
        return False
    one, other = (x if isinstance(x, int) else Fraction(repr(x)) for x in (value, of))
    return one.numerator * other.denominator % (one.denominator * other.numerator) == 0


def _patterns(schema: Any) -> Iterator[str]:
    yield from (p for p in _values(schema, "pattern") if isinstance(p, str))
    for named in _values(schema, "patternProperties"):
        yield from named if isinstance(named, dict) else ()


def _values(schema: Any, key: str) -> Iterator[Any]:
    """Yield every value of a key, however deep."""
    if isinstance(schema, dict):
        if key in schema:
            yield schema[key]
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from _values(inner, key)
