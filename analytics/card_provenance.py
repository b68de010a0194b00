"""Of which data a comparison is: a hash of the sums it read, and the study's newest snapshot."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from analytics.gram import Gram
from analytics.models import Snapshot
from ema.models import Study


def data_digest(gram: Gram, arm_of: Mapping[str, str] | None) -> str:
    """SHA-256 over everybody's arm, rows and sums of products, by code."""
    lines = [json.dumps([*gram.functions])]
    order = sorted(range(len(gram.participants)), key=lambda at: str(gram.participants[at]))
    for at in order:
        code = str(gram.participants[at])
        arm = None if arm_of is None else arm_of.get(code)
        sums = [*gram.totals[:, at].tolist(), *gram.products[:, :, at].ravel().tolist()]
        lines.append(json.dumps([code, arm, int(gram.n[at]), *sums]))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def newest_snapshot(study: Study) -> dict[str, Any] | None:
    """The snapshot built last, None without one: the tables that were frozen nearest to now."""
    built = Snapshot.objects.filter(study=study, built_at__isnull=False)
    newest = built.order_by("-built_at").first()
    if newest is None or newest.built_at is None:
        return None
    return {
        "id": str(newest.pk),
        "built_at": newest.built_at.isoformat(),
        "sha256": newest.sha256,
    }
