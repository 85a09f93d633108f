"""The model card: README.md of an export, written from facts that the run recorded. Unknown facts are left out, or marked so.

facts = {
    "name": "tiny",
    "sources": [{"source": "news", "licence": "CC BY-SA 4.0", "rows": 20433, "tokens": 2172390, "share": 0.6}],
    "masking": {"policy": "word", "masked_lm_prob": 0.15, ...}, "pairs": {"task": "nsp", ...},
    "training": {"step": 3250, "samples": 100000, "config": {"phases": [...], "optimizer": {...}, "seed": 12345}},
    "validation": [{"source": "all", "step": 3250, "loss": 5.634, "mlm_loss": 5.01, "masked_accuracy": 0.231, ...}],
    "vocabulary": {"size": 6094, "sha256": "45bb...", "do_lower_case": True, "mapped": {"“": '"'}},
    "converted": {"from": "Huawei's TensorFlow", "notes": ["left out 414 training variables ..."]},     for converted weights
}
card(facts, config, parameters)        ---\nlanguage: zh\n...
"""

from collections.abc import Mapping, Sequence
from typing import Any

from model.config import EncoderConfig

HEAD = """---
language: zh
library_name: transformers
pipeline_tag: fill-mask
license: other
tags:
- nezha
---
"""
USE = """## How to use it

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

folder = "."  # the folder of this file
model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
pipeline("fill-mask", model=model, tokenizer=tokenizer)("今天[MASK]气很好")
```

The network's code is in this folder (`trust_remote_code=True`, transformers 4.46 or later). There are classes for `AutoModel`,
`AutoModelForPreTraining`, `-MaskedLM`, `-SequenceClassification`, `-TokenClassification` and `-QuestionAnswering`.
`attn_implementation` is `sdpa` (the default) or `eager`.
"""
LIMITS = """## Intended use and limitations

An encoder for Chinese text, for filling masks, for vectors of sentences and tokens, and as a starting point for fine-tuning. It
does not generate text or know facts: what it predicts at a mask is what was common in its training data, including their bias.
It has not been tested for decisions about people. Validation texts come from the same sources as the training texts, so the
figures above say nothing about other kinds of text.
"""


def card(facts: Mapping[str, Any], config: EncoderConfig, parameters: int) -> str:
    """Return the README.md. Any fact may be missing."""
    parts = [HEAD, introduction(facts, config, parameters), USE]
    for title, lines in (
        ("Conversion", [f"- {note}" for note in facts.get("converted", {}).get("notes", [])]),
        ("Training data", data_lines(facts)),
        ("Vocabulary and text", vocabulary_lines(facts.get("vocabulary", {}))),
        ("Training", training_lines(facts)),
        ("Validation", validation_lines(facts.get("validation", []))),
    ):
        if lines:
            parts.append("\n".join([f"## {title}", "", *lines, ""]))
    return "\n".join([*parts, LIMITS])


def with_section(readme: str, title: str, lines: Sequence[str], task: str = "sentence-similarity") -> str:
    """Return a card with one more section, before its limitations.

    Args:
        task: `pipeline_tag` of a model that was tuned further; "" leaves it as it is.

    >>> with_section("# tiny\\n", "Tuning", ["by hand"])
    '# tiny\\n\\n## Tuning\\n\\nby hand\\n'
    """
    section = "\n".join([f"## {title}", "", *lines, ""])
    readme = readme.replace("pipeline_tag: fill-mask", f"pipeline_tag: {task}") if task else readme
    before, limits, after = readme.partition(LIMITS.split("\n")[0])
    return "\n".join([before.rstrip("\n") + "\n", section, limits + after] if limits else [before, section])


def introduction(facts: Mapping[str, Any], config: EncoderConfig, parameters: int) -> str:
    form = {
        "functional released": f"NEZHA's relative positions in the released form, clipped at {config.max_relative_position}",
        "functional paper": "NEZHA's relative positions in the paper's form, unclipped",
        "relative": f"learned relative positions, clipped at {config.max_relative_position}",
        "absolute": "absolute positions, as in BERT",
    }[f"functional {config.relative_positions}" if config.positions == "functional" else config.positions]
    limit = f"up to {config.max_position_embeddings} tokens" if config.positions == "absolute" else "of any length"
    phases = facts.get("training", {}).get("config", {}).get("phases", [])
    longest = max((phase["sequence_length"] for phase in phases), default=None)
    trained = f"; training used up to {longest} tokens" if longest else ""
    made = "pretrained with nezha-pipe."
    if converted := facts.get("converted"):
        made = f"converted with nezha-pipe from weights of {converted['from']}, whose terms also apply here."
    kind, paper = ("BERT", "1810.04805") if config.positions == "absolute" else ("NEZHA", "1909.00204")
    return "\n".join(
        [
            f"# {facts.get('name', 'NEZHA')}",
            "",
            f"A {kind} encoder for Chinese ([arXiv {paper}](https://arxiv.org/abs/{paper})), {made}",
            f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_attention_heads} heads, "
            f"{parameters:,} parameters.",
            f"It has {form}, and reads texts {limit}{trained}.",
            "",
        ]
    )


def data_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return a table of the sources: licence, share of training, size."""
    sources = facts.get("sources")
    if not sources:
        return ["Not recorded with this export."]
    lines = ["| source | licence | share of training sequences | examples | tokens |", "|---|---|---|---|---|"]
    for row in sorted(sources, key=lambda row: -row["share"]):
        name, licence = cell(row["source"]), cell(row["licence"])
        lines.append(f"| {name} | {licence} | {row['share']:.1%} | {row['rows']:,} | {row['tokens']:,} |")
    return [
        *(*lines, ""),
        "Examples and tokens are the size of the data; training may repeat it, or use only part of it.",
        "The licences of the sources apply to what is made from them.",
    ]


def vocabulary_lines(vocabulary: Mapping[str, Any]) -> list[str]:
    if not vocabulary:
        return []
    case = "Latin text is lowercased and stripped of accents" if vocabulary["do_lower_case"] else "Text is cased"
    lines = [
        f"{vocabulary['size']:,} tokens: one per Chinese character, WordPiece for other words. {case}.",
        f"SHA-256 of vocab.txt: `{vocabulary['sha256']}`.",
    ]
    if mapped := vocabulary.get("mapped"):
        lines += ["The vocabulary lacks some punctuation, which `tokenizer.json` replaces:", ""]
        lines += [", ".join(f"{mark} with {known}" for mark, known in mapped.items()) + "."]
    return lines


def training_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each phase of training, and for the settings that they share."""
    training = facts.get("training", {})
    config = training.get("config", {})
    planned = training.get("planned", training.get("step"))
    of = f" of {planned:,} planned" if planned != training.get("step") else ""
    lines = [f"- {training['step']:,} steps{of}{_seen(training)}"] if "step" in training else []
    if averaged := training.get("averaged"):
        lines.append(f"- these weights are the mean of {len(averaged)} checkpoints: {', '.join(averaged)}")
    for number, phase in enumerate(config.get("phases", []), start=1):
        lines.append(
            f"- phase {number}: length {phase['sequence_length']}, {phase['batch_size']:,} sequences per step, "
            f"{phase['steps']:,} steps, learning rate {phase['learning_rate']:g}, {phase['warmup_steps']:,} warm-up steps"
        )
    if masking := facts.get("masking"):
        lines.append(f"- masking: {masking['policy']}, {masking['masked_lm_prob']:.0%} of the tokens")
    if pairs := facts.get("pairs"):
        lines.append(f"- segment pairs: {pairs['task']}")
    if optimizer := config.get("optimizer"):
        name = "AdamW" if optimizer["variant"] == "adamw" else f"LAMB ({optimizer['variant']})"
        lines.append(f"- {name}, weight decay {optimizer['weight_decay']:g}")
    return lines + ([f"- seed {config['seed']}"] if "seed" in config else [])


def _seen(training: Mapping[str, Any]) -> str:
    samples, tokens = training.get("samples"), training.get("tokens")
    seen = f", {samples:,} sequences" if samples else ""
    return seen + (f", about {tokens:,} tokens (sequences times the mean length of their source's examples)" if tokens else "")


def validation_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table with a row for each source and one for all."""
    if not rows:
        return []
    lines = ["| source | step | loss | MLM loss | MLM accuracy | pair accuracy |", "|---|---|---|---|---|---|"]
    for row in rows:
        losses = " | ".join(_number(row.get(name), ".3f") for name in ("loss", "mlm_loss"))
        accuracies = " | ".join(_number(row.get(name), ".1%") for name in ("masked_accuracy", "pair_accuracy"))
        lines.append(f"| {cell(row['source'])} | {row['step']:,} | {losses} | {accuracies} |")
    return lines


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def cell(text: object) -> str:
    """Escape text for a cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")
