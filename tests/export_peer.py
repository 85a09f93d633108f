"""What programs do with an export, run by another release of transformers than ours: see tests/test_export_programs.py.

    python export_peer.py TOPIC WORK KIND=FOLDER...      {"problems": {"KIND": ["what is not as it should be", ...], ...}}

BERT's own class, with weights made here, is taken through the same checks as the kind `bert`: it says what is to be expected.
"""
# mypy: allow-untyped-calls, disable-error-code="attr-defined,import-not-found,union-attr,misc,assignment"

import json
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

TRUST = {"trust_remote_code": True}
CLASSES: dict[str, Any] = {
    "AutoModel": AutoModel,
    "AutoModelForPreTraining": AutoModelForPreTraining,
    "AutoModelForMaskedLM": AutoModelForMaskedLM,
    "AutoModelForSequenceClassification": AutoModelForSequenceClassification,
    "AutoModelForTokenClassification": AutoModelForTokenClassification,
    "AutoModelForQuestionAnswering": AutoModelForQuestionAnswering,
}
LENGTHS = (10, 65, 66, 150)
"""Beyond the clip of the exports (6), and around that of the released weights."""
Problems = Iterator[str]


def load(auto: Any, folder: Path, **settings: Any) -> Any:
    return auto.from_pretrained(folder, **TRUST, **settings).eval()


def batch(length: int, rows: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return ids, a mask with padding in the last row, and segments."""
    ids = torch.randint(5, 28, (rows, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[-1, length // 2 + 1 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (torch.arange(length) > 3).long().expand(rows, -1)}


def first(output: Any) -> torch.Tensor:
    """Return hidden states or logits."""
    found: torch.Tensor = output[0] if isinstance(output, tuple | list) else next(iter(output.values()))
    return found


def differs(found: torch.Tensor, expected: torch.Tensor, where: str, tolerance: float = 1e-4) -> Problems:
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else float("nan")
    if not difference <= tolerance:
        yield f"{where}: differs by {difference:.2g}"


def heads(folder: Path, work: Path) -> Problems:
    """Heads that a folder lacks are initialised, whatever was in memory; what it has is kept, also within one module."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # with NaN
    sources = {"base": AutoModel, "classifier": AutoModelForSequenceClassification}
    for name, auto in sources.items():
        load(auto, folder).save_pretrained(work / name)
    weights = whole_weights(folder)
    partial = work / "partial"
    shutil.copytree(folder, partial)
    lost = ("embeddings.LayerNorm.bias", "layer.0.output.dense.bias", "layer.1.attention.output.LayerNorm.weight")
    lost += ("cls.predictions.bias", "cls.predictions.transform.dense.weight", "layer.0.attention.self.relative_keys.weight")
    write_weights({key: weight for key, weight in weights.items() if not key.endswith(lost)}, partial)
    for source in ("base", "classifier", "partial"):
        for name, auto in CLASSES.items():
            model, info = auto.from_pretrained(work / source, output_loading_info=True, **TRUST)
            missing = set(info["missing_keys"])
            yield from (f"{name} from {source}: {found}" for found in initialised(model, missing, weights))
            output = model(**batch(10))
            if not all(bool(part.isfinite().all()) for part in output.values()):
                yield f"{name} from {source}: not finite"


def initialised(model: Any, missing: set[str], weights: dict[str, torch.Tensor]) -> Problems:
    """Missing weights are those of a new model, all others those of the file."""
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    prefix = model.base_model_prefix + "."
    missing = missing | {name.removeprefix(prefix) for name in missing}  # release 4.46 reports a base model's under both
    for name, weight in model.named_parameters():
        values = weight.detach()
        if name in missing - tied:
            if name.endswith("LayerNorm.weight"):
                good = bool((values == 1).all())
            elif name.endswith("bias"):
                good = bool((values == 0).all())
            else:
                good = bool(values.isfinite().all()) and 0 < float(values.abs().max()) < 1
            if not good:
                yield f"{name} is not initialised: {values.flatten()[:3].tolist()}"
        elif (stored := weights.get(name, weights.get(prefix + name))) is not None and not torch.equal(values, stored):
            yield f"{name} is not what was stored"


def whole_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return found


def write_weights(weights: dict[str, torch.Tensor], folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def saving(folder: Path, work: Path) -> Problems:
    """`save_pretrained` writes a folder that loads and computes the same, also with new tokens and larger embeddings."""
    inputs = batch(20)
    for name, auto in CLASSES.items():
        model = load(auto, folder)
        model.save_pretrained(work / name)
        AutoTokenizer.from_pretrained(folder, **TRUST).save_pretrained(work / name)
        with torch.no_grad():
            again = load(auto, work / name)
            yield from differs(first(again(**inputs)), first(model(**inputs)), f"{name} saved")
            again.save_pretrained(work / f"{name} twice")
            yield from differs(
                first(load(auto, work / f"{name} twice")(**inputs)), first(model(**inputs)), f"{name} saved twice"
            )
    yield from grown(folder, work)
    model.save_pretrained(work / "parts", max_shard_size="5KB")
    if not (work / "parts" / "model.safetensors.index.json").exists():
        yield "not saved in parts"
    with torch.no_grad():
        yield from differs(first(load(auto, work / "parts")(**inputs)), first(model(**inputs)), "saved in parts")
    AutoConfig.from_pretrained(folder, **TRUST).save_pretrained(work / "configuration")
    if AutoConfig.from_pretrained(work / "configuration", **TRUST).vocab_size != 28:
        yield "the configuration alone is not what was saved"


def grown(folder: Path, work: Path) -> Problems:
    inputs = batch(20)
    for name in ("AutoModelForMaskedLM", "AutoModelForPreTraining", "AutoModel"):
        model, tokenizer = load(CLASSES[name], folder), AutoTokenizer.from_pretrained(folder, **TRUST)
        with torch.no_grad():
            before = first(model(**inputs))
        added = tokenizer.add_tokens(["新词", "[NEW]"])
        model.resize_token_embeddings(len(tokenizer))
        target = work / f"{name} grown"
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
        again = load(CLASSES[name], target)
        again_tokens = AutoTokenizer.from_pretrained(target, **TRUST)
        ids = again_tokens("今新词天", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            after, found = first(again(**inputs)), first(again(ids))
        if added != 2 or again.config.vocab_size != 30 or int(ids.max()) != 28 or not found.isfinite().all():
            yield f"{name} with new tokens: {added} added, {again.config.vocab_size} tokens, ids {ids.tolist()}"
        yield from differs(after[..., : before.shape[-1]], before, f"{name} with new tokens")
        if name == "AutoModelForMaskedLM":
            tied = again.get_output_embeddings().weight is again.get_input_embeddings().weight
            if after.shape[-1] != 30 or not tied:
                yield f"{name} with new tokens: {after.shape[-1]} scores, tied {tied}"


def trainer(folder: Path, work: Path) -> Problems:
    """Trainer trains, saves checkpoints that load, and resumes from them."""
    from transformers import Trainer, TrainingArguments

    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # release 4.46 resumes from pickles, which torch 2.6 refuses
    data = [{"input_ids": [2, 6, 7, 8, 3], "labels": label} for label in (0, 1, 2) * 4]
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "save_steps": 2,
        "max_steps": 4,
        "report_to": [],
        "use_cpu": True,
    }
    options = TrainingArguments(output_dir=str(work / "run"), learning_rate=1e-3, disable_tqdm=True, **arguments)
    model = load(AutoModelForSequenceClassification, folder, num_labels=3)
    before = model.classifier.weight.detach().clone()
    losses = Trainer(model=model, args=options, train_dataset=data).train()
    if not losses.training_loss > 0 or torch.equal(before, model.classifier.weight):
        yield f"nothing was trained: loss {losses.training_loss}"
    model.eval()
    with torch.no_grad():
        again = load(AutoModelForSequenceClassification, work / "run" / "checkpoint-4")
        yield from differs(again(**batch(9)).logits, model(**batch(9)).logits, "the checkpoint")
    second = Trainer(model=load(AutoModelForSequenceClassification, folder, num_labels=3), args=options, train_dataset=data)
    second.train(resume_from_checkpoint=str(work / "run" / "checkpoint-2"))
    second.model.eval()
    with torch.no_grad():
        yield from differs(second.model(**batch(9)).logits, model(**batch(9)).logits, "resumed", 1e-3)


def sentences(folder: Path, work: Path) -> Problems:
    """sentence-transformers embeds, trains, saves and loads; so does its CrossEncoder."""
    from sentence_transformers import CrossEncoder, SentenceTransformer, losses

    texts = ["今天天气很好", "北京", "今天" * 100]
    model = SentenceTransformer(str(folder), device="cpu", **TRUST)
    tokenizer = AutoTokenizer.from_pretrained(folder, **TRUST)
    if model.get_max_seq_length() not in (None, tokenizer.model_max_length):
        yield f"texts are cut at {model.get_max_seq_length()}"
    found = torch.from_numpy(model.encode(texts[:2]))
    with torch.no_grad():
        tokens = tokenizer(texts[:2], padding=True, return_tensors="pt")
        hidden, seen = first(load(AutoModel, folder)(**tokens)), tokens["attention_mask"][..., None]
    yield from differs(found, (hidden * seen).sum(1) / seen.sum(1), "vectors")
    if not torch.from_numpy(model.encode(texts)).isfinite().all():
        yield "vectors of a long text are not finite"
    loss = losses.CosineSimilarityLoss(model)
    features = [model.tokenize([one]) for one in texts[:2]]
    value = loss(features, torch.tensor([0.5]))
    value.backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    trained = torch.from_numpy(model.encode(texts[:2]))
    if torch.equal(trained, found):
        yield "nothing was trained"
    model.save(str(work / "sentences"))
    again = SentenceTransformer(str(work / "sentences"), device="cpu", **TRUST)
    yield from differs(torch.from_numpy(again.encode(texts[:2])), trained, "saved vectors")
    pairs = [(texts[0], texts[1]), (texts[1], texts[2])]
    cross = CrossEncoder(str(folder), num_labels=1, device="cpu", **TRUST)
    scores = torch.as_tensor(cross.predict(pairs))
    cross.save_pretrained(str(work / "cross"))
    again_cross = CrossEncoder(str(work / "cross"), device="cpu", **TRUST)
    yield from differs(torch.as_tensor(again_cross.predict(pairs)), scores, "saved scores")


def tracing(folder: Path, work: Path) -> Problems:
    """Graphs that were recorded at one length are exact at others, or refuse them."""
    most = getattr(AutoConfig.from_pretrained(folder, **TRUST), "max_position_embeddings", None) or 1_000
    for implementation in ("sdpa", "eager"):
        model = load(AutoModel, folder, attn_implementation=implementation)
        plain = Plain(model).eval()
        example = tuple(batch(10).values())
        with torch.no_grad():
            for name, record in (("jit.trace", traced), ("ONNX", classic_onnx), ("export", exported)):
                try:
                    graph = record(plain, example, work, most)
                except Exception as error:
                    yield f"{name}, {implementation}: {type(error).__name__} {str(error)[:300]}"
                    continue
                for length in LENGTHS:
                    inputs = tuple(batch(length, rows=3).values())
                    if length <= most:
                        seen = inputs[1].bool()
                        found, expected = graph(*inputs), plain(*inputs)
                        yield from differs(found[seen], expected[seen], f"{name}, {implementation}, {length} tokens")


class Plain(torch.nn.Module):
    """A model with positional arguments, whose result is a tensor."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, token_type_ids=segments, return_dict=False)[0]
        return hidden


Graph = Callable[..., torch.Tensor]


def traced(model: torch.nn.Module, example: tuple[torch.Tensor, ...], work: Path, most: int) -> Graph:
    graph: Graph = torch.jit.trace(model, example, check_trace=False)
    return graph


def classic_onnx(model: torch.nn.Module, example: tuple[torch.Tensor, ...], work: Path, most: int) -> Graph:
    import onnxruntime

    path, names = str(work / "model.onnx"), ["ids", "mask", "segments"]
    axes = {name: {0: "batch", 1: "length"} for name in [*names, "hidden"]}
    settings: dict[str, Any] = {"input_names": names, "output_names": ["hidden"], "dynamic_axes": axes, "opset_version": 17}
    torch.onnx.export(model, example, path, dynamo=False, **settings)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return run


def exported(model: torch.nn.Module, example: tuple[torch.Tensor, ...], work: Path, most: int) -> Graph:
    length = torch.export.Dim("length", min=2, max=most)
    shapes = tuple({0: torch.export.Dim("batch", min=2), 1: length} for _ in example)
    graph: Graph = torch.export.export(model, example, dynamic_shapes=shapes).module()
    return graph


def masks(folder: Path, work: Path) -> Problems:
    """A mask with a row for each query: two texts in one row do not see each other."""
    kind = AutoConfig.from_pretrained(folder, **TRUST)
    relative = getattr(kind, "positions", "absolute") != "absolute"
    for implementation in ("sdpa", "eager"):
        model = load(AutoModel, folder, attn_implementation=implementation)
        for length in (9, 70) if relative else (9, 20):
            inputs = batch(length)
            seen = inputs["attention_mask"]
            with torch.no_grad():
                expected = first(model(**inputs))[seen.bool()]
                rows = seen[:, None].expand(-1, length, -1)
                for name, mask in (("2 floats", seen.float()), ("2 bools", seen.bool()), ("3", rows), ("3 bools", rows.bool())):
                    found = first(model(**{**inputs, "attention_mask": mask}))[seen.bool()]
                    yield from differs(found, expected, f"{name}, {implementation}, {length} tokens")
                yield from four(model, inputs, expected, f"{implementation}, {length} tokens")
                if relative:
                    yield from packed(model, length, implementation)


def four(model: Any, inputs: dict[str, torch.Tensor], expected: torch.Tensor, where: str) -> Problems:
    seen = inputs["attention_mask"]
    rows = seen[:, None, None].expand(-1, 1, seen.shape[1], -1)
    added = torch.zeros(rows.shape).masked_fill(rows == 0, torch.finfo(torch.float32).min)
    for name, mask in (("4 bools", rows.bool()), ("4, to be added", added)):
        try:
            found = first(model(**{**inputs, "attention_mask": mask}))[seen.bool()]
        except (ValueError, RuntimeError) as error:
            yield f"{name}, {where}: {type(error).__name__}"
        else:
            yield from differs(found, expected, f"{name}, {where}")


def packed(model: Any, length: int, implementation: str) -> Problems:
    ids = torch.cat((batch(length)["input_ids"][:1], batch(length, seed=1)["input_ids"][:1]))
    text = torch.arange(2 * length) // length
    mask = (text[:, None] == text)[None].long()
    apart = first(model(ids))
    together = first(model(ids.reshape(1, -1), attention_mask=mask)).reshape(apart.shape)
    yield from differs(together, apart, f"two texts in a row, {implementation}, {length} tokens")


def labels(folder: Path, work: Path) -> Problems:
    """The loss follows from labels and `problem_type` as in BERT's own class."""
    whole, several = torch.tensor([1, 0]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    numbers = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.5, 0.0]])
    functions = torch.nn.functional
    for name, given, settings, kind, loss in (
        ("classes", whole, {"num_labels": 3}, "single_label_classification", functions.cross_entropy),
        ("several", several, {"num_labels": 3}, "multi_label_classification", functions.binary_cross_entropy_with_logits),
        ("number", numbers[:, 0], {"num_labels": 1}, "regression", lambda logits, one: functions.mse_loss(logits[:, 0], one)),
        ("numbers", numbers, {"num_labels": 3, "problem_type": "regression"}, "regression", functions.mse_loss),
    ):
        model = load(AutoModelForSequenceClassification, folder, **settings)
        output = model(**batch(9), labels=given)
        if model.config.problem_type != kind:
            yield f"{name}: {model.config.problem_type}, not {kind}"
        yield from differs(output.loss, loss(output.logits, given), name, 1e-6)


def offload(folder: Path, work: Path) -> Problems:
    """Weights that are only brought in while a module runs give the same numbers."""
    import accelerate

    inputs = batch(70 if "absolute" not in folder.name and "bert" not in folder.name else 20)
    without = {name: value for name, value in inputs.items() if name != "token_type_ids"}
    for name, auto in CLASSES.items():
        load(auto, folder).save_pretrained(work / name)  # new heads are random: keep one
        saved = work / name
        with torch.no_grad():
            model = load(auto, saved)
            expected, expected_without = first(model(**inputs)), first(model(**without))
            moved = accelerate.cpu_offload(load(auto, saved), execution_device="cpu")
            yield from differs(first(moved(**inputs)), expected, f"{name}, cpu_offload")
            yield from differs(first(moved(**without)), expected_without, f"{name}, cpu_offload without segments")
            model.tie_weights()
            stored = accelerate.disk_offload(model, str(work / f"{name} offloaded"), execution_device="cpu")
            yield from differs(first(stored(**inputs)), expected, f"{name}, disk_offload")
            mapped = load(auto, saved, device_map=places(load(auto, saved)), offload_folder=str(work / f"{name} mapped"))
            yield from differs(first(mapped(**inputs)), expected, f"{name}, device_map")


def places(model: Any) -> dict[str, str]:
    """Return a device map with the blocks on disk."""
    own = {name: "cpu" for name, _ in model.named_children()}
    if (base := model.base_model) is model:
        return {**own, "encoder": "disk"}
    prefix = own.pop(model.base_model_prefix) and model.base_model_prefix
    return {**own, **{f"{prefix}.{name}": "disk" if name == "encoder" else "cpu" for name, _ in base.named_children()}}


def surroundings(folder: Path, work: Path) -> Problems:
    """A model loads and computes with what the environment allows; the test sets that."""
    model, tokenizer = load(AutoModelForMaskedLM, folder), AutoTokenizer.from_pretrained(folder, **TRUST)
    with torch.no_grad():
        if not model(**tokenizer("今天", return_tensors="pt")).logits.isfinite().all():
            yield "not finite"


def stale(folders: dict[str, Path], work: Path) -> dict[str, list[str]]:
    """`newer` computes with its own code, as it did first, and `other`, whose code is older, with its own."""
    with torch.no_grad():
        found = {kind: first(load(AutoModel, folder)(**batch(9))) for kind, folder in folders.items()}
    problems = ["older code and newer code compute the same"] if torch.equal(found["other"], found["newer"]) else []
    before = work / "before.pt"
    if before.exists():
        problems += differs(found["newer"], torch.load(before), "with older code in the cache")
    torch.save(found["newer"], before)
    return {"newer": problems}


TOPICS = {found.__name__: found for found in (heads, saving, trainer, sentences, tracing, masks, labels, offload, surroundings)}


def bert(folder: Path, like: Path) -> None:
    """Write a BERT as small as the exports, with their tokenizer."""
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(5)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=28, max_position_embeddings=40, initializer_range=0.2, **sizes)
    BertForPreTraining(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(like, **TRUST).save_pretrained(folder)


def main(topic: str, work: Path, *named: str) -> None:
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    folders = {kind: Path(folder) for kind, folder in (one.split("=", 1) for one in named)}
    if topic == "stale":
        print(json.dumps({"transformers": transformers.__version__, "problems": stale(folders, work)}, ensure_ascii=False))
        return
    if topic != "surroundings":
        folders["bert"] = work / "bert"
        bert(folders["bert"], folders["absolute"])
    problems: dict[str, list[str]] = {}
    for kind, folder in folders.items():
        own = work / f"{topic}-{kind}"
        own.mkdir(parents=True, exist_ok=True)
        problems[kind] = []
        try:
            problems[kind] += TOPICS[topic](folder, own)
        except Exception:
            problems[kind].append(traceback.format_exc(limit=-3))
    print(json.dumps({"transformers": transformers.__version__, "problems": problems}, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
