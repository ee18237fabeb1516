"""GSM8K rows as published ({"question", "answer": worked solution with "#### n"}, or with `solution` beside a bare
`answer`) -> rows for hone: {"prompt", "answer", "id"}. Each question is put into a template, R1-Zero's by default.

    python3 recipes/gsm8k/make_prompts.py gsm8k_test.jsonl > gsm8k_prompts.jsonl
    build/release/hone eval --model DIR --data gsm8k_prompts.jsonl --reward math --k 1 --temperature 0

`--template plain` asks in one line without tags, `--template none` gives the bare question, `--template chat` a message for the
chat template of the model.
"""

import argparse
import json
import sys

TEMPLATES = {
    "r1_zero": "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
    "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. The "
    "reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. User: {question} Assistant:",
    "plain": "Question: {question}\nAnswer step by step, and end with the number after ####.\nAnswer:",
    "none": "{question}",
    "chat": "{question}",
}


def final_answer(row):
    """The number after the last ####, without thousands commas; a bare answer as it is."""
    return row["answer"].rsplit("####", 1)[-1].strip().replace(",", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows")
    parser.add_argument("--template", choices=sorted(TEMPLATES), default="r1_zero")
    args = parser.parse_args()
    with open(args.rows, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                prompt = TEMPLATES[args.template].format(question=row["question"])
                if args.template == "chat":
                    prompt = [{"role": "user", "content": prompt}]
                out = {"prompt": prompt, "answer": final_answer(row), "id": number - 1}
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                sys.exit(f"{args.rows}:{number}: {error!r}; a row is {{\"question\": .., \"answer\": \"..#### 18\"}}")
            print(json.dumps(out, ensure_ascii=False))


if __name__ == "__main__":
    main()
