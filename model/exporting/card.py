"""The model card: README.md of an export, written from what the run itself recorded. What is not known is left out, or said so.

facts = {
    "name": "tiny",
    "sources": [{"source": "news", "licence": "CC BY-SA 4.0", "rows": 20433, "tokens": 2172390, "share": 0.6}],
    "masking": {"policy": "word", "masked_lm_prob": 0.15, ...}, "pairs": {"task": "nsp", ...},
    "training": {"step": 3250, "samples": 100000, "config": {"phases": [...], "optimizer": {...}, "seed": 12345}},
    "validation": [{"source": "all", "step": 3250, "loss": 5.634, "mlm_loss": 5.01, "masked_accuracy": 0.231, ...}],
    "vocabulary": {"size": 6094, "sha256": "45bb...", "do_lower_case": True, "mapped": {"“": '"'}},
    "converted": {"from": "Huawei's TensorFlow", "notes": ["left out 414 variables of its training ..."]},     weights of others
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

folder = "."  # where this file is
model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
pipeline("fill-mask", model=model, tokenizer=tokenizer)("今天[MASK]气很好")
```

The network's code is in this folder (`trust_remote_code=True`; transformers 4.46 or newer). There are classes for `AutoModel`,
`AutoModelForPreTraining`, `-MaskedLM`, `-SequenceClassification`, `-TokenClassification` and `-QuestionAnswering`.
`attn_implementation` is `sdpa` (the default) or `eager`.
"""
LIMITS = """## Intended use, and limits

An encoder for Chinese text: masked tokens, vectors of sentences and tokens, and a start for fine-tuning. It writes no text and
knows no facts; what it expects at a mask is what was usual in its training data, with their bias. It was not tested for any use
in which decisions on people are taken. Validation texts are from the same sources as the training texts, so the figures above
say nothing of other kinds of text.
"""


def card(facts: Mapping[str, Any], config: EncoderConfig, parameters: int) -> str:
    """The README.md. Every fact may be missing."""
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


def introduction(facts: Mapping[str, Any], config: EncoderConfig, parameters: int) -> str:
    form = {
        "functional released": f"NEZHA's relative positions in the released form, clipped at {config.max_relative_position}",
        "functional paper": "NEZHA's relative positions in the paper's form, unclipped",
        "relative": f"learned relative positions, clipped at {config.max_relative_position}",
        "absolute": "absolute positions, as BERT has them",
    }[f"functional {config.relative_positions}" if config.positions == "functional" else config.positions]
    most = f"{config.max_position_embeddings} tokens" if config.positions == "absolute" else "Any length"
    phases = facts.get("training", {}).get("config", {}).get("phases", [])
    longest = max((phase["sequence_length"] for phase in phases), default=None)
    trained = f", but only {longest} tokens were seen at once in training" if longest else ""
    made = "pretrained with nezha-pipe."
    if converted := facts.get("converted"):
        made = f"converted by nezha-pipe from weights of {converted['from']}; their terms hold for these too."
    kind, paper = ("BERT", "1810.04805") if config.positions == "absolute" else ("NEZHA", "1909.00204")
    return "\n".join(
        [
            f"# {facts.get('name', 'NEZHA')}",
            "",
            f"A {kind} encoder for Chinese ([arXiv {paper}](https://arxiv.org/abs/{paper})), {made}",
            f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_attention_heads} heads, "
            f"{parameters:,} parameters.",
            f"It has {form}. {most} can be read{trained}.",
            "",
        ]
    )


def data_lines(facts: Mapping[str, Any]) -> list[str]:
    """A row for each source: what it is, under what terms, and how much of training it was."""
    sources = facts.get("sources")
    if not sources:
        return ["Not recorded with this export."]
    lines = ["| source | licence | share of the sequences of training | examples | tokens |", "|---|---|---|---|---|"]
    for row in sorted(sources, key=lambda row: -row["share"]):
        name, licence = cell(row["source"]), cell(row["licence"])
        lines.append(f"| {name} | {licence} | {row['share']:.1%} | {row['rows']:,} | {row['tokens']:,} |")
    return [
        *(*lines, ""),
        "Examples and tokens count what there is; training may pass over it several times, or not reach all of it.",
        "The terms of the sources apply to what is made from them.",
    ]


def vocabulary_lines(vocabulary: Mapping[str, Any]) -> list[str]:
    if not vocabulary:
        return []
    case = "Latin letters are lowered and lose their accents" if vocabulary["do_lower_case"] else "Case is kept"
    lines = [
        f"{vocabulary['size']:,} tokens, a Chinese character a token, other words in parts (WordPiece). {case}.",
        f"SHA-256 of vocab.txt: `{vocabulary['sha256']}`.",
    ]
    if mapped := vocabulary.get("mapped"):
        lines += ["The vocabulary lacks some punctuation; `tokenizer.json` reads it as what there is:", ""]
        lines += [", ".join(f"{mark} as {known}" for mark, known in mapped.items()) + "."]
    return lines


def training_lines(facts: Mapping[str, Any]) -> list[str]:
    """A line for each phase of training, and for what they share."""
    training = facts.get("training", {})
    config = training.get("config", {})
    planned = training.get("planned", training.get("step"))
    of = f" of {planned:,} planned" if planned != training.get("step") else ""
    lines = [f"- {training['step']:,} steps{of}{_seen(training)}"] if "step" in training else []
    if averaged := training.get("averaged"):
        lines.append(f"- these weights are the mean of {len(averaged)} checkpoints: {', '.join(averaged)}")
    for number, phase in enumerate(config.get("phases", []), start=1):
        lines.append(
            f"- phase {number}: length {phase['sequence_length']}, {phase['batch_size']:,} sequences a step, "
            f"{phase['steps']:,} steps, learning rate {phase['learning_rate']:g}, {phase['warmup_steps']:,} steps of warm-up"
        )
    if masking := facts.get("masking"):
        lines.append(f"- masks: {masking['policy']}, {masking['masked_lm_prob']:.0%} of the tokens")
    if pairs := facts.get("pairs"):
        lines.append(f"- pairs of segments: {pairs['task']}")
    if optimizer := config.get("optimizer"):
        name = "AdamW" if optimizer["variant"] == "adamw" else f"LAMB ({optimizer['variant']})"
        lines.append(f"- {name}, weight decay {optimizer['weight_decay']:g}")
    return lines + ([f"- seed {config['seed']}"] if "seed" in config else [])


def _seen(training: Mapping[str, Any]) -> str:
    samples, tokens = training.get("samples"), training.get("tokens")
    seen = f", {samples:,} sequences" if samples else ""
    return seen + (f", about {tokens:,} tokens (sequences times the mean length of each source's examples)" if tokens else "")


def validation_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each source, and one of all."""
    if not rows:
        return []
    lines = ["| source | step | loss | loss of masked tokens | masked tokens found | pairs told |", "|---|---|---|---|---|---|"]
    for row in rows:
        losses = " | ".join(_number(row.get(name), ".3f") for name in ("loss", "mlm_loss"))
        shares = " | ".join(_number(row.get(name), ".1%") for name in ("masked_accuracy", "pair_accuracy"))
        lines.append(f"| {cell(row['source'])} | {row['step']:,} | {losses} | {shares} |")
    return lines


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def cell(text: object) -> str:
    """Text for a cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")
