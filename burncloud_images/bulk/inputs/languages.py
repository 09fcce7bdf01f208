"""
How likely text is in a language: characters that it uses often, seldom or never, and words that cannot be words.

What an encoding makes of bytes that are in another is mostly text that nobody writes: rare characters, scripts mixed in
one word, symbols between letters. The tables hold the most frequent characters of each language.
"""

# ruff: noqa: RUF001 (characters that look like others are what the tables are about)

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise

import attrs

SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家"
    "种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十"
    "民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西月"
    "话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变"
    "四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼"
    "书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切"
    "红黄蓝绿黑猫狗狐狸森林花草树木云雪雨风夜星灯塔画油彩照片背景城古未少男孩虎熊兔鸟鱼龙河湖岛船车桥房窗桌茶杯苹"
)
TRADITIONAL = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然家"
    "種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日軍者意無力它與長把機十"
    "民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西月"
    "話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活爾更別打女變"
    "四神總何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至隊形社便空決治展馬科司五基眼"
    "書非則聽白卻界達光放強即像難且權思王象完設式色路記南品住告類求據程北邊死張該交規萬取拉格望覺術領共確傳師觀清今切"
    "紅黃藍綠黑貓狗狐狸森林花草樹木雲雪雨風夜星燈塔畫油彩照片背景城古未少男孩虎熊兔鳥魚龍河湖島船車橋房窗桌茶杯蘋"
)
HANGUL = frozenset(
    "이다는에의가을를한하고로지기도사은리시어자인대해서나아들일그정부있과수장전보라제주만상구성니원게여요조동스것으선공"
    "신내면오생경우간적음연소비위치모등방관계무문발미화실안마세학유물중업국명행용분개회야진남러년달양식산각통었된터민던"
    "심할려법현았당저영말까체란속강거교금날눈두래려많말못바밤별불빛빨색숲새와왕운작집책초크타파푸풍필하황흰꽃꿈나무늘"
)
KANA = frozenset(map(chr, (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC)))


@attrs.frozen
class Reading:
    """
    What text looks like in a language.

    Attributes:
        letters: Letters that are not ASCII.
        common: How many of them the language uses often.
        different: How many different ones are among these.
        rare: How many of them it uses seldom.
        strange: How many characters it has no use for, or not at their place.
        most_rare: The share of rare letters that text may have.
    """

    letters: int
    common: int
    rare: int
    strange: int
    different: int = 0
    most_rare: float = 0.0

    @property
    def is_possible(self) -> bool:
        """Whether somebody may have written it."""
        return self.strange * 20 <= self.letters and self.rare <= self.letters * self.most_rare

    @property
    def is_clean(self) -> bool:
        """Whether each letter is common enough."""
        return self.letters > 0 and self.strange == self.rare == 0

    @property
    def share(self) -> float:
        """The share of common letters; 1 where there are none, and nothing is wrong."""
        return self.common / self.letters if self.letters else 1.0


Judge = Callable[[str], Reading]

# --- Chinese, Japanese and Korean ------------------------------------------------------------------------------------


@lru_cache(maxsize=20_000)
def lead_byte(character: str, encoding: str) -> int:
    """Return the first of the two bytes of a character, which tells how frequent it is; 0 if it has no such bytes."""
    try:
        data = character.encode(encoding)
    except UnicodeEncodeError:
        return 0
    return data[0] if len(data) == 2 else 0


def judge_ideographs(
    text: str, encoding: str, usual: Iterable[range], rare: Iterable[range], common: frozenset[str], most_rare: float
) -> Reading:
    """
    Read text of a language whose standard orders its characters by how frequent they are.

    Args:
        text: The text.
        encoding: The standard.
        usual: First bytes of frequent characters and of punctuation.
        rare: First bytes of rare ones.
        common: The most frequent ones.
        most_rare: The share of rare ones that text may have.
    """
    ways = {lead: 1 for part in rare for lead in part} | {lead: 0 for part in usual for lead in part}
    found = [ways.get(lead_byte(character, encoding), 2) for character in text if not character.isascii()]
    lone = sum(1 for _ in LONE.finditer(text))
    marks = sum(1 for character in text if not character.isascii() and unicodedata.category(character)[0] in "PSZ")
    often = [character for character in text if character in common]
    return Reading(
        letters=max(len(found) - marks, 0),
        common=len(often),
        different=len(set(often)),
        rare=found.count(1),
        strange=found.count(2) + lone,
        most_rare=most_rare,
    )


LONE = re.compile(r"(?<=[a-z])[^\x00-\x7f](?=[\x00-\x7f])|(?<![^\x00-\x7f])[^\x00-\x7f](?=[a-z])")
"""A single character that touches a small Latin letter, as half of a European word becomes."""


def judge_simplified(text: str) -> Reading:
    usual = (range(0xA1, 0xA2), range(0xA3, 0xA4), range(0xB0, 0xD8))
    return judge_ideographs(text, "gb2312", usual, (range(0xD8, 0xF8),), SIMPLIFIED, 0.3)


def judge_traditional(text: str) -> Reading:
    return judge_ideographs(text, "cp950", (range(0xA1, 0xC7),), (range(0xC9, 0xFA),), TRADITIONAL, 0.2)


def judge_korean(text: str) -> Reading:
    usual = (range(0xA1, 0xA2), range(0xA3, 0xA4), range(0xB0, 0xC9))
    return judge_ideographs(text, "euc_kr", usual, (range(0xCA, 0xFE),), HANGUL, 0.1)


def judge_japanese(text: str) -> Reading:
    usual = (range(0x81, 0x84), range(0x88, 0x98))
    return judge_ideographs(text, "cp932", usual, (range(0x98, 0xA0), range(0xE0, 0xEB)), KANA, 0.2)


# --- alphabets -------------------------------------------------------------------------------------------------------

LETTERS = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
LONGEST_WORD = 200
"""Characters of a word that are looked at."""
SYMBOLS = frozenset("\N{NO-BREAK SPACE}¡¿«»‘’‚“”„–—…•€£°©®™§·²³½¼´№")
"""Characters that stand beside words."""
WITHIN = frozenset("’´·")
"""Those that also stand within a word."""
UNUSUAL = frozenset("ƒŕŔĺĹђЂѓЃќЌўЎџЏљЉњЊћЋєЄјЈѕЅґҐ¸ªº")
"""Letters that an alphabet has and few words."""
MOST_ACCENTS = 2
"""Letters in a row that are not ASCII, in a word of a Western European language; others have twice as many."""


@lru_cache(maxsize=2000)
def script_of(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


def words_of(text: str) -> Iterator[str]:
    """Yield the words of *text* with at least one character that is not ASCII."""
    for found in LETTERS.finditer(text):
        word = text[found.start() : min(found.end(), found.start() + LONGEST_WORD)]
        if not word.isascii():
            yield word


def judge_alphabet(text: str, script: str, most_accents: int) -> Reading:
    """Read text of a European language, whose words have at most *most_accents* letters in a row that are not ASCII."""
    found: list[str] = []
    strange = plain = 0
    for word in words_of(text):
        found += [character for character in word if not character.isascii() and character.isalpha()]
        plain += sum(map(str.isascii, word))
        strange += 0 if is_word(word, script, most_accents) else len(word)
    # Among Latin letters, those that are not ASCII are the fewer.
    common = len(found) if script != "LATIN" or plain >= len(found) else 0
    return Reading(letters=len(found), common=common, rare=0, strange=strange, different=len(set(found)))


def is_word(word: str, script: str, most_accents: int) -> bool:
    """Say whether a word may be one of a language that is written in *script*."""
    core = word.strip("".join(SYMBOLS))
    if not core:
        return True
    letters = "".join(character for character in core if character not in WITHIN)
    return (
        letters.isalpha()
        and not UNUSUAL & set(letters)
        and all(script_of(character) == script for character in letters)
        and not changes_case(letters)
        and longest_accents(letters) <= most_accents
    )


def changes_case(letters: str) -> bool:
    return any(one.islower() and other.isupper() for one, other in pairwise(letters))


def longest_accents(letters: str) -> int:
    return max((len(part) for part in re.findall(r"[^\x00-\x7f]+", letters)), default=0)


def judge_western(text: str) -> Reading:
    return judge_alphabet(text, "LATIN", MOST_ACCENTS)


def judge_eastern(text: str) -> Reading:
    return judge_alphabet(text, "LATIN", 2 * MOST_ACCENTS)


def judge_cyrillic(text: str) -> Reading:
    return judge_alphabet(text, "CYRILLIC", len(text))


def judge_greek(text: str) -> Reading:
    return judge_alphabet(text, "GREEK", len(text))


# --- any language ----------------------------------------------------------------------------------------------------

FREQUENT: Mapping[str, re.Pattern[str]] = {
    "LATIN": re.compile("[A-Za-zÀ-ÖØ-öø-žƏəƠơƯưȘșȚțʻʼ]*"),
    "CYRILLIC": re.compile("[Ѐ-џґҐҒғҚқҢңҮүҰұҺһӘәӨө]*"),
    "GREEK": re.compile("[Ά-ώ]*"),
    "HEBREW": re.compile("[א-ת]*"),
    "ARABIC": re.compile("[ء-ٟ٠-٩پچژکگی]*"),
    "ARMENIAN": re.compile("[Ա-և]*"),
}
"""What words of the scripts consist of whose letters have two bytes in UTF-8."""


def is_usual_word(word: str) -> bool:
    """Say whether a word of characters below U+0800 is of one script, as bytes of another encoding rarely are."""
    core = "".join(character for character in word if unicodedata.category(character)[0] in "LM")
    if not core:
        return all(character.isascii() or character <= "\xbf" or character in "×÷" for character in word)
    if len(re.findall(r"[^\x00-\x7f]", core)) == 1 < len(core):
        return True
    if changes_case(core) or (len(core) == 1 and core > "\xff"):
        return False
    return any(pattern.fullmatch(core) for pattern in FREQUENT.values())
