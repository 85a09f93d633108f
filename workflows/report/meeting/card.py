"""model_card.md: the model card of the export with what the report knows: verdict, data, failures, cost, licences.

The card inside the export is written before the model is scored, and the export does not change afterwards. This one has the
same text and one section more; copy it over README.md of the export where the model is published.
"""

from collections.abc import Mapping
from typing import Any

from pipeline import storage
from workflows.report.languages.texts import Texts

CARD = "model_card.md"
SOURCE = "README.md"


def card(content: Mapping[str, Any], t: Texts) -> str:
    """Return the card; "" if there is no export, or it has no card."""
    from model.exporting.card import with_section

    folder = content["meeting"]["export"]
    if not folder or not storage.exists(url := storage.join(folder, SOURCE)):
        return ""
    readme = storage.read_bytes(url).decode("utf-8", "replace")
    return with_section(readme, t("Evaluation and provenance"), lines(content, t), task="")


def lines(content: Mapping[str, Any], t: Texts) -> list[str]:
    """Return the lines of the section, from the figures and sentences of the report."""
    said, meeting = content["sentences"], content["meeting"]
    found = [f"**{said['headline']}** {said['decision']}".strip(), ""] if said["headline"] else []
    found += [f"- {line}" for line in said["why"]]
    named = (("Data", "data"), ("Failures", "failures"), ("Cost", "cost"), ("Licences", "licences"), ("Training", "period"))
    found += [f"- {t(title)}: {said[name]}" for title, name in named if said[name]]
    found += [f"- {row['source']}: {row['licence']}" for row in meeting["licences"]]
    found += [f"- {line}" for line in said["contamination"]]
    table = [_row(row, meeting, t) for row in content["scores"] if row["split"] == "test"]
    if table:
        head = [t("model"), t("task"), t("metric"), t("seeds"), t("mean"), t("deviation"), t("interval")]
        found += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|", *table]
    return found


def _row(row: Mapping[str, Any], meeting: Mapping[str, Any], t: Texts) -> str:
    from model.exporting.card import cell

    own = row["model_id"] != "untrained"
    interval = meeting["intervals"].get(f"{row['task']} {row['metric']}") if own else None
    deviation = "-" if row["deviation"] is None else f"{row['deviation']:.3f}"
    shown = f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else "-"
    cells = (
        t(row["model_id"]),
        t.name(row["task"]),
        t.name(row["metric"]),
        row["seeds"],
        f"{row['mean']:.3f}",
        deviation,
        shown,
    )
    return "| " + " | ".join(map(cell, cells)) + " |"
