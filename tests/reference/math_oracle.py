"""Pairs of answers and Math-Verify's verdict on each, for the tests of rewards/math.

    python math_oracle.py [PAIRS] > tests/golden/math_generated.jsonl

needs the PyPI packages math-verify 0.8.0 and latex2sympy2_extended 1.11.0. Every pair is made from a seed: a value of
some kind, written in two ways, or two values that are easily mistaken for each other. A row holds `kind`, `gold`,
`pred` and `expected` (the peer's verdict); nothing is corrected by hand.
"""

import json
import logging
import random
import sys

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
FRAMES = ["${}$", "The answer is ${}$.", "\\boxed{{{}}}", "Thus $\\boxed{{{}}}$.", "We get \\[{}\\]", "Final answer: $${}$$"]


def integer(r):
    return r.choice([r.randint(2, 12), r.randint(2, 99), r.randint(100, 9999), -r.randint(1, 60)])


def numbers(r):
    n = abs(integer(r)) * r.choice([1, 10, 1000, 1])
    ways = [str(n), f"{n:,}", f"{n:,}".replace(",", "{,}"), f"{n:,}".replace(",", ",\\!"), f"{n}.0", f"{n}.00", f"+{n}",
            f"0{n}", f"({n})", f"{{{n}}}", f"\\left({n}\\right)", f"\\text{{{n}}}", f"\\${n}", f"{n}\\%", f"{n}^\\circ",
            f"{n}!", f"|{n}|", f"|-{n}|", f"-(-{n})", f"{n}\\text{{ units}}", f"{n} cm", f"{n}\\text{{ cm}}^3", f"x={n}",
            f"\\approx {n}", f"{n}_{{10}}", f"\\mathbf{{{n}}}", f"\\frac{{{2*n}}}2", f"{n}\\cdot 1", f"{n}\\times10^0",
            f"{n}.", f"{n},0", f"{n} \\text{{ or }} {n}", f"n={n}=n", f"\\{{{n}\\}}", f"[{n}]", f"{n}\\,", f"2\\cdot{n}"]
    return r.choice([str(n), str(n), f"{n:,}"]), r.choice(ways + [str(n + 1), str(-n), f"{n}.5"])


def fractions(r):
    a, b = r.randint(1, 30), r.randint(2, 30)
    w = a // b
    ways = [f"\\frac{{{a}}}{{{b}}}", f"\\dfrac{{{a}}}{{{b}}}", f"\\tfrac{a}{{{b}}}", f"{a}/{b}", f"({a})/({b})", f"{a}:{b}",
            f"{a}\\div{b}", f"\\frac{{{3*a}}}{{{3*b}}}", f"{a / b:.10f}", f"{a / b:.6f}", f"{a / b:.3f}", f"{100 * a / b:.8f}\\%",
            f"{w}\\frac{{{a - w * b}}}{{{b}}}", f"{w}\\,\\frac{{{a - w * b}}}{{{b}}}", f"{w}+\\frac{{{a - w * b}}}{{{b}}}",
            f"-\\frac{{-{a}}}{{{b}}}", f"\\frac{{-{a}}}{{-{b}}}", f"{a}\\cdot\\frac1{{{b}}}", f"{a}{{{b}}}^{{-1}}",
            f"{{{a}\\over{b}}}", f"\\left(\\frac{{{b}}}{{{a}}}\\right)^{{-1}}", f"\\frac{{{a}}}{{{b}}}\\text{{ cm}}",
            f"x=\\frac{{{a}}}{{{b}}}", f"P(A)=\\frac{{{a}}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}=0.5", f"\\frac{{{a}.0}}{{{b}}}",
            f"\\frac{{{b}}}{{{a}}}", f"\\frac{{{a + 1}}}{{{b}}}", f"-\\frac{{{a}}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}\\approx{a / b:.2f}"]
    return r.choice(ways[:4] + ways[-2:]), r.choice(ways)


def surds(r):
    a, b, c = r.randint(2, 9), r.choice([2, 3, 5, 6, 7, 10]), r.randint(2, 9)
    ways = [f"{a}\\sqrt{{{b}}}", f"\\sqrt{{{a * a * b}}}", f"{a}\\cdot{b}^{{1/2}}", f"{a}*sqrt({b})", f"{a}\\sqrt{b}",
            f"\\frac{{{a * b}}}{{\\sqrt{{{b}}}}}", f"\\sqrt{{{a}}}\\cdot\\sqrt{{{a * b}}}", f"\\left({a * a * b}\\right)^{{\\frac12}}",
            f"{a}{b}^{{0.5}}", f"\\sqrt{{{b}}}\\times{a}", f"\\sqrt[4]{{{(a * a * b) ** 2}}}", f"{a * b ** .5:.8f}", f"{a * b ** .5:.4f}",
            f"{a}\\sqrt{{{b}}}+{c}-{c}", f"\\sqrt[3]{{{a ** 3 * b}}}", f"{a}\\sqrt[3]{{{b}}}", f"\\pm{a}\\sqrt{{{b}}}",
            f"{b}\\sqrt{{{a}}}", f"{a}+\\sqrt{{{b}}}", f"-{a}\\sqrt{{{b}}}", f"\\sqrt{{{a}}}\\sqrt{{{a}}}\\sqrt{{{b}}}",
            f"\\frac{{1}}{{{c}+\\sqrt{{{b}}}}}", f"\\frac{{{c}-\\sqrt{{{b}}}}}{{{c * c - b or 1}}}", f"\\sqrt{{{c * c + b}+{2 * c}\\sqrt{{{b}}}}}",
            f"{c}+\\sqrt{{{b}}}", f"\\sqrt{{{b}}}+{c}", f"{a}\\sqrt{{{b}}} \\text{{ cm}}", f"{a}\\sqrt{{{b}}}i", f"({a}\\sqrt{{{b}}})"]
    i = r.randrange(len(ways))
    return ways[i], r.choice([r.choice(ways), r.choice(ways[:12]), r.choice(ways[20:25])])


def polynomials(r):
    v = r.choice("xytnak")
    a, b, c, d = (r.choice([-5, -3, -2, 1, 2, 3, 4, 7]) for _ in range(4))
    s = lambda n: f"+{n}" if n >= 0 else str(n)
    q = f"{a * c}{v}^2{s(a * d + b * c)}{v}{s(b * d)}"
    ways = [f"({a}{v}{s(b)})({c}{v}{s(d)})", q, f"({c}{v}{s(d)})({a}{v}{s(b)})", q.replace("^2", "^{2}"), f"y={q}", f"f({v})={q}",
            f"{b * d}{s(a * d + b * c)}{v}{s(a * c)}{v}^2", f"{v}({a * c}{v}{s(a * d + b * c)}){s(b * d)}", q.replace("2", "3", 1),
            f"-({-a}{v}{s(-b)})({c}{v}{s(d)})", f"\\left({a}{v}{s(b)}\\right)\\cdot\\left({c}{v}{s(d)}\\right)",
            f"({a}{v}{s(b)})*({c}{v}{s(d)})", f"\\frac{{2({q})}}{{2}}", f"{q}=0", f"({a}{v}{s(b)})({c}{v}{s(d)})=0", f"{q}+C",
            f"{v}^2", f"\\frac{{{v}^3}}{{{v}}}", f"{v}\\cdot {v}", f"{v}^{{4/2}}", f"{v}{v}", f"({a}{v}{s(b)})^2",
            f"{a * a}{v}^2{s(2 * a * b)}{v}{s(b * b)}", f"\\frac{{{a}{v}{s(b)}}}{{{c}}}", f"\\frac{{{a}}}{{{c}}}{v}{s(b)}/{c}"]
    return r.choice(ways), r.choice(ways)


def functions(r):
    pairs = [("\\sin(2x)", "2\\sin x\\cos x"), ("\\sin^2 x+\\cos^2 x", "1"), ("\\tan x", "\\frac{\\sin x}{\\cos x}"),
             ("\\cos 2x", "1-2\\sin^2x"), ("\\log_2 8", "3"), ("\\ln 8", "3\\ln 2"), ("\\log 100", "2"), ("e^{\\ln 3}", "3"),
             ("\\frac{\\ln 8}{\\ln 2}", "3"), ("\\sin\\frac{\\pi}{6}", "\\frac12"), ("\\cos\\frac{\\pi}{4}", "\\frac{\\sqrt2}{2}"),
             ("\\arctan 1", "\\frac{\\pi}{4}"), ("\\arcsin\\frac12", "\\frac{\\pi}{6}"), ("\\sin^{-1} x", "\\arcsin x"),
             ("e^{x+y}", "e^xe^y"), ("e^{i\\pi}", "-1"), ("\\sqrt{x^2}", "|x|"), ("|x-1|", "|1-x|"), ("\\ln x^2", "2\\ln x"),
             ("\\binom{5}{2}", "10"), ("5!", "120"), ("\\lfloor 3.7\\rfloor", "3"), ("\\lceil\\pi\\rceil", "4"), ("2^{10}", "1024"),
             ("\\sum_{k=1}^{10}k", "55"), ("\\prod_{k=1}^{4}k", "24"), ("\\gcd(12,18)", "6"), ("\\max(2,3)", "3"),
             ("7\\mod 3", "1"), ("\\frac{n(n+1)}{2}", "\\binom{n+1}{2}"), ("\\exp(2)", "e^2"), ("\\log_3 9x", "2+\\log_3 x"),
             ("\\frac{1}{2}\\ln 9", "\\ln 3"), ("\\sec x", "\\frac1{\\cos x}"), ("2\\pi r", "2r\\pi"), ("12\\pi", "37.699112"),
             ("\\frac{\\pi}{2}", "90^\\circ"), ("\\sinh x", "\\frac{e^x-e^{-x}}{2}"), ("a^{2b}", "(a^b)^2"), ("\\sqrt[3]{-8}", "-2"),
             ("(-8)^{1/3}", "-2"), ("x^{-2}", "\\frac1{x^2}"), ("\\frac{a}{b}", "ab^{-1}"), ("\\frac{a+b}{c}", "\\frac ac+\\frac bc"),
             ("f(x)", "f(y)"), ("f(2)=5", "5"), ("\\sin x", "\\sin(x)"), ("\\cos(-x)", "\\cos x"), ("\\ln\\frac ab", "\\ln a-\\ln b"),
             ("\\log_{10}5", "\\log 5"), ("\\int x dx", "\\int xdx"), ("2^n\\cdot 2", "2^{n+1}"), ("4^n", "2^{2n}"), ("n!", "n(n-1)!")]
    a, b = r.choice(pairs)
    c, d = r.choice(pairs)
    return r.choice([(a, b), (b, a), (a, a), (a, d), (b, d), (c, b), (a + "+1", b + "+1"), (f"3{a}" if a[0] == "\\" else a, b)])


def complexes(r):
    a, b = r.randint(-6, 6) or 1, r.randint(1, 7)
    ways = [f"{a}+{b}i", f"{b}i+{a}", f"{a}+i{b}", f"{a}+{b}I", f"({a}+{b}i)", f"{a}-(-{b}i)", f"\\frac{{{2 * a}+{2 * b}i}}{{2}}",
            f"{a}-{b}i", f"{b}+{a}i", f"({a},{b})", f"-{b}i", f"{a}+{b}\\cdot i", f"z={a}+{b}i", f"{a}+{b}\\mathrm{{i}}", f"i({b}-{a}i)"]
    return r.choice(ways[:3]), r.choice(ways)


def tuples(r):
    e = [r.choice([str(r.randint(-9, 9)), f"\\frac{{{r.randint(1, 9)}}}{{{r.randint(2, 9)}}}", f"\\sqrt{r.randint(2, 7)}", "x", "0.5"])
         for _ in range(r.choice([2, 2, 3, 4]))]
    s = e[:]
    r.shuffle(s)
    j, k = ",".join(e), ", ".join(s)
    ways = [f"({j})", f"({', '.join(e)})", f"\\left({j}\\right)", f"\\left[{j}\\right]", f"[{j}]", j, f"\\{{{j}\\}}", f"\\{{{k}\\}}", k,
            f"({k})", f"\\left\\{{{k}\\right\\}}", " \\text{ and } ".join(s), " or ".join(s), "; ".join(e), f"({';'.join(e)})",
            f"x={j}", f"x\\in\\{{{k}\\}}", ",".join(f"x={v}" for v in s), ",".join(f"x_{i}={v}" for i, v in enumerate(e)),
            f"({j})" if len(e) > 2 else f"({e[0]},{e[1]}]", f"({j},1)", f"\\begin{{pmatrix}}{' & '.join(e)}\\end{{pmatrix}}",
            f"\\begin{{pmatrix}}{chr(92) * 2 + ' '}{(chr(92) * 2).join(e)}\\end{{pmatrix}}".replace("\\\\ ", "", 1),
            f"\\langle {j}\\rangle", f"(a,b)=({j})", f"(x,y,z)=({j})", f"({j}),({k})", f"({k}),({j})", f"\\{{({j}),({k})\\}}",
            f"({j}) \\text{{ or }} ({k})", f"{{{j}}}", f"|{j}|", f"A({j})", f"({j})\\text{{ cm}}", f"\\{{{j},{e[0]}\\}}"]
    return r.choice(ways[:14] + ways[24:29]), r.choice(ways)


def intervals(r):
    a, b = sorted(r.sample(range(-12, 13), 2))
    c = b + r.randint(1, 5)
    ways = [f"({a},{b})", f"[{a},{b}]", f"({a},{b}]", f"[{a},{b})", f"{a}<x<{b}", f"{a}\\le x\\le {b}", f"{b}>x>{a}", f"x\\in({a},{b})",
            f"x\\in[{a},{b}]", f"x>{a}", f"({a},\\infty)", f"({a},+\\infty)", f"[{a},\\infty)", f"x\\geq {a}", f"{a}\\leq x", f"{a}<x",
            f"(-\\infty,{a})\\cup({b},\\infty)", f"x<{a}\\text{{ or }}x>{b}", f"({b},\\infty)\\cup(-\\infty,{a})", f"\\mathbb{{R}}\\setminus[{a},{b}]",
            f"[{a},{b}]\\cup[{b},{c}]", f"[{a},{c}]", f"[{a},{b})\\cup({b},{c}]", f"[{a},{c}]\\setminus\\{{{b}\\}}", f"\\left({a},{b}\\right)",
            f"\\{{x|{a}<x<{b}\\}}", f"{a}<y<{b}", f"-x<{-a}", f"2x>{2 * a}", f"x-{a}>0".replace("--", "+"), f"x\\ne {a}", f"(-\\infty,{a})\\cup({a},\\infty)",
            f"\\mathbb{{R}}\\setminus\\{{{a}\\}}", f"(-\\infty,\\infty)", "\\mathbb{R}", "\\emptyset", "\\{\\}", f"{a}<x,x<{b}", f"({a},{c})\\cap({a - 1},{b})",
            f"\\{{{a}\\}}\\cup({b},{c}]", f"({b},{c}]\\cup\\{{{a}\\}}", f"[{a}.0,{b}]", f"({b},{a})", f"D=({a},{b})", f"k\\in({a},{b})",
            f"(x-{a})(x-{b})<0".replace("--", "+"), f"x^2<{b * b}", f"|x|<{abs(b) + 1}", f"({-abs(b) - 1},{abs(b) + 1})"]
    return r.choice(ways), r.choice(ways)


def equations(r):
    a, b, c = (r.choice([-4, -3, -2, 2, 3, 5, 6]) for _ in range(3))
    s = lambda n: f"+{n}" if n >= 0 else str(n)
    ways = [f"{a}x{s(b)}y={c}", f"{c}={a}x{s(b)}y", f"{a}x{s(b)}y{s(-c)}=0", f"{2 * a}x{s(2 * b)}y={2 * c}", f"{-a}x{s(-b)}y={-c}",
            f"y=\\frac{{{-a}x{s(c)}}}{{{b}}}", f"y={-a}/{b}x{s(c)}/{b}", f"x=\\frac{{{-b}y{s(c)}}}{{{a}}}", f"{a}x{s(b)}y={c + 1}", f"{c}",
            f"{b}y{s(a)}x={c}", f"{a}a{s(b)}b={c}", f"x={c}", f"y={c}", f"x={c},y={b}", f"y={b},x={c}", f"({c},{b})", f"(x,y)=({c},{b})",
            f"x={b}+{abs(c)}={b + abs(c)}", f"{b + abs(c)}", f"2x={2 * c}", f"x-{abs(c)}=0", f"x^2={c * c}", f"x=\\pm {abs(c)}", f"\\pm {abs(c)}",
            f"\\{{{abs(c)},{-abs(c)}\\}}", f"x={abs(c)}\\text{{ or }}x={-abs(c)}", f"x_1={c},x_2={b}", f"\\{{{b},{c}\\}}", f"AB={c}", f"|AB|={c}",
            f"f(x)={a}x{s(b)}", f"{a}x{s(b)}", f"y={a}x{s(b)}", f"f(t)={a}t{s(b)}", f"x+y={c}", f"\\angle ABC={abs(c)}^\\circ", f"S={c}\\text{{ cm}}^2",
            f"a_n={a}n{s(b)}", f"{a}n{s(b)}", f"x^2+y^2={c * c}", f"\\frac{{x^2}}{{{c * c}}}+\\frac{{y^2}}{{{c * c}}}=1", f"k={c}:{b}", f"m:n={abs(c)}:{abs(b)}",
            f"{a}x{s(b)}y\\ne {c}", f"{a}x{s(b)}y>{c}", f"{-a}x{s(-b)}y<{-c}"]
    return r.choice(ways), r.choice(ways)


def texts(r):
    w = r.choice(["Evelyn", "even", "yes", "no solution", "parabola", "hyperbola", "Monday", "odd", "isosceles triangle", "B", "C", "true", "Alice and Bob"])
    v = r.choice(["Evelyn", "even", "yes", "B", "C", "D", "circle", "odd"])
    ways = [f"\\text{{{w}}}", f"\\text{{ {w}}}", f"\\mathrm{{{w}}}", f"\\textbf{{{w}}}", f"\\text{{({w})}}", w, w.lower(), f"\\text{{{w.upper()}}}",
            f"\\text{{{w}.}}", f"\\mbox{{{w}}}", f"({w})", f"\\text{{{v}}}", v, f"\\text{{not {w}}}", f"\\textit{{{w}}}", f"\\text{{{w}}}\\text{{ }}",
            f"\\text{{{w}, {v}}}", f"\\text{{{w}}},\\text{{{v}}}", f"\\text{{{v}}},\\text{{{w}}}", f"\\text{{{w} and {v}}}", f"\\text{{{w}}}\\text{{ and }}\\text{{{v}}}"]
    return r.choice(ways[:6] + ways[17:19]), r.choice(ways)


def percents(r):
    n = r.choice([5, 12, 20, 25, 50, 75, 100, 150])
    ways = [f"{n}\\%", f"{n}%", f"{n} \\%", f"{n}.0\\%", str(n), str(n / 100), f"\\frac{{{n}}}{{100}}", f"{n} percent", f"{n}\\text{{ percent}}",
            f"{n}\\%\\text{{ of it}}", f"{n / 100:.4f}", f"x={n}\\%", f"{n + 1}\\%", f"\\frac{{{n}}}{{1}}\\%", f"{n},5\\%", f"{n}\\text{{\\%}}"]
    return r.choice(ways), r.choice(ways)


def matrices(r):
    a, b, c, d = (r.randint(-9, 9) for _ in range(4))
    m = lambda env, *e: f"\\begin{{{env}}}{e[0]} & {e[1]} \\\\ {e[2]} & {e[3]}\\end{{{env}}}"
    ways = [m("pmatrix", a, b, c, d), m("bmatrix", a, b, c, d), m("matrix", a, b, c, d), "\\left(" + m("array}{cc", a, b, c, d).replace("\\end{array}{cc}", "\\end{array}") + "\\right)",
            m("pmatrix", f"{a}.0", b, c, d), m("pmatrix", f"\\frac{{{2 * a}}}{{2}}", b, c, d), m("pmatrix", a, c, b, d), m("pmatrix", a + 1, b, c, d), m("vmatrix", a, b, c, d),
            str(a * d - b * c), f"2{m('pmatrix', a, b, c, d)}", m("pmatrix", 2 * a, 2 * b, 2 * c, 2 * d), m("pmatrix", a, b, c, d) + "^T", "A=" + m("pmatrix", a, b, c, d),
            m("pmatrix", a - 1, b, c, d) + "+" + m("pmatrix", 1, 0, 0, 0), m("pmatrix", 1, 0, 0, 1) + m("pmatrix", a, b, c, d), f"({a},{b},{c},{d})", m("pmatrix", a, b, c, d).replace("&", " &")]
    return r.choice(ways[:4] + ways[13:14]), r.choice(ways)


def plain(r):
    n, m = r.randint(1, 5000), r.randint(1, 30)
    ways = [f"{n}", f"{n:,}", f"The answer is {n}.", f"#### {n}", f"so {n} - 0 = {n}", f"Total: ${n}", f"{n}.00", f"**{n}**", f"answer: {n} dollars", f"{n}/{m}",
            f"$\\frac{{{n}}}{{{m}}}$", f"it is {n}/{m}.", f"{n}*{m} = {n * m}", f"{n * m}", f"{n} + {m}", f"{n + m}", f"about {n}%", f"{n} %", f"({n} + {m})", f"2^{m}",
            f"{n},5", f"{n}.5", f"x = {n}", f"Answer: {n} and {m}", f"{n} {m}", f"-{n}", f"− {n}", f"answer is **{n}**.", f"Final answer is {n}. I hope it is correct.", f"{n} × {m}"]
    return r.choice(ways), r.choice(ways)


KINDS = [numbers, fractions, surds, polynomials, functions, complexes, tuples, intervals, equations, texts, percents, matrices, plain]


def pairs(count, seed=7):
    seen = set()
    for i in range(count):
        kind = KINDS[i % len(KINDS)]
        r = random.Random(f"{seed}/{i}")
        gold, pred = kind(r)
        if kind is not plain:
            gold, pred = FRAMES[0].format(gold), r.choice(FRAMES).format(pred)
        if (gold, pred) not in seen:
            seen.add((gold, pred))
            yield kind.__name__, gold, pred


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2600
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    for i, (kind, gold, pred) in enumerate(pairs(count, seed)):
        expected = bool(verify(parse(gold), parse(pred)))
        print(json.dumps({"id": f"{kind}-{i}", "kind": kind, "gold": gold, "pred": pred, "expected": expected}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
