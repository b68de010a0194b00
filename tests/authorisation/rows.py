"""How a line of the table is written, and what it says.

A line names an address and, by method, who gets in:

    "scheduler:phones": study(GET="coordinator investigator"),

The function says how far a role must reach:

- `anywhere`  a role in any study (lists that show each their own)
- `study`     a role in the study that the address names, of whichever site
- `whole`     a role in that study that is not kept to one site
- `site`      a role at the site of the participant whom the address is about, or in the whole study

Words that may stand beside roles: `everyone`; `login` (any account, with or without a role);
`operator` (any role, or an administrator) and `administrator`, for whom no reach is asked; `phone`.
Methods that are not named let nobody in; HEAD and OPTIONS, and in the admin all but POST, let in
nobody whom GET does not.
A dictionary in front gives an address other values than the world: `study({"kind": "csv"}, …)`.
"""

from typing import NamedTuple

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
READERS = "coordinator investigator statistician"
ROLES = frozenset({"coordinator", "investigator", "statistician", "pharmacist", "auditor"})

NOWHERE, STUDY, SITE, OTHER_SITE, OTHER_STUDY = (
    "nowhere",
    "the study",
    "the site",
    "another site",
    "another study",
)
REACHES = {
    "anywhere": {NOWHERE, STUDY, SITE, OTHER_SITE, OTHER_STUDY},
    "study": {STUDY, SITE, OTHER_SITE},
    "whole": {STUDY},
    "site": {STUDY, SITE},
}


class Person(NamedTuple):
    """Somebody who tries: a role, nobody's word for one, or a phone, and where they belong."""

    kind: str
    place: str

    def __str__(self) -> str:
        return self.kind if self.place == NOWHERE else f"{self.kind} of {self.place}"

    @property
    def words(self) -> set[str]:
        """The words of a line that mean this person."""
        found = {"everyone", self.kind}
        if self.kind not in ("anonymous", "phone"):
            found.add("login")
        if self.kind in ROLES or self.kind == "administrator":
            found.add("operator")
        return found


class Row(NamedTuple):
    reach: str
    methods: dict[str, frozenset[str]]
    by: dict[str, object]

    def lets_in(self, person: Person, method: str) -> bool:
        meant = self.methods.get(method, frozenset()) & person.words
        if not meant:
            return False
        needs_reach = not meant - ROLES - {"phone"}
        return not needs_reach or person.place in REACHES[self.reach]


def _row(reach: str, by: dict[str, object] | None, methods: dict[str, str]) -> Row:
    return Row(reach, {name: frozenset(who.split()) for name, who in methods.items()}, by or {})


def anywhere(by: dict[str, object] | None = None, /, **methods: str) -> Row:
    return _row("anywhere", by, methods)


def study(by: dict[str, object] | None = None, /, **methods: str) -> Row:
    return _row("study", by, methods)


def whole(by: dict[str, object] | None = None, /, **methods: str) -> Row:
    return _row("whole", by, methods)


def site(by: dict[str, object] | None = None, /, **methods: str) -> Row:
    return _row("site", by, methods)


def records(
    name: str, *, of: str, read: str, add: str = "", change: str = "", delete: str = ""
) -> dict[str, Row]:
    """The addresses that Django's admin gives a model; `of` is the reach that one record asks."""

    def always(who: str) -> dict[str, str]:
        return {"GET": who, "POST": who}

    return {
        f"admin:{name}_changelist": _row("anywhere", None, always(read)),
        f"admin:{name}_add": _row("anywhere", None, always(add)),
        f"admin:{name}_history": _row(of, None, always(read)),
        f"admin:{name}_delete": _row(of, None, always(delete)),
        f"admin:{name}_change": _row(of, None, always(read) | {"POST": change}),
        f"admin/{name.replace('_', '/', 1)}/<path:object_id>/": anywhere(**always("operator")),
    }
