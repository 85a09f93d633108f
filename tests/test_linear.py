"""Whatever a record holds, cleaning and masking take time in proportion to its length: no run of signs hangs a worker.

Each run is repeated to 200,000 characters and goes through what is done with the text of a record, in a process of its own. A
pattern that goes back and forth would need thousands of times the time of the others: the limit is minutes for all together.
"""

import subprocess
import sys

import pytest

LIMIT_SECONDS = 300
# fmt: off
RUNS = (
    "<", ">", "&", "(", ")", "（", "【", "[", "{", "“", '"', "'", "`", "\\", "/", "|", "#", "*", "-", "=", "_", "~",
    "+", ".", "．", "。", "！", "!", "?", "…", ";", "；", "，", ",", ":", "：", "@", "＠", "$", "%", "^", "·", "—",
    "\x00", "�", " ", "\t", "\n", "\r", "\r\n", "\u3000", "\u2028", "\x0b", "\u200b", "\u200d", "️", "́",
    "👩\u200d", "\U000e0067", "🏴\U000e0067", "中", "一", "⼀", "a", "A", "0", "１", "1-", "1 ", "1.", "1,", "1/",
    "13800138000", "138 ", "62 ", "8.8.120.33 ", "2001:", "::", "+86", "http://", "www.", "a@", "a@b.", "@a.cn",
    "a.", "QQ", "QQ：", "微信", "微信号", "密码：", "加V", "#qq.", " at ", "(at)", "京A", "<a ", "<a =", "<p ",
    "<p a=", "<p a='", '<p a="', "<b>", "</b>", "<p>", "<div>", "</div>", "<table>", "<font>", "<!--", "-->",
    "<script>", "</script", "<style>", "<title>", "<head>", "<html><head>", "<!doctype", "<svg>", "<select>", "<a<",
    "< ", "&amp;", "&amp", "&#", "&#1", "&nbsp", "&amp;amp;", "＆lt；", "&lt;p&gt;", "&a", "\\n", "\\u6709",
    "\\ud83d", "\\\\", '\\"', "C:\\", "C:\\\\n", '"\\n', "'\\n", "`\\n", "来源：", "来源：网 ", "责任编辑",
    "责任编辑：王 ", "（记者张三）", "。（记者张三）", "（编辑：", "【编辑", "作者：李 ", "记者 李 ", "原标题：",
    "2019-07-20 ", "2019-07-20 10:15 来源：网 ", "上一篇 ", "上一篇：甲 下一篇：乙 ", "点击", "分享到：", "分享 ",
    "关注", "扫描二维码", "首页 ", "关于我们", "首页", "版权所有", "声明：", "转载", "如有侵权", "来自网络",
    "文/张 ", "第1版(", "标签：", "Copyright © ", "评论", "更多", "打印 ", "相关阅读", "京ICP备1", "猜你喜欢",
    "来源：网\n", "记者 李某\n", "责任编辑：王\n", "甲。责任编辑：王\n", "-\n", "— ", "=-", "-=\n", "* ", "━",
    "他说：\n", "1.\n", "第一.", "迈克.", "中.", "中.”", "“好。”", "好！”", "！”", "?!", "a. ", "Mr. ", "A.B.",
    "．．．", "...", "。。。", "…a", "B超", "a1%", "1%", "T恤", "+#", "の", "한",
)
# fmt: on
SIZE = 200_000
PROGRAM = """
import sys
from pipeline.cleaning import cleaning, forms, language, markup, pii, quality
from pipeline.cleaning.web import lines, measures
from pipeline.tokenization.sentences import sentence_ends

runs, size = eval(sys.stdin.read())
for run in runs:
    print(repr(run), flush=True)
    text = run * (size // len(run))
    mixed = ("中" + run) * (size // (len(run) + 1)), (run + "中文他说") * (size // (len(run) + 4))
    for one in (text, "中文" + text + "好", *mixed):
        markup.holds_html(one), markup.is_markdown(one)
        cleaned = cleaning.clean(cleaning.clean(one)[0], markup=True)[0]
        pii.mask(one)
        sentence_ends(cleaned)
    found = quality.measure([text])
    languages, scripts = language.detect([text])
    measures.measure([(text, text)], forms.recognise([text], languages, found), scripts, found)
    lines.without_site(text), lines.without_keywords(text)
    cleaning.fingerprints([text])
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("runs", [RUNS[start::8] for start in range(8)])
def test_no_run_of_signs_hangs_a_worker(runs: tuple[str, ...]) -> None:
    done = run_program(runs, SIZE)
    assert len(done) == len(runs)


def test_short_runs_are_done_at_once() -> None:
    """The same at a length at which time in the square of the length is bearable, and in its cube is not."""
    assert len(run_program(RUNS, 2_000)) == len(RUNS)


def run_program(runs: tuple[str, ...], size: int) -> list[str]:
    """Return the runs that were done within the limit; fail with the one that was not."""
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, error = process.communicate(repr((runs, size)), LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"{output.splitlines()[-1]} hangs")
    assert process.returncode == 0, error
    return output.splitlines()
