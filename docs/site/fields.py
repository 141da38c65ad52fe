"""Extension of Griffe: shows keys of a config as plain attributes, which have the description, the
default and the type that a pydantic `Field` gives them."""

import ast

from griffe import Docstring, ExprBinOp, ExprCall, ExprKeyword, ExprSubscript, Extension


class Fields(Extension):
    def on_attribute_instance(self, *, node, attr, **_):
        if not isinstance(node, ast.AnnAssign):
            return
        keywords = (part for part in ast.walk(node) if isinstance(part, ast.keyword))
        said = [word.value for word in keywords if word.arg == "description"]
        if said and isinstance(said[0], ast.Constant) and not attr.docstring:
            attr.docstring = Docstring(said[0].value, parent=attr)
        attr.annotation = plain(attr.annotation)
        value = attr.value
        if isinstance(value, ExprCall) and value.canonical_name == "Field":
            given = [x for x in value.arguments if not isinstance(x, ExprKeyword)]
            attr.value = given[0] if given else None


def plain(annotation):
    """Return a type without what `Annotated` adds to it."""
    if isinstance(annotation, ExprBinOp):  # one | another
        annotation.left, annotation.right = plain(annotation.left), plain(annotation.right)
    if isinstance(annotation, ExprSubscript) and annotation.canonical_name == "Annotated":
        return annotation.slice.elements[0]
    return annotation
