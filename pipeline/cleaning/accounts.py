"""Accounts of a person: mail, QQ, WeChat, user names, passwords. See pii.py. All but mail need the word that names them.

wang@qq.com   ｗａｎｇ＠ｑｑ．ｃｏｍ   wang(at)qq.com   wang#qq.com      mail, also disguised
QQ：123456789   加V wang_66   微信号是wang66   密码：abc123        kept: QQ：, 加V, 微信号是, 密码：
扣：123456789   V：wang_66     徽信：wang66     微亻言wang66        also disguised
微信iPhone版   QQ2012版   密码：六位数字                          stay
"""

import re

from pipeline.cleaning.identifiers import UNITS, D, Detector, Found

# Both patterns start with a set of characters and only then test which one it was, so that `re` skips all others quickly.
CUES = re.compile(
    r"[QqＱｑ扣叩秋微薇威徽溦维VvＶWw加密口账帐用企](?:(?<=[QqＱｑ]) ?[QqＱｑ:：群]|(?<=扣)[扣:：]"
    r"|(?<=叩)叩|(?<=秋)秋|(?<=[微薇威徽溦维])信|(?<=微)亻言"
    r"|(?<=[VvＶ])[XxＸ信:：]"
    r"|(?<=[Ww])(?:[Xx]|e[Cc]hat|ECHAT|eixin|EIXIN)|(?<=加)[VvＶ微薇扣]|(?<=企)鹅|(?<=密)码|(?<=口)令|(?<=[账帐])[号户]|(?<=用)户名)"
)
"""Words before an account, which may be looked for beside them."""
SPELLED_AT = re.compile(
    r"[\[(（【<{#＃*＊艾 ](?:(?<=[\[(（【<{]) ?(?:@|[aA][tT]|艾特) ?[\])）】>}]|(?<=[#＃*＊])(?=[a-z\d]+[.．])|(?<=艾)特"
    r"|(?<= )[aA][tT] (?=[a-z\d]+ ?[.．(\[ ]))"
)
"""What stands for the @ of an address that hides from programs."""

_WIDE = "A-Za-z0-9ａ-ｚＡ-Ｚ０-９"
_USER = rf"(?<![\w.%+@＠-])[{_WIDE}][{_WIDE}._%+-]{{0,63}}"
_END = r"(?P<top>[A-Za-zａ-ｚＡ-Ｚ]{2,10})(?![A-Za-z0-9ａ-ｚ@＠])"
_MAIL = re.compile(
    rf"{_USER}(?:[@＠]| [@＠] ?(?=\S{{2,20}}[.．])|[@＠] (?=\S{{2,20}}[.．]))"
    rf"(?:[{_WIDE}-]{{1,63}}[.．。]){{1,5}}(?:{_END}|(?:com|cn|net|org)(?![a-z]))",
    re.ASCII,
)
_FILES = frozenset(["png", "jpg", "jpeg", "gif", "webp", "svg", "js", "css", "html", "service", "so", "json", "git"])
"""Extensions of file names such as icon@2x.png."""
_PROVIDERS = "qq|163|126|139|189|sina|gmail|hotmail|sohu|yahoo|outlook|foxmail|live|msn|tom|yeah|21cn|aliyun|icloud"
_DOT = r"(?:[.．。]| ?[\[(（【{] ?(?:dot|DOT|点) ?[\])）】}] ?| (?:dot|DOT) )"
_SPELLED_MAIL = re.compile(
    rf"{_USER}(?: ?[\[(（【<{{] ?(?:@|at|AT|At|艾特) ?[\])）】>}}] ?(?:[A-Za-z0-9-]{{1,63}}{_DOT}){{1,4}}"
    rf"|(?: ?[#＃*＊] ?| ?艾特 ?| (?:at|AT) )(?:(?:vip|mail)[.])?(?:{_PROVIDERS}){_DOT}(?:com{_DOT})?)"
    r"(?:com|cn|net|org|edu|gov)(?![a-z])",
    re.ASCII,
)

_END_OF_NUMBER = rf"(?![0-9０-９A-Za-z_@＠]|[.．][0-9０-９]|\s?(?:年|版|{UNITS}))"
_QQ = re.compile(
    r"(?P<cue>(?<![A-Za-z])(?:[QＱqｑ] ?[QＱqｑ]|[Qq](?=[:：群])|扣扣|叩叩|秋秋|加扣|扣(?=[:：])|企鹅)"
    r"(?:交流|客服)?(?: ?(?:群号|群|号码|号))?[为是]?"
    r"[:：/（( ]{0,2})"
    rf"[1-9１-９]{D}{{4,10}}{_END_OF_NUMBER}"
)
_SECOND = re.compile(rf"(?P<cue><账号>\s?[/／、,，;；|或及和]\s?)[1-9１-９]{D}{{4,10}}{_END_OF_NUMBER}")
_WECHAT = re.compile(
    r"(?P<cue>(?:[微薇威徽溦维]信|微亻言|加[VvＶ微薇]信?|[VvＶ]信|(?<![A-Za-z0-9+])[VvＶ](?=：)|(?<![A-Za-z+])(?:[VvＶ][XxＸ]|[Ww][Xx]|[Ww]eixin|WEIXIN)|[Ww]e[Cc]hat|WECHAT)"
    r"(?P<sure>号码|号|[Ii][Dd])?(?:同号|[为是])?(?P<colon>[:：])?\s?)"
    rf"(?P<name>[A-Za-z][A-Za-z0-9_-]{{5,19}}|[1-9]{D}{{5,10}})(?![0-9A-Za-z_@＠.(/])"
)
_LOGIN = re.compile(
    r"(?P<cue>(?:(?<!公众)[账帐][号户]|用户名)[为是]?[:：]\s?)[A-Za-z0-9][A-Za-z0-9._-]{3,39}(?![A-Za-z0-9@])", re.ASCII
)
_PASSWORD = re.compile(r"(?P<cue>(?:密码|口令)[为是]?[:：]\s?)[!-,.-;=?-~]{4,32}")


def _is_mail(found: Found) -> bool:
    """Return whether a match is an address rather than a file (icon@2x.png) or a repository (git@github.com)."""
    return not found[0].startswith("git@") and (found["top"] or "").lower() not in _FILES


def _is_wechat(found: Found) -> bool:
    """Return whether a name is one of an account: after 微信 alone, iPhone and Windows are words."""
    return bool(found["sure"] or found["colon"] or re.search("[0-9_]", found["name"]) or "加" in found["cue"])


ACCOUNTS = (
    Detector("mail", _MAIL, _is_mail),
    Detector("mail", _SPELLED_MAIL),
    Detector("password", _PASSWORD),
    Detector("account", _QQ),
    Detector("account", _SECOND, follows=True),
    Detector("account", _WECHAT, _is_wechat),
    Detector("account", _LOGIN),
)
"""In the order in which they are searched for."""
