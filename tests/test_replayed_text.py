"""Which text of earlier runs is used, by made folders: nothing is trained."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.engine.stages import Finished
from pipeline.tokenization.replay import gone_from
from workflows.continued import old_text


def made(root: Path, name: str, source: str = "", **inputs: str) -> Finished:
    """Write the manifest of a stage whose only file is named after its folder."""
    key = f"{len(list(root.iterdir())):012x}"
    labels = {"source": source, "licence": "CC0"} if source else {}
    content = {"stage": name, "key": key, "files": [{"name": "f", "sha256": name + key}], "inputs": inputs, **labels}
    folder = root / f"{name}-{key}"
    storage.write_json(str(folder / "manifest.json"), content)
    return Finished(str(folder), content)


def test_text_that_was_copied_before_is_used_once_and_newer_text_first(tmp_path: Path) -> None:
    """Two quarters in one folder, as of a schedule; the third one asks for their text."""
    before, now = made(tmp_path, "documents_news", "news"), made(tmp_path, "documents_news", "news")
    first = made(tmp_path, "tokens_news", "news", documents=before.digest)
    second = made(tmp_path, "tokens_news", "news", documents=now.digest)
    copied = made(tmp_path, "replay_old_news", "old_news", tokens_0=first.digest)
    shards = [made(tmp_path, f"shards_{text.source}", text.source, tokens=text.digest).digest for text in (second, copied)]
    trained = made(tmp_path, "checkpoint", **{"news/128": shards[0], "old_news/128": shards[1]})
    export = made(tmp_path, "export", checkpoint=trained.digest)
    (found,) = old_text.found(export.url)
    assert [one.url for one in found.tokens] == [second.url, copied.url]
    assert {one.url for one in found.documents} == {before.url, now.url}  # withdrawn text is looked for in both


def test_withdrawn_before_for_several_sources(tmp_path: Path) -> None:
    """A document that an earlier run had left out already has no copy there: its `kept_id` is null."""
    kept = {"news": [None, 9], "wiki": [None, None]}
    for source, ids in kept.items():
        table = {"id": pa.array([7, 8], pa.uint64()), "kept_id": pa.array(ids, pa.uint64())}
        pq.write_table(pa.table(table), tmp_path / f"dropped_{source}.parquet")
    files = [{"name": f"dropped_{source}.parquet"} for source in kept]
    dedup = Finished(str(tmp_path), {"stage": "dedup", "files": files})
    storage.write_json(str(tmp_path / "manifest.json"), {"stage": "dedup", "key": "", "files": []})
    assert gone_from([7, 8], [], [], [dedup]) == [7, 8, 9]
