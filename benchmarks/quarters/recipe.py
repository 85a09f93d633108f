"""The recipe of each quarter. What differs is what a person would change: nothing but [training], [[phase]] and [checks].

first      short training from fresh weights: the first champion
second     longer training from the champion, a fifth of it old text
spoilt     as the second, at a learning rate that destroys the network
let pass   the same without the check of forgetting: the gate has to refuse it
"""

from pathlib import Path

from benchmarks.quarters.store import DUMPS, NEWS, REGISTRY, WITHDRAWN

NAME = "quarters"
FIRST, SECOND, SPOILT, PASSED = "first", "second", "spoilt", "let pass"
STEPS = {FIRST: 20, SECOND: 400, SPOILT: 40, PASSED: 40}
LEARNING_RATES = {FIRST: 1e-3, SECOND: 5e-3, SPOILT: 0.3, PASSED: 0.3}
FORGETTING = {PASSED: 1e9}

_RECIPE = """
name = "{name}"
validation_ratio = 0.02

[[source]]
name = "wiki"
kind = "wiki"
input = ["{dumps}"]
licence = "CC BY-SA 4.0"

[[source]]
name = "news"
kind = "news"
input = ["{news}"]
licence = "People's Daily, January 1998; for trying out"

[dedup]
withdrawn = "{withdrawn}"

[vocabulary]
size = 6000

[encoder]
hidden_size = 64
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 256
hidden_dropout_prob = 0.0
attention_probs_dropout_prob = 0.0
initializer_range = 0.06

[optimizer]
epsilon = 1e-10

[training]
{start}micro_batch_tokens = 2048
validate_every = 100
validation_sequences = 128
checkpoint_every = 20
log_every = 10
spike_sigma = 0.0

[[phase]]
sequence_length = 64
batch_size = 32
steps = {steps}
learning_rate = {learning_rate}
warmup_steps = {warmup_steps}

[checks]
max_forgetting_ratio = {forgetting}

[cluster]
workers = 1
max_failures = 3

[evaluation]
data = "{tasks}"
tasks = ["damaged"]
seeds = 6
train_examples = 256
test_examples = 1000
epochs = 6
batch_size = 16
learning_rate = 5e-4
max_length = 48
baseline = false

[evaluation.task.damaged]
kind = "classification"
files = "{{split}}.jsonl"
text = "text"
label = "label"

[gate]
promote_to = "{registry}"
"""


def write(path: Path, quarter: str, tasks: Path) -> None:
    """Write the recipe of a quarter over that of the one before."""
    start = "" if quarter == FIRST else 'start_from = "champion"\n'
    text = _RECIPE.format(
        name=NAME,
        dumps=DUMPS,
        news=NEWS,
        withdrawn=WITHDRAWN,
        registry=REGISTRY,
        tasks=tasks,
        start=start,
        steps=STEPS[quarter],
        warmup_steps=STEPS[quarter] // 10,
        learning_rate=LEARNING_RATES[quarter],
        forgetting=FORGETTING.get(quarter, 0.05),
    )
    path.write_text(text + ("\n[replay]\nratio = 0.2\n" if start else ""), encoding="utf-8")
