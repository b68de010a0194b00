"""The published schema as a page to read: every door, what it takes and what it answers."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from drf_spectacular.generators import SchemaGenerator

from ema.pages import answer_page

Schema = Mapping[str, Any]
DEEPEST = 6


class Field(NamedTuple):
    """One field; `name` leads to it from the top: `items[].answers[].item`."""

    name: str
    kind: str
    is_required: bool
    help: str


class Answer(NamedTuple):
    status: str
    means: str
    kind: str
    fields: list[Field]


class Door(NamedTuple):
    """One method of one address."""

    anchor: str
    method: str
    path: str
    title: str
    help: str
    needs: str
    parameters: list[Field]
    body: list[Field]
    answers: list[Answer]


NEEDS = {
    "device": "a phone's access token",
    "basicAuth": "an operator's name and password",
    "operatorToken": "a token of an operator",
    "cookieAuth": "an operator's session",
}


@cache
def published_schema() -> Schema:
    """What every door takes and answers: the same for whoever asks, and made in 0.1 s."""
    made: Schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return made


class PublishedSchema(SchemaGenerator):
    """The generator that the schema's own view asks at each request."""

    def get_schema(self, request: object = None, public: bool = False) -> Schema:
        return published_schema()


def reference(request: HttpRequest) -> HttpResponse:
    """The page at /api/v1/docs/."""
    return answer_page(request, "ema/reference.html", "The API, door by door", doors=listing())


@cache
def listing() -> SafeString:
    """What is told of all doors: the same for everybody, for as long as the process runs."""
    return render_to_string("ema/reference_doors.html", {"doors": doors()})


def doors() -> list[Door]:
    """Every door of the published schema, those of phones first."""
    schema = published_schema()
    shapes = schema["components"]["schemas"]
    found = [
        _door(method, path, operation, shapes)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    return sorted(found, key=lambda door: ("/studies/" in door.path, door.path))


def _door(method: str, path: str, operation: Schema, shapes: Schema) -> Door:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    needs = dict.fromkeys(NEEDS[name] for way in operation.get("security", []) for name in way)
    return Door(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        title=operation.get("summary", ""),
        help=operation.get("description", ""),
        needs=" or ".join(needs) or "nothing",
        parameters=[_parameter(each, shapes) for each in operation.get("parameters", [])],
        body=list(_fields(body.get("schema", {}), shapes)),
        answers=[
            _answer(status, response, shapes)
            for status, response in sorted(operation["responses"].items())
        ],
    )


def _parameter(parameter: Schema, shapes: Schema) -> Field:
    name = f"{parameter['name']} (in the {parameter['in']})"
    kind = _kind(parameter["schema"], shapes)
    is_required = parameter.get("required", False)
    return Field(name, kind, is_required, parameter.get("description", ""))


def _answer(status: str, response: Schema, shapes: Schema) -> Answer:
    """Fields are told of answers that go well: refusals have one form, told once on the page."""
    for kind, content in response.get("content", {}).items():
        is_told = status < "300"
        fields = list(_fields(content.get("schema", {}), shapes)) if is_told else []
        return Answer(status, response["description"], kind, fields)
    return Answer(status, response["description"], "", [])


def _fields(schema: Schema, shapes: Schema, prefix: str = "", depth: int = 0) -> Iterator[Field]:
    """The fields of an object and of what lies in it, from the top down."""
    schema = _resolved(schema, shapes)
    if "items" in schema:
        yield from _fields(schema["items"], shapes, f"{prefix}[]", depth + 1)
    required = schema.get("required", ())
    for name, below in schema.get("properties", {}).items():
        path = f"{prefix}.{name}".lstrip(".")
        help_text = below.get("description", _resolved(below, shapes).get("description", ""))
        yield Field(path, _kind(below, shapes), name in required, help_text)
        if depth < DEEPEST:
            yield from _fields(below, shapes, path, depth + 1)


def _resolved(schema: Schema, shapes: Schema) -> Schema:
    """The shape that a reference names."""
    for each in (schema, *schema.get("allOf", ()), *schema.get("oneOf", ())):
        if "$ref" in each:
            shape: Schema = shapes[each["$ref"].rpartition("/")[2]]
            return shape
    return schema


def _kind(schema: Schema, shapes: Schema) -> str:
    """What a value is, in a few words."""
    schema = _resolved(schema, shapes)
    if "enum" in schema:
        return "one of " + ", ".join(str(each) for each in schema["enum"])
    named = schema.get("type", "anything")
    kinds = named if isinstance(named, list) else [named]
    if kinds == ["array"]:
        return f"list of {_kind(schema['items'], shapes)}s"
    form = f" ({schema['format']})" if "format" in schema else ""
    return " or ".join(kinds) + form
