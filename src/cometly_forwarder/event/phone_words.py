"""The words that people write beside a phone number: labels, countries, and anything else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from phonenumbers import SUPPORTED_REGIONS

_WORD = re.compile(r"[^\W\d_]+")
_SIGN_OF_FLAG = re.compile(
    "[\N{REGIONAL INDICATOR SYMBOL LETTER A}-\N{REGIONAL INDICATOR SYMBOL LETTER Z}]"
)
# England, Scotland and Wales have this one and characters that nobody sees.
_BLACK_FLAG = "\N{WAVING BLACK FLAG}"
_DOT_OF_TURKISH_I = "\N{COMBINING DOT ABOVE}"
_FIRST_OF_FLAGS = ord("\N{REGIONAL INDICATOR SYMBOL LETTER A}")
_CODE_LENGTH = 2

# What may touch a number without a space. Any other word makes it a part of something else.
GLUED = frozenset(
    (
        *("p", "t", "m", "c", "h", "w", "ph", "tel", "telefon", "telephone", "phone", "mob"),
        *("mobil", "mobile", "cell", "home", "work", "office", "handy", "call", "sms", "wa"),
        "whatsapp",
    )
)
# What people call a phone, and whose it is; none of these says where it is. By language: English
# and what programs write, German and Dutch, French, Spanish and Portuguese, Italian, Turkish;
# Polish, Czech, Hungarian, Romanian; Scandinavian and Finnish; Russian and Ukrainian, Greek;
# Japanese, Chinese, Korean; Arabic, Hebrew, Indonesian, Vietnamese.
_LABELS_IN_USE = """
o fon fone phones cellular cellphone mobiles telephones landline land line fixed number
numbers num nos contact contacts main primary secondary other alternative alternate alt
business private personal direct desk daytime day evening night fax text message messages only
preferred best emergency house shop store company billing shipping customer client user emp
until after before please ask either ring dial callto facetime skype signal telegram viber
wechat imessage kakao kakaotalk msisdn iphone android wsp wsapp wapp zap zalo intl
international national hp hand handphone
rufnummer telefonnummer telefonnr handynummer handynr mobilnummer mobilfunk mobiltelefon
festnetz privat privatnummer dienstlich geschäftlich geschäft büro arbeit zuhause zuhaus
daheim firma zentrale fernruf ruf rückruf nummer abends tagsüber erreichbar durchwahl telefoon
telefoonnummer mobiel mobieltje gsm thuis werk kantoor vast zakelijk privé prive nummers
gsmnummer
n téléphone téléphones portable port fixe domicile bureau travail maison perso personnel
professionnel pro numéro numero bur dom tél cellulaire standard joindre
teléfono telefono teléfonos telefonos móvil movil móviles mov celular celulares cel fijo casa
trabajo oficina número particular fijos empresa contacto tfno tlf tlfn tfn telf tlfno
telemóvel telemovel telefone telefones fixo trabalho escritório escritorio residencial
residência comercial contato zapzap whats telem tlm recado recados
cellulare cellulari fisso ufficio lavoro abitazione cellul recapito
telefonu cep ev iş ofis numara numarası sabit işyeri
komórka komórkowy komórkowa komorka kom komórki domowy praca służbowy sluzbowy stacjonarny
prywatny numer biuro firmowy mobilní práce domů pevná linka kancelář číslo telefonszám
mobilszám otthoni munkahelyi vezetékes iroda szám serviciu acasă fix birou număr telefonul
mobilnr hem hemma arbete arbetet jobb jobbet kontor hjem hjemme arbejde puhelin matkapuhelin
koti työ puh kännykkä
телефон телефоны тел т м моб мобильный мобильная мобильн сот сотовый домашний дом дома рабочий
раб работа офис номер факс ватсап вацап вотсап вайбер телеграм личный контактный городской гор
мобільний домашній робочий робота телефону
τηλ τηλέφωνο τηλεφωνο κιν κινητό κινητο σταθερό σταθερο σπίτι εργασία γραφείο οικία
電話 電話番号 でんわ 携帯 携帯電話 携帯番号 ケータイ 自宅 会社 勤務先 固定電話 職場 連絡先
本人 代表 ファックス 电话 電話號碼 电话号码 手机 手機 手机号 手机号码 手機號碼 座机 固话 家
公司 办公室 联系电话 聯絡電話 微信 住宅 전화 전화번호 휴대폰 휴대전화 핸드폰 집 회사 사무실
연락처
هاتف الهاتف جوال الجوال موبايل تلفون محمول المحمول واتساب واتس المنزل العمل رقم טלפון
נייד בית עבודה פקס סלולרי ponsel telepon telp hape rumah kantor nomor seluler điện thoại đt
sđt di động
"""  # noqa: RUF001 - other alphabets
_LABELS = GLUED | frozenset(_LABELS_IN_USE.casefold().split())
# These say no more than labels do, save that some are the code of a country, too.
_FUNCTION_WORDS_IN_USE = """
a and or at in is it my me our to so the for from on of by i o u y e und oder am im an der die
das mein meine von zu et ou le la les du de des mon ma sur au un mi mis el los las del en su
do da dos meu minha il lo di mio mia al ve veya lub mój moj moja met mijn och og eller min
mitt мой и или на
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_WORDS_IN_USE.split())
# Labels that are a country's code, too, and mean the label where they stand alone: "No. 030 1234".
_LABELS_LIKE_CODES = frozenset(("ph", "no", "nr"))
# A state of the US, or a province of Canada, and a country of the same code.
STATES = frozenset(
    (
        *("AL", "AR", "AZ", "CA", "CO", "DE", "GA", "ID", "IL", "IN", "KY", "LA", "MA", "MD", "ME"),
        *("MN", "MO", "MS", "MT", "NC", "NE", "PA", "SC", "SD", "TN", "VA", "NL", "PE", "SK"),
    )
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What the words beside a number say of its country.

    `flags` and `codes` are regions that a flag and a code of ISO 3166 name, and `perhaps` those of
    words that mean something else as a rule or stand among unknown words. `unknown` says that there
    are words which may be a country's name: whatever is no label.
    """

    flags: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    unknown: bool = False


def beside(text: str) -> Beside | None:
    """Tell what the text around a number says of its country; None if it says nothing."""
    words = _WORD.findall(text)
    signs = set() if text.isascii() else _codes_of_flags(text)
    flags = signs & SUPPORTED_REGIONS
    unknown = flags != signs or _BLACK_FLAG in text
    codes, perhaps = set[str](), set[str]()
    for written in words:
        word = written.casefold().replace(_DOT_OF_TURKISH_I, "")
        code = _code_of(word)
        is_label = word in _LABELS or word in _LABELS_LIKE_CODES
        if is_label or (word in _FUNCTION_WORDS and (code is None or len(words) > 1)):
            perhaps.update((code,) if code else ())
        elif code and not written.istitle():
            codes.add(code)
        else:  # "Fr. Meier" is no French number
            perhaps.update((code,) if code else ())
            unknown = True
    if unknown:
        perhaps, codes = perhaps | codes, set()
    if not (flags or codes or perhaps or unknown):
        return None
    return Beside(frozenset(flags), frozenset(codes), frozenset(perhaps), unknown)


def _code_of(word: str) -> str | None:
    code = "GB" if word == "uk" else word.upper()
    return code if len(word) == _CODE_LENGTH and code in SUPPORTED_REGIONS else None


def _codes_of_flags(text: str) -> set[str]:
    letters = "".join(
        chr(ord(sign) - _FIRST_OF_FLAGS + ord("A")) for sign in _SIGN_OF_FLAG.findall(text)
    )
    starts = range(0, len(letters), _CODE_LENGTH)
    return {letters[start : start + _CODE_LENGTH] for start in starts}
