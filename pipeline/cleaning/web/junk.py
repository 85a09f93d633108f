"""How probable it is that a web page is junk, from several measures at once: what no single sign of measures.py gives away.

    title                     text                                        junk  signs
    铝单板的应用范围            铝单板是一种新型的幕墙材料，铝单板的……           0.52  title repeated in the text, praise
    讣告                       我校退休教师、原化学系副主任程志远先生……           0.01

A logistic regression on the measures of SIGNS, with the weights of junk.json (benchmarks/junk_weights.py trains them; its
docstring says on what). The sign of each weight is given here, so that every measure speaks for what its name says.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array, Flags, Floats, Ints, Strings
from pipeline.cleaning.characters import Batch
from pipeline.cleaning.web import phrases
from pipeline.cleaning.web.lines import TITLE_PARTS
from pipeline.cleaning.web.measures import in_simplified, title_points

COLUMNS: list[tuple[str, pa.DataType]] = [("junk", pa.float32()), ("junk_signs", pa.string())]
SIGNS: Mapping[str, tuple[int, str, str]] = {
    "advertising": (1, "advertising", ""),
    "firm": (1, "firm in the title", ""),
    "stuffed": (1, "title repeated in the text", ""),
    "advice": (1, "advice that sells", ""),
    "searched": (1, "words for search engines", ""),
    "contact": (1, "whom to contact", ""),
    "praise": (1, "praise", ""),
    "reader": (1, "talk to the reader", ""),
    "spam": (1, "phrases of spam", ""),
    "listing": (1, "lines that are no sentences", ""),
    "people": (-1, "", "no people"),
    "facts": (-1, "", "no dates or quotations"),
    "grammar": (-1, "", "no words of a story"),
    "reasons": (-1, "", ""),
    "latin": (-1, "", ""),
}
"""The measures: 1 speaks for junk, -1 against it; what is said of a page where much of it, or its absence, speaks for junk."""
WEIGHTS = "junk.json"
CLIP = 2.5
"""Standard deviations beyond which a measure tells nothing more."""
_READ = 3_000
"""Characters of a text that are looked at."""
_SMOOTHING = 150
"""Characters added to a text's length, so that one word does not condemn a short text."""
_HEAD, _PHRASE = 20, 3
_BY_CHANCE = 2
"""Characters of a title that are looked for in the text, those of its shortest phrases, and how often one may be there by
chance."""
_MAX_STUFFED = 0.25
"""Ratio of a text's characters in one phrase above which a page is not worse."""
_DOUBTFUL, _SHOWN, _NAMED = 0.2, 3, 0.15
"""Probability from which a page's measures are named, how many, and the least that one must have added to the score."""
_PEOPLE = """
    我 他 她 咱 俺 说 道 问 笑 哭 记得 告诉 觉得 想起 记者 表示 介绍 指出 认为 获悉 据悉 透露 强调 称 昨天 昨日
    今天 日前 近日 去年 今年 上午 下午 晚上 当时 后来 本报 会议 先生 女士 老师 师傅 教授 主任 书记 局长 院长
    校长 经理 爷爷 奶奶 妈妈 父亲 母亲 爸爸 孩子 老人 同学 司机 民警 医生 法院 县 村 镇 区 省 街 乡 楼
"""
_PRAISE = """
    先进 优质 优良 良好 广泛 有效 提高 方便 美观 健康 完善 丰富 优势 优点 特点 具有 采用 理想 高效 环保 安全
    稳定 便捷 卓越 精心 精湛 满意 一流 领先 独特 品位 舒适 轻松 保障 正规 靠谱 放心 科学 合理 显著 全面 现代
    打造 享受 提升 值得 首选 承接 承诺 秉承 坚持 致力 共赢 携手 未来 不断 广大 多样 适用 适合
"""
_READER = "您 你 大家 我们 朋友 消费 用户 客户 患者 顾客 家长 业主 企业 人们 小伙 亲 业内 孕妇 投资 创业 生活 小编 网友"
_SEARCHED = "下载 大全 官网 最新 查询 高清 入口 全集 排行 攻略 报名 在线 完整 哪家 本站"
_REASONS = "例如 比如 譬如 因为 如果 假设 否则 反之 所谓 相等 大于 小于 叫做 称为 证明 计算"
_GRAMMAR = "了 着 过 吧 啊 呀 嘛 却 才 又 就 还 都 没 把 被 只 那"
_FACTS = "“ 「 《"
_NUMERALS, _UNITS = "0123456789０１２３４５６７８９一二三四五六七八九十百", "年月日号时点岁条%％℃"
_COUNTED = {
    "people": _PEOPLE,
    "praise": _PRAISE,
    "reader": _READER,
    "searched": _SEARCHED,
    "grammar": _GRAMMAR,
    "reasons": _REASONS,
    "facts": _FACTS,
}
_NO_TABLE = len(_COUNTED)


def judge(
    pages: Sequence[tuple[str, str]], scripts: Strings, measures: Mapping[str, Array], is_web: bool = True
) -> dict[str, Array]:
    """Return the columns of COLUMNS, one value per page: how probable it is that it is junk, and what says so.

    Args:
        pages: as in `measures.measure`.
        scripts: of language.py. Words are looked for in simplified Chinese.
        measures: of quality.py and of measures.py.
        is_web: False: these are no web pages, and nothing is looked at.
    """
    if not (is_web and pages):
        return {"junk": np.zeros(len(pages), np.float32), "junk_signs": np.full(len(pages), "", object)}
    values = features(pages, scripts, measures)
    mean, deviation, weights, bias = _weights()
    parts = np.clip((values - mean) / deviation, -CLIP, CLIP) * weights
    junk = (1 / (1 + np.exp(-(parts.sum(1) + bias)))).astype(np.float32)
    signs = [_named(row) if value >= _DOUBTFUL else "" for row, value in zip(parts, junk.tolist(), strict=True)]
    return {"junk": junk, "junk_signs": np.array(signs, object)}


def features(pages: Sequence[tuple[str, str]], scripts: Strings, measures: Mapping[str, Array]) -> Floats:
    """Return the values of SIGNS for some pages: (pages, signs)."""
    both = [in_simplified(title, text, script) for (title, text), script in zip(pages, scripts.tolist(), strict=True)]
    texts = [text[:_READ] for _, text in both]
    counts = _counts(texts)
    counts["advice"] = np.array([len(phrases.ADVICE.findall(text)) for text in texts])
    contacts = np.array([len(phrases.CONTACT.findall(text)) for _, text in both])
    per_thousand = 1_000 / (np.array([len(text) for text in texts]) + _SMOOTHING)
    columns = {name: np.log1p(number * per_thousand) for name, number in counts.items()}
    columns["firm"] = np.array([phrases.FIRM_SITE.search(title) is not None for title, _ in both])
    columns["contact"] = np.minimum(contacts, 2)
    columns["stuffed"] = np.array([_stuffed(title, text) for (title, _), text in zip(both, texts, strict=True)])
    titles = np.array([title_points(title) for title, _ in both])
    columns["advertising"] = np.clip(measures["advertising"] - titles, 0, 15) / 5
    columns["spam"] = np.minimum(measures["spam"], 3)
    columns["listing"] = measures["listing"]
    columns["latin"] = np.minimum(measures["latin_share"], 0.2)
    return np.stack([columns[name] for name in SIGNS], 1).astype(np.float64)


def _counts(texts: Sequence[str]) -> dict[str, Ints]:
    """Return how many words of each table each text has, all at once."""
    batch = Batch.of(texts)
    points = np.minimum(batch.points, 0xFFFF)
    words = _words()
    of_character = words.of_character.take(points)
    first = np.flatnonzero(words.is_first.take(points[:-1]))
    keys = points[first].astype(np.int64) << 16 | points[first + 1]
    place = np.minimum(np.searchsorted(words.pairs, keys), len(words.pairs) - 1)
    found = words.pairs[place] == keys
    dated = np.flatnonzero(words.is_numeral.take(points[:-1]) & words.is_unit.take(points[1:]))
    single = np.flatnonzero(of_character != _NO_TABLE)
    places = np.concatenate([single, first[found], dated])
    tables = np.concatenate(
        [of_character[single], words.of_pair[place[found]], np.full(len(dated), list(_COUNTED).index("facts"))]
    )
    size = len(_COUNTED)
    counts = np.bincount(batch.texts[places] * np.int64(size) + tables, minlength=len(texts) * size).reshape(-1, size)
    return {name: counts[:, column] for column, name in enumerate(_COUNTED)}


@dataclass(frozen=True)
class _Words:
    """The words of the tables, by code point."""

    of_character: Ints
    """The table of each character that is a word; _NO_TABLE for others."""
    is_first: Flags
    """Whether a word of two characters starts with this one."""
    pairs: Ints
    """Words of two characters, sorted: the first times 2^16, plus the second."""
    of_pair: Ints
    is_numeral: Flags
    is_unit: Flags


@functools.cache
def _words() -> _Words:
    of_character = np.full(0x10000, _NO_TABLE, np.int64)
    is_first, is_numeral, is_unit = np.zeros((3, 0x10000), np.bool_)
    pairs: dict[int, int] = {}
    for table, words in enumerate(_COUNTED.values()):
        for word in words.split():
            if len(word) == 1:
                of_character[ord(word)] = table
            else:
                is_first[ord(word[0])] = True
                pairs[ord(word[0]) << 16 | ord(word[1])] = table
    is_numeral[[*map(ord, _NUMERALS)]] = True
    is_unit[[*map(ord, _UNITS)]] = True
    known = sorted(pairs)
    return _Words(of_character, is_first, np.array(known), np.array([pairs[key] for key in known]), is_numeral, is_unit)


def _stuffed(title: str, text: str) -> float:
    """Return the ratio of a text's characters in the phrase of its title that comes back most; 0 if none does beyond chance."""
    head = TITLE_PARTS.split(title)[0].strip()[:_HEAD]
    most = 0
    for start in range(len(head) - _PHRASE + 1):
        end = start + _PHRASE
        while end <= len(head) and (again := text.count(head[start:end])) > _BY_CHANCE:
            most = max(most, again * (end - start))
            end += 1
    return min(most / max(1, len(text)), _MAX_STUFFED)


def _named(parts: Floats) -> str:
    """Return the names of the measures that add most to a page's score."""
    names = [much if value > 0 else none for value, (_, much, none) in zip(parts * _DIRECTIONS, SIGNS.values(), strict=True)]
    most = [place for place in np.argsort(-parts, kind="stable").tolist() if parts[place] >= _NAMED and names[place]]
    return ", ".join(names[place] for place in most[:_SHOWN])


_DIRECTIONS = np.array([direction for direction, _, _ in SIGNS.values()], np.float64)


@functools.cache
def _weights() -> tuple[Floats, Floats, Floats, float]:
    """Return means, standard deviations and weights of SIGNS, and the bias."""
    stored = json.loads((resources.files(__package__) / WEIGHTS).read_text(encoding="utf-8"))
    mean, deviation, weights = (
        np.array([stored["signs"][name][value] for name in SIGNS]) for value in ("mean", "deviation", "weight")
    )
    return mean, deviation, weights, float(stored["bias"])
