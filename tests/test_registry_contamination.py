"""Which examples a model was trained on, from the stages that compared documents with evaluation files."""

from pathlib import Path
from typing import get_args

import pytest

from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup.decontamination import contamination
from pipeline.dedup.signatures import signatures
from pipeline.dedup.stage import dedup
from pipeline.engine.stages import Finished
from tests.made_documents import IN_LOOPS, generated, made
from workflows.evaluation.examples import Example
from workflows.evaluation.metrics import Metric
from workflows.registry import resampled
from workflows.registry.contaminated import contaminated

PARTLY, WHOLE, ABSENT, LITTLE = (text.replace("\n", "") for text in generated(11, 4))
NAMED = {"partly": PARTLY, "whole": WHOLE, "absent": ABSENT, "little": LITTLE}


@pytest.fixture
def stages(tmp_path: Path) -> list[Finished]:
    """A document has a third of one scored text, another is a scored text, a third has a few letters of one."""
    scored = tmp_path / "test.tsv"
    scored.write_text("label\ttext_a\n" + "".join(f"1\t{text}\n" for text in (PARTLY, WHOLE, ABSENT, LITTLE)))
    others = generated(12, 4)
    third = PARTLY[: max(len(PARTLY) // 3, 40)]
    texts = [f"{others[0]}\n{third}\n{others[1]}", WHOLE, others[2], f"{others[3]}\n{LITTLE[:14]}"]
    url, source, config = str(tmp_path / "runs"), SourceConfig(name="news", kind="text"), DedupConfig()
    leaks = DecontaminationConfig(inputs=(str(scored),), min_matching_ngrams=10_000)
    documents = made(url, "news", texts)
    signed = signatures(source, documents, config, url, execution=IN_LOOPS)
    found = contamination(source, documents, leaks, url, execution=IN_LOOPS)
    off = {"news": FilterConfig(judge_from_characters=10**9)}
    decided = dedup([source], [documents], [signed], [found], off, config, [], url, decontamination=leaks, execution=IN_LOOPS)
    return [documents, found, decided]


def test_what_is_in_a_kept_document_in_part_is_contaminated(stages: list[Finished]) -> None:
    assert stages[2].manifest["counts"]["news"]["dropped"] == {"contaminated": 1}
    found = contaminated(stages)
    assert found is not None
    seen = {name: bool(set(Example((text,), ("1",)).starts) & set(found)) for name, text in NAMED.items()}
    # The document that is a scored text was dropped: the model never saw it. A few letters are no contamination.
    assert seen == {"partly": True, "whole": False, "absent": False, "little": False}
    assert contaminated([stages[0], stages[2]]) is None


def test_every_metric_of_evaluation_can_be_resampled() -> None:
    assert set(get_args(Metric)) <= set(resampled.FORMS)
