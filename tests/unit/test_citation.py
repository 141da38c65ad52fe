"""CITATION.cff is what readers of the Citation File Format 1.2.0 take, and says the version."""

import copy
import tomllib

import jsonschema
import pytest
import yaml
from runner import ROOT

import healscope

TEXT = {"type": "string", "minLength": 1}
DATE = {"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"}
DOI = {"type": "string", "pattern": r"^10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+$"}
PERSON = {
    "type": "object",
    "properties": dict.fromkeys(("family-names", "given-names", "affiliation", "orcid"), TEXT),
    "required": ["family-names", "given-names"],
    "additionalProperties": False,
}
ENTITY = {
    "type": "object",
    "properties": {"name": TEXT},
    "required": ["name"],
    "additionalProperties": False,
}
AUTHORS = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"anyOf": [PERSON, ENTITY]},
}
REFERENCE = {
    "type": "object",
    "properties": {
        "type": {"enum": ["article", "software"]},
        "authors": AUTHORS,
        "doi": DOI,
        "year": {"type": "integer"},
        **dict.fromkeys(("title", "url", "notes"), TEXT),
    },
    "required": ["type", "title", "authors"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "type": {"enum": ["dataset", "software"]},
        "date-released": DATE,
        "authors": AUTHORS,
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
        "references": {"type": "array", "items": REFERENCE},
        **dict.fromkeys(
            ("message", "title", "abstract", "version", "license", "url", "repository-code"), TEXT
        ),
    },
    "required": ["cff-version", "message", "title", "authors"],
    "additionalProperties": False,
}
"""The part of the format's schema that the file uses; the whole schema has taken the file too."""


class Plain(yaml.SafeLoader):
    """Dates stay text, as the format's schema has them."""


Plain.yaml_implicit_resolvers = {
    letter: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@pytest.fixture
def citation() -> dict:
    return yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), Loader=Plain)


def test_the_file_has_the_format(citation):
    jsonschema.validate(citation, SCHEMA)
    assert {"abstract", "date-released", "keywords", "license", "references"} <= citation.keys()


@pytest.mark.parametrize("key", ["date-released", "licence", "authors"])
def test_a_wrong_file_is_told(citation, key):
    wrong = copy.deepcopy(citation) | {key: "tomorrow"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_version_and_licence_are_those_of_the_package(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == healscope.__version__
    assert citation["license"] == project["license"]
