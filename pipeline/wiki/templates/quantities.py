"""Numbers and units: {{convert}}, {{val}}, {{formatnum:}}.

    convert({"1": "468", "2": "km2", "3": "sqmi"})          "468平方公里"
    convert({"1": "5", "2": "ft", "3": "10", "4": "in"})    "5英尺10英寸"
    convert({"1": "10", "2": "-", "3": "20", "4": "C"})     "10–20摄氏度"
    value({"1": "1.5", "2": "0.2", "u": "kg"})              "1.5±0.2 kg"
    grouped("77006")                                        "77,006"

Quantities are shown as the writer gave them; conversions are not computed. Unit codes are those of en.wikipedia's
Module:Convert/data, which zhwiki copies; names are zhwiki's, in simplified script.
"""

import re

Arguments = dict[str, str]

_UNIT_NAMES = """
    km:公里 m:米 cm:厘米 mm:毫米 µm:微米 um:微米 μm:微米 nm:纳米 dm:分米 mi:英里 mile:英里 miles:英里 ft:英尺 foot:英尺
    feet:英尺 in:英寸 inch:英寸 yd:码 nmi:海里 fathom:英寻 furlong:弗隆 ly:光年 pc:秒差距 au:天文单位 AU:天文单位 Å:埃 里:里
    km2:平方公里 km²:平方公里 m2:平方米 m²:平方米 cm2:平方厘米 mm2:平方毫米 ha:公顷 sqmi:平方英里 sqft:平方英尺 sqin:平方英寸
    sqyd:平方码 acre:英亩 acres:英亩 dunam:杜纳亩 mu:亩 m3:立方米 m³:立方米 km3:立方公里 cm3:立方厘米 cc:立方厘米 L:升 l:升
    ml:毫升 mL:毫升 cuft:立方英尺 cuin:立方英寸 cumi:立方英里 USgal:美制加仑 impgal:英制加仑 gal:加仑 oilbbl:桶 bbl:桶
    usfloz:美制液盎司 acre.ft:英亩英尺 kg:公斤 g:克 mg:毫克 t:公吨 tonne:公吨 tonnes:公吨 MT:公吨 lb:磅 lbs:磅 oz:盎司 st:英石
    LT:长吨 ST:短吨 long_ton:长吨 short_ton:短吨 ozt:金衡盎司 kt:节 kn:节 knot:节 km/h:公里每小时 km/s:公里每秒 m/s:米每秒
    mph:英里每小时 ft/s:英尺每秒 Mach:马赫 C:摄氏度 °C:摄氏度 F:华氏度 °F:华氏度 K:开尔文 W:瓦特 kW:千瓦 MW:兆瓦 GW:吉瓦
    hp:马力 PS:公制马力 bhp:制动马力 shp:轴马力 J:焦耳 kJ:千焦耳 MJ:兆焦耳 kcal:千卡 cal:卡路里 kWh:千瓦时 eV:电子伏特 N:牛顿
    kN:千牛顿 lbf:磅力 Nm:牛顿米 N.m:牛顿米 Pa:帕斯卡 kPa:千帕 MPa:兆帕 hPa:百帕 bar:巴 mbar:毫巴 atm:标准大气压
    psi:磅每平方英寸 mmHg:毫米汞柱 Hz:赫兹 kHz:千赫兹 MHz:兆赫兹 GHz:吉赫兹 m3/s:立方米每秒 cuft/s:立方英尺每秒
    PD/km2:人每平方公里 PD/sqmi:人每平方英里 /km2:每平方公里 /sqmi:每平方英里 kg/m3:公斤每立方米 g/cm3:克每立方厘米
    L/100km:升每百公里 mpgus:英里每加仑 mpgUS:英里每加仑
"""
_UNITS = dict(entry.split(":") for entry in _UNIT_NAMES.split())
_BETWEEN = {
    "-": "–",
    "–": "–",
    "to": "至",
    "至": "至",
    "到": "到",
    "and": "和",
    "和": "和",
    "or": "或",
    "或": "或",
    "x": "×",
    "×": "×",
    "by": "×",
    "*": "×",
    "+/-": "±",
    "±": "±",
    "(-)": "–",
    "to(-)": "至",
}
_NUMBER = re.compile(r"[+\-−]?[\d,.]+(?:[⁄/]\d+)?(?:e[+-]?\d+)?")
_PLAIN = re.compile(r"([+\-−]?)(\d{4,})(\.\d*)?")
_MAX_LENGTH = 40
_MAX_ARGUMENTS = 12


def grouped(number: str) -> str:
    """Separate thousands by commas, as {{formatnum:}} does for Chinese; anything but a plain number is unchanged."""
    match = _PLAIN.fullmatch(number.strip()) if len(number) < _MAX_LENGTH else None
    return f"{match[1]}{int(match[2]):,}{match[3] or ''}" if match else number


def convert(arguments: Arguments) -> str:
    """{{convert|number|unit|...}}: the quantity as given, in Chinese; "" if there is no number."""
    given = [arguments.get(str(place), "").strip() for place in range(1, _MAX_ARGUMENTS)]
    shown = ""
    place = 0
    while _NUMBER.fullmatch(given[place]):
        shown += grouped(given[place])
        after = given[place + 1]
        if after in _BETWEEN:
            shown += _BETWEEN[after]
        else:
            shown += _unit(after)
            if not (after in ("ft", "mi", "lb", "st", "yd") and _NUMBER.fullmatch(given[place + 2])):
                break  # only `5|ft|10|in` continues
            if given[place + 3] not in _UNITS:
                break  # in `5|ft|1`, the 1 is a precision
        place += 2
        if place + 3 >= len(given):
            break
    return shown


def _unit(code: str) -> str:
    plain = code.replace(" ", "_")
    return _UNITS.get(plain) or _UNITS.get(plain.removesuffix("s")) or (f" {code}" if code and code.isascii() else code)


def value(arguments: Arguments) -> str:
    """{{val|number|uncertainty|e=|u=|p=|s=}}."""
    number = grouped(arguments.get("1", "").strip())
    if not number:
        return ""
    plus, minus = arguments.get("2", "").strip(), arguments.get("3", "").strip()
    if plus and minus:
        number += f"+{plus.lstrip('+')}-{minus.lstrip('-−')}"
    elif plus:
        number += f"±{plus}"
    if power := arguments.get("e", "").strip():
        number += f"×10^{power}"
    unit = arguments.get("u", arguments.get("ul", "")).strip()
    over = arguments.get("up", arguments.get("upl", "")).strip()
    unit += f"/{over}" if over else ""
    return arguments.get("p", "") + number + (f" {unit}" if unit else "") + arguments.get("s", "")


def fraction(arguments: Arguments) -> str:
    """{{frac|1|2}} is 1/2, {{frac|3|1|2}} is 3 1/2, {{frac|2}} is 1/2."""
    given = [arguments[name].strip() for name in ("1", "2", "3") if arguments.get(name, "").strip()]
    if len(given) == 1:
        return f"1/{given[0]}"
    return "/".join(given) if len(given) == 2 else f"{given[0]} {given[1]}/{given[2]}" if given else ""


def power_of_ten(arguments: Arguments) -> str:
    """{{e|6}} is ×10^6."""
    exponent = arguments.get("1", "").strip()
    return f"×10^{exponent}" if exponent else ""
