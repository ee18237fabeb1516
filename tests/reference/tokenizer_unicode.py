"""Prints where PyPI `tokenizers` parts from the Unicode tables of libutf8proc and libpcre2-8, as the rows of the tables in
models/text/unicode.cpp and models/tokenizer_young_characters.h. Each part of `tokenizers` has tables of its own age.

    .venv-peers/bin/python tests/reference/tokenizer_unicode.py
"""

import ctypes
import ctypes.util

from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
POINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
STABLE, COMPATIBLE, COMPOSE, DECOMPOSE = 2, 4, 8, 16  # utf8proc's options

utf8proc = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
utf8proc.utf8proc_category_string.restype = ctypes.c_char_p
utf8proc.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int]
utf8proc.utf8proc_map.restype = ctypes.c_ssize_t
pcre2 = ctypes.CDLL(ctypes.util.find_library("pcre2-8"))
for name in ("pcre2_compile_8", "pcre2_match_data_create_8", "pcre2_get_ovector_pointer_8"):
    getattr(pcre2, name).restype = ctypes.c_void_p
pcre2.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(ctypes.c_size_t)


def show(name, points):
    runs = []
    for c in points:
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    print(f"{name}: " + ", ".join(f"{{{first:#x}, {last:#x}}}" for first, last in runs) + "\n")


def category(c):
    return utf8proc.utf8proc_category_string(c).decode()


def own_normal_form(text, options):
    out, data = ctypes.c_char_p(), text.encode()
    utf8proc.utf8proc_map(data, len(data), ctypes.byref(out), options)
    return out.value.decode()


def pcre2_category(name):
    """The code points that PCRE2 has in the category."""
    data = "".join(map(chr, POINTS)).encode()
    pattern, error, offset = f"\\p{{{name}}}+".encode(), ctypes.c_int(), ctypes.c_size_t()
    code = ctypes.c_void_p(pcre2.pcre2_compile_8(pattern, ctypes.c_size_t(len(pattern)), 0x00080000, ctypes.byref(error), ctypes.byref(offset), None))
    match = ctypes.c_void_p(pcre2.pcre2_match_data_create_8(1, None))
    found, at = set(), 0
    while pcre2.pcre2_match_8(code, data, ctypes.c_size_t(len(data)), ctypes.c_size_t(at), 0x40000000, match, None) > 0:
        begin, at = pcre2.pcre2_get_ovector_pointer_8(match)[0:2]
        found.update(map(ord, data[begin:at].decode()))
    return found


def oniguruma_category(name):
    split = pre_tokenizers.Split(Regex(f"\\p{{{name}}}+"), "removed", invert=True)
    return {ord(c) for piece, _ in split.pre_tokenize_str("".join(map(chr, POINTS))) for c in piece}


def main():
    digits, words, lower = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Whitespace(), normalizers.Lowercase()
    parts = lambda splitter, text: [piece for piece, _ in splitter.pre_tokenize_str(text)]
    show("kYoungNumbers", [c for c in POINTS if (len(parts(digits, f"a{chr(c)}b")) == 3) != (category(c)[0] == "N")])
    is_word = lambda c: category(c) in ("Nd", "Nl", "Pc") or category(c)[0] in "LM" or c in (0x200C, 0x200D)
    show("kFurtherWords", [c for c in POINTS if (parts(words, f"a{chr(c)}")[0] == f"a{chr(c)}") != is_word(c)])
    print("kYoungCases:", [(hex(c), hex(ord(low))) for c in POINTS for low in [lower.normalize_str(chr(c))]
                           if low != chr(utf8proc.utf8proc_tolower(c)) and len(low) == 1], "\n")  # fmt: skip
    unknown = set()
    forms = [(normalizers.NFC(), STABLE | COMPOSE), (normalizers.NFD(), STABLE | DECOMPOSE),
             (normalizers.NFKC(), STABLE | COMPOSE | COMPATIBLE), (normalizers.NFKD(), STABLE | DECOMPOSE | COMPATIBLE)]  # fmt: skip
    for form, options in forms:  # alone, and behind and before marks of other classes
        for text in ("{}", "a\u0345{}", "a{}\u0334"):
            unknown |= {c for c in POINTS if form.normalize_str(text.format(chr(c))) != own_normal_form(text.format(chr(c)), options)}
    show("kUnknownToNormalizer, without the parts of what is composed", sorted(unknown))
    rows = sorted((c, name) for name in CATEGORIES for c in oniguruma_category(name) - pcre2_category(name))
    for name in CATEGORIES:
        show(f"kYoungRanges, k{name}", [c for c, other in rows if other == name])


main()
