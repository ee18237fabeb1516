"""Writes tests/golden/jinja_cases.jsonl: what PyPI jinja2, set up by transformers, makes of the chat templates in
tests/golden/chat_templates and of random small templates (jinja_cases.py). One line a case:
{"file" or "template", "variables"?, "mark"?, "text", "spans"} or {.., "kind", "error", "line"}; the first line has the
variables of the random ones. Spans are in code points.

    .venv-peers/bin/python tests/reference/jinja_golden.py
"""

import random

import jinja_cases as cases

OUT = cases.TEMPLATES.parent / "jinja_cases.jsonl"
rows = [{"variables": cases.VARIABLES}]
for file in sorted(cases.TEMPLATES.glob("*.jinja")):
    r = random.Random(f"golden {file.stem}")
    for _ in range(14):
        variables, mark = cases.chat_variables(cases.conversation(r)), file.stem == "generation"
        rows.append({"file": file.name, "variables": variables, "mark": mark, **cases.reference(file.read_text(), variables, mark)})
seed = wanted = 0
while wanted < 500:
    seed += 1
    template = cases.random_template(seed)
    expected = cases.reference(template, cases.VARIABLES)
    if not cases.is_comparable(expected) or "text" not in expected and seed % 4:  # mostly such as render
        continue
    rows.append({"template": template, **expected})
    wanted += 1
OUT.write_text("".join(cases.dump(row) + "\n" for row in rows))
print(f"{len(rows)} cases in {OUT}")
