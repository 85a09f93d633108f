"""The tasks that come with the program: an entry each. docs/evaluation.md has their sources and licences.

A list of paths or fields has an entry for each form in which the task's files are found; see `Task`.
"""

from dataclasses import replace

from workflows.evaluation.task import SPLITS, Task

_NLI = "does the second sentence follow from the first, contradict it, or neither?"
_PAIR = ("sentence1", "text_a", "text_1", "premise", "query", 1)
_OTHER = ("sentence2", "text_b", "text_2", "hypo", "hypothesis", "title", 2)
_YES_NO = ("0", "1")

TASKS: dict[str, Task] = {
    "sentiment": Task(
        kind="classification", files="sentiment/{split}.tsv", text="text_a", about="reviews of the demo corpus, good or bad"
    ),
    "entities": Task(
        kind="tagging", files="entities/{split}.txt", about="people, places, organisations in the demo corpus's news"
    ),
    "chnsenticorp": Task(
        kind="classification", files="chnsenticorp/{split}.tsv", text="text_a", about="ChnSentiCorp: reviews, good or bad"
    ),
    "thucnews": Task(
        kind="classification", files="thucnews/{split}.txt", text=1, label=2, about="THUCNews: topics of news, by their titles"
    ),
    "tnews": Task(
        kind="classification",
        files="tnews/{split}.json",
        text="sentence",
        optional=("test",),
        about="TNEWS: topics of news, by their titles",
    ),
    "iflytek": Task(
        kind="classification",
        files="iflytek/{split}.json",
        text="sentence",
        optional=("test",),
        about="IFLYTEK: what an app is for, by its description",
    ),
    "cluewsc": Task(
        kind="classification",
        files="cluewsc/{split}.json",
        format="wsc",
        text="text",
        optional=("test",),
        about="CLUEWSC2020: is this noun what the pronoun means?",
    ),
    "csl": Task(
        kind="pair",
        files="csl/{split}.json",
        text="abst",
        second="keyword",
        optional=("test",),
        about="CSL: are these the keywords of a paper?",
    ),
    "lcqmc": Task(
        kind="pair",
        files=("lcqmc/{split}.tsv", "lcqmc/{split}.txt"),
        text=_PAIR,
        second=_OTHER,
        label=("label", 3),
        labels=_YES_NO,
        optional=("train",),
        about="LCQMC: do two questions ask the same?",
    ),
    "bq": Task(
        kind="pair",
        files=("bq/{split}.csv", "bq/{split}.tsv", "bq/{split}.txt"),
        text=_PAIR,
        second=_OTHER,
        label=("label", 3),
        labels=_YES_NO,
        about="BQ: do two questions to a bank ask the same?",
    ),
    "afqmc": Task(
        kind="pair",
        files="afqmc/{split}.json",
        text="sentence1",
        second="sentence2",
        optional=("test",),
        about="AFQMC: do two questions to a bank ask the same?",
    ),
    "atec": Task(
        kind="pair",
        files="atec/{split}.csv",
        train=("atec/train.csv", "atec/atec_nlp_sim_train*.csv"),
        format="tsv",
        text=-3,
        second=-2,
        label=-1,
        labels=_YES_NO,
        optional=("dev", "test"),
        about="ATEC: do two questions to a bank ask the same?",
    ),
    "stsb": Task(
        kind="regression",
        files=("stsb/cnsd-sts-{split}.txt", "stsb/{split}.txt"),
        format="tsv",
        delimiter="||",
        text=2,
        second=3,
        label=4,
        about="STS-B, translated: how alike are two sentences, from 0 to 5?",
    ),
    "ocnli": Task(
        kind="pair",
        files="ocnli/{split}.json",
        train=("ocnli/train.json", *(f"ocnli/train.{size}.json" for size in ("50k", "30k", "10k", "3k"))),
        text="sentence1",
        second="sentence2",
        leave_out=("-",),
        optional=("test",),
        about=f"OCNLI: {_NLI}",
    ),
    "cmnli": Task(
        kind="pair",
        files="cmnli/{split}.json",
        text="sentence1",
        second="sentence2",
        leave_out=("-",),
        optional=("test",),
        about=f"CMNLI: {_NLI}",
    ),
    "xnli": Task(
        kind="pair",
        files=("xnli/{split}.tsv", "xnli/xnli.{split}.tsv"),
        train=("xnli/train.tsv", "xnli/multinli.train.zh.tsv"),
        text=("text_a", "premise", "sentence1"),
        second=("text_b", "hypo", "hypothesis", "sentence2"),
        label=("label", "gold_label"),
        aliases={"contradictory": "contradiction"},
        only={"language": "zh"},
        optional=("train",),
        about=f"XNLI: {_NLI}",
    ),
    "peoples_daily_ner": Task(
        kind="tagging", files="peoples_daily_ner/example.{split}", about="People's Daily: people, places, organisations"
    ),
    "msra_ner": Task(
        kind="tagging",
        files=("msra_ner/msra_{split}_bio.txt", "msra_ner/{split}.txt", "msra_ner/{split}.tsv"),
        text=("text_a", 1),
        label=("label", -1),
        separator="\x02",
        optional=("dev",),
        about="MSRA: people, places, organisations in news",
    ),
    "cluener": Task(
        kind="tagging",
        files="cluener/{split}.json",
        text="text",
        optional=("test",),
        about="CLUENER: ten types of entities in news",
    ),
    "weibo_ner": Task(
        kind="tagging",
        files=("weibo_ner/weiboNER_2nd_conll.{split}", "weibo_ner/weiboNER.conll.{split}"),
        format="conll",
        text=1,
        label=2,
        first_character=True,
        about="Weibo: names of people, places, organisations, and what they are called",
    ),
    "cmrc2018": Task(
        kind="reading",
        files="cmrc2018/cmrc2018_{split}.json",
        format="squad",
        optional=("test",),
        about="CMRC 2018: questions on Wikipedia",
    ),
    "drcd": Task(
        kind="reading",
        files="drcd/DRCD_{split}.json",
        train=("drcd/DRCD_training.json", "drcd/DRCD_train.json"),
        format="squad",
        about="DRCD: questions on Wikipedia of Taiwan",
    ),
    "c3": Task(
        kind="choice",
        files=("c3/*[dm]-{split}.json", "c3/{split}.json"),
        format="c3",
        optional=("test",),
        about="C3: questions of examinations on dialogues and texts",
    ),
    "chid": Task(
        kind="choice",
        files=("chid/{split}.json", "chid/{split}_data.txt", "chid/{split}.txt"),
        format="chid",
        optional=("test",),
        about="CHID: which idiom belongs here?",
    ),
    "nlpcc_dbqa": Task(
        kind="ranking",
        files="nlpcc_dbqa/{split}.tsv",
        text="text_a",
        second="text_b",
        group="qid",
        about="NLPCC-DBQA: which sentences of a document answer a question?",
    ),
}
DEMO_TASKS = ("sentiment", "entities")
"""Tasks whose files the stage `tasks` writes from the demo corpus."""
STS = "sts"
"""Instead of tasks, `evaluate --tasks` takes this for those of C-MTEB whose files are there."""
C_MTEB = ("stsb", "afqmc", "atec", "lcqmc", "bq")
"""Tasks whose texts C-MTEB compares by their vectors."""
_FOLLOWS = {"entailment": "1", "contradiction": "0"}
SIMILARITY: dict[str, Task] = {
    f"{STS}-{name}": replace(
        TASKS[name],
        kind="similarity",
        labels=(),
        aliases=_FOLLOWS if name.endswith("nli") else {},
        leave_out=("-", "neutral") if name.endswith("nli") else (),
        optional=SPLITS,
        about=f"vectors of texts, by their cosine: {TASKS[name].about}",
    )
    for name in (*C_MTEB, "ocnli", "cmnli")
}
"""Tasks whose texts are compared by their vectors, without fine-tuning."""
