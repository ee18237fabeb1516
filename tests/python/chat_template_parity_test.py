"""hone's chat templates against PyPI jinja2, set up as transformers sets it up: the real templates over generated
conversations (through ChatTemplate and transformers' own apply_chat_template), and random small templates, character by
character, with the errors and {% generation %} spans.

    .venv-peers/bin/python tests/python/chat_template_parity_test.py build/release/bin/chat_template_driver [--random 20000]
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
import jinja_cases as cases  # noqa: E402

failures = []


class Driver:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, row):
        self.process.stdin.write(json.dumps(row) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the driver died (exit {self.process.wait()}) on {json.dumps(row)}")
        out = json.loads(answer)
        if "spans" in out:  # bytes to code points
            data = out["text"].encode()
            out["spans"] = [[len(data[:begin].decode()), len(data[:end].decode())] for begin, end in out["spans"]]
        return out


def report(what, difference, detail):
    if difference:
        failures.append(what)
        if len(failures) <= 20:
            print(f"FAILED  {what}: {difference}\n        {detail}", flush=True)


def check_bare(driver, name, template, variables, mark=False):
    expected = cases.reference(template, variables, mark)
    if not cases.is_comparable(expected):
        return "printed addresses"
    got = driver.ask({"template": template, "variables": variables, "mark": mark})
    report(name, cases.same(expected, got), f"expected {cases.dump(expected)} for {cases.dump(template)[:700]}")
    return "rendered" if "text" in expected else expected["kind"]


def random_templates(driver, count, first_seed):
    kinds = collections.Counter()
    for seed in range(first_seed, first_seed + count):
        kinds[check_bare(driver, f"random template {seed}", cases.random_template(seed), cases.VARIABLES)] += 1
        if kinds.total() % 2000 == 0:
            print(f"        {kinds.total()} random templates, {len(failures)} failures", flush=True)
    print(f"ok      {count} random templates: {dict(kinds)}", flush=True)


def real_templates(driver, count, seed):
    kinds = collections.Counter()
    for file in sorted(cases.TEMPLATES.glob("*.jinja")):
        template, r = file.read_text(), random.Random(f"{seed} {file.stem}")
        for i in range(count):
            variables = cases.chat_variables(cases.conversation(r))
            mark = file.stem == "generation"
            kinds[check_bare(driver, f"{file.stem} conversation {i}", template, variables, mark)] += 1
    print(f"ok      real templates: {dict(kinds)}", flush=True)


def through_transformers(driver, count, seed):
    """apply_chat_template of a tokenizer against ChatTemplate of its saved folder: loader, special tokens, nulls."""
    import tokenizers
    import transformers

    with tempfile.TemporaryDirectory() as work:
        backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
        compared = 0
        for file in sorted(cases.TEMPLATES.glob("*.jinja")):
            tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **cases.SPECIAL)
            template = file.read_text()
            named = file.stem == "gemma"
            tokenizer.chat_template = {"default": template, "tool_use": "tools: " + template} if named else template
            folder = pathlib.Path(work) / file.stem
            tokenizer.save_pretrained(folder, save_jinja_files=file.stem not in ("zephyr", "gemma"))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            r = random.Random(f"{seed} through {file.stem}")
            for i in range(count):
                request = cases.conversation(r)
                try:
                    expected = {"text": tokenizer.apply_chat_template(
                        request["messages"], tools=request.get("tools"), tokenize=False,
                        add_generation_prompt=request.get("add_generation_prompt", False), **request.get("variables", {}))}
                except Exception:  # noqa: BLE001
                    expected = None
                got = driver.ask({"folder": str(folder), "request": request})
                same = got.get("text") == expected["text"] if expected else "error" in got
                report(f"{file.stem} through transformers {i}", None if same else f"{got}", f"expected {expected} for {cases.dump(request)}")
                compared += 1
            shutil.rmtree(folder)
        print(f"ok      {compared} conversations through apply_chat_template", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--random", type=int, default=3000)
    parser.add_argument("--conversations", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    program = pathlib.Path(args.program)
    driver = Driver(program.parent / "bin" / "chat_template_driver" if program.name == "hone" else program)
    random_templates(driver, args.random, args.seed)
    real_templates(driver, args.conversations, args.seed)
    through_transformers(driver, args.conversations // 4, args.seed)
    # a comparison that cannot fail is none
    wrong = cases.same(cases.reference("{{ 1 }}", {}), driver.ask({"template": "{{ 2 }}", "variables": {}}))
    report("negative control", None if wrong else "1 and 2 were found equal", "")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
