"""Prints the JSON schema of a study (`make schema`)."""

import json

from healscope.config import schema

print(json.dumps(schema(), indent=1))
