"""Prints docs/tables.md (`make schema`)."""

from healscope.schemas import SCHEMAS
from healscope.schemas.page import page

print(page(list(SCHEMAS.values())), end="")
