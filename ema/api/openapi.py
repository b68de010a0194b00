"""What the published schema says of every door alike."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

PROBLEM_TYPE = "application/problem+json"
PROBLEM = {"$ref": "#/components/schemas/ProblemContent"}
FIRST_REFUSAL = 400


class DoorSchema(AutoSchema):
    """What is said of a door is said for its callers: our own docstrings are not."""

    def get_description(self) -> str:  # type: ignore[override]
        return ""


def document_refusals(
    result: dict[str, Any], generator: object, request: object, public: bool
) -> dict[str, Any]:
    """Every refusal is problem+json; any door may be away, or asked for what it cannot say."""
    for path in result["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            for status, title in _everywhere(operation).items():
                responses.setdefault(status, {"description": title, "content": {}})
            for status, response in responses.items():
                if int(status) >= FIRST_REFUSAL:
                    response["content"] = {PROBLEM_TYPE: {"schema": PROBLEM}}
    return result


def _everywhere(operation: dict[str, Any]) -> dict[str, str]:
    """Refusals that no view names, by status."""
    found = {
        "406": "No form of answer that the request accepts.",
        "503": "The database is away, nothing was stored: try again after Retry-After.",
    }
    if "requestBody" in operation:
        found |= {"413": "The body is larger than 2 MB.", "415": "The body must be JSON."}
    return found
