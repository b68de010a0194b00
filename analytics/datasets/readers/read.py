"""Load every table of this package with its types, and fit its coupling comparison again.

    python read.py              prints the comparison, where the package has arms, else the coupling
    from read import tables     all tables: lists of dictionaries; None is a missing value

Needs Python 3.11; the comparison needs numpy and scipy, nothing else. The types come from
datapackage.json. Nothing of the software that wrote the package is used.
"""

import csv
import json
import re
import sys
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GUARD = re.compile(r"'+[=+@\-\t\r\n＝＋－＠]")
Table = list[dict[str, Any]]


def _text(cell: str) -> str:
    """A text as it was before it was kept from being run by a spreadsheet."""
    return cell[1:] if GUARD.match(cell) else cell


def _instant(cell: str) -> datetime:
    at = datetime.fromisoformat(cell.removesuffix("Z"))
    return at.replace(tzinfo=UTC) if cell.endswith("Z") else at


READ: dict[str, Any] = {
    "string": _text,
    "integer": int,
    "number": float,
    "date": date.fromisoformat,
    "datetime": _instant,
}


def tables(package: Path = HERE) -> dict[str, Table]:
    """Every table by its name."""
    described = json.loads((package / "datapackage.json").read_text(encoding="utf-8"))
    return {one["name"]: table(package, one) for one in described["resources"]}


def table(package: Path, resource: dict[str, Any]) -> Table:
    """One table, its cells as Python's own types."""
    read = {field["name"]: READ[field["type"]] for field in resource["schema"]["fields"]}
    with (package / resource["path"]).open(newline="", encoding="utf-8") as file:
        return [
            {name: read[name](cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def analysed(data: dict[str, Table]) -> dict[str, list[tuple[float, float]]]:
    """Stress and craving of every participant: random prompts answered in time and before the
    study was locked, both in range."""
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in data["prompts"]:
        both = row["stress"] is not None and row["craving"] is not None
        in_time = row["status"] == "answered" and "after_lock" not in (row["flags"] or "")
        if in_time and both:
            pairs[row["participant_id"]].append((row["stress"], row["craving"]))
    return pairs


def comparison(data: dict[str, Table], reference: str | None = None) -> dict[str, Any]:
    """The mixed model of craving, by REML:

    craving ~ stress_within * arm + stress_between + (1 + stress_within | participant)

    Terms with their estimates; `standard_error`, `df` and `interval` (95 %) are cluster-robust, CR2
    with Satterthwaite's df, and `model_standard_error` is the model's own. The reference arm is
    `reference` or the one that provenance.json names. Without arms, the same model without them.
    """
    import numpy as np

    pairs = analysed(data)
    arm_of = {row["participant_id"]: row.get("arm") for row in data["participants"]}
    arms = sorted({arm for arm in arm_of.values() if arm})
    people = [code for code in pairs if not arms or arm_of[code]]
    if reference is None and arms:
        provenance = json.loads((HERE / "provenance.json").read_text(encoding="utf-8"))
        reference = provenance.get("reference_arm") or arms[0]
    others = [arm for arm in arms if arm != reference]
    means = np.array([np.mean([x for x, _ in pairs[code]]) for code in people])
    blocks = []
    for code, mean in zip(people, means, strict=True):
        x, y = np.array(pairs[code]).T
        within, one = x - mean, np.ones(len(x))
        mine = [float(arm_of[code] == arm) for arm in others]
        columns = [one, within, one * (mean - means.mean())]
        columns += [one * is_in for is_in in mine] + [within * is_in for is_in in mine]
        blocks.append((np.column_stack(columns), np.column_stack([one, within]), y))
    terms = ["(Intercept)", "stress_within", "stress_between", *others]
    return _reml(blocks, [*terms, *(f"stress_within:{arm}" for arm in others)])


def _reml(blocks: list[Any], terms: list[str]) -> dict[str, Any]:
    """Fit by the profiled REML criterion; blocks of (X, Z, y), one a participant."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.stats import t as student

    xx, xz = np.array([X.T @ X for X, _, _ in blocks]), np.array([X.T @ Z for X, Z, _ in blocks])
    xy, zy = np.array([X.T @ y for X, _, y in blocks]), np.array([Z.T @ y for _, Z, y in blocks])
    zz = np.array([Z.T @ Z for _, Z, _ in blocks])
    yy, n = sum(y @ y for *_, y in blocks), sum(len(y) for *_, y in blocks)
    p = len(terms)

    def solved(theta: Any) -> tuple[float, Any, Any, float]:
        root = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
        inner = np.eye(2) + root.T @ zz @ root
        zx_s = np.linalg.solve(inner, root.T @ np.swapaxes(xz, 1, 2))
        zy_s = np.linalg.solve(inner, (zy @ root)[:, :, None])
        a = (xx - xz @ root @ zx_s).sum(axis=0)
        b = (xy - (xz @ root @ zy_s)[:, :, 0]).sum(axis=0)
        c = yy - float((zy @ root * zy_s[:, :, 0]).sum())
        beta = np.linalg.solve(a, b)
        left = c - b @ beta
        logs = np.linalg.slogdet(inner)[1].sum() + np.linalg.slogdet(a)[1]
        return float(logs + (n - p) * np.log(left)), beta, a, left / (n - p)

    fit: Any = minimize
    exact = {"xatol": 1e-11, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    start: Any = np.array([1.0, 0.0, 0.1])
    for _ in range(6):  # a simplex that starts again where it stopped
        found = fit(lambda theta: solved(theta)[0], start, method="Nelder-Mead", options=exact)
        start = found.x
    _, beta, a, variance = solved(start)
    errors = np.sqrt(np.diag(np.linalg.inv(a)) * variance)
    root = np.array([[start[0], 0.0], [start[1], start[2]]])
    robust, df = _cr2(blocks, root, beta, np.linalg.inv(a))
    half = student.ppf(0.975, df) * robust
    columns = (beta, robust, df, beta - half, beta + half, errors)
    return {
        "participants": len(blocks),
        "pairs": n,
        "terms": {
            term: {
                "estimate": float(estimate),
                "standard_error": float(error),
                "df": float(degrees),
                "interval": [float(low), float(high)],
                "model_standard_error": float(own),
            }
            for term, estimate, error, degrees, low, high, own in zip(terms, *columns, strict=True)
        },
    }


def _cr2(blocks: list[Any], root: Any, beta: Any, bread: Any) -> tuple[Any, Any]:
    """Cluster-robust standard errors, a participant being a cluster, and their degrees of freedom.

    Bell & McCaffrey 2002; Pustejovsky & Tipton 2018, as clubSandwich has them. A participant's rows
    are turned into the span of their X and Z: outside it nothing is corrected.
    """
    import numpy as np

    p = len(beta)
    meat, outer = np.zeros((p, p)), np.zeros((p, p, p))  # outer: one matrix a term
    mean, own = np.zeros(p), np.zeros(p)
    for rows in blocks:
        span = np.linalg.qr(np.column_stack(rows[:2]))[0].T
        x, z, y = (span @ part for part in rows)
        factor = np.linalg.cholesky(np.eye(len(y)) + z @ root @ root.T @ z.T)  # of V
        scaled, around = np.linalg.solve(factor, x), factor.T @ factor
        lost = np.eye(len(y)) - scaled @ bread @ scaled.T
        values, vectors = np.linalg.eigh(around @ lost @ around)
        there = values > 1e-9 * values[-1]
        power = np.where(there, 1 / np.sqrt(np.where(there, values, 1.0)), 0.0)
        adjusted = factor @ (vectors * power) @ vectors.T @ scaled  # A V⁻¹X
        score = adjusted.T @ (y - x @ beta)
        h = adjusted @ bread
        v, a = ((factor.T @ h) ** 2).sum(axis=0), x.T @ h
        k = (a * (bread @ a)).sum(axis=0)
        meat += np.outer(score, score)
        mean, own = mean + v - k, own + v * (v - 2 * k)
        outer += np.einsum("pm,qm->mpq", a, a)
    turned = bread @ outer
    df = mean**2 / (own + np.einsum("mpq,mqp->m", turned, turned))
    return np.sqrt(np.diag(bread @ meat @ bread)), df


def main() -> None:
    data = tables()
    for name, rows in data.items():
        print(f"{name}: {len(rows)} rows", file=sys.stderr)
    print(json.dumps(comparison(data), indent=2))


if __name__ == "__main__":
    main()
