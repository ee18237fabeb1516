"""Bad input: one sentence that names file and remedy, the right exit status, nothing half-written.

    python3 tests/cli/refusals_test.py build/release/hone
"""
import contextlib
import fcntl
import json
import resource
import shutil
import signal
import sqlite3

import harness
from harness import HoneTest, snapshot, write_jsonl


class Refusals(HoneTest):
    @contextlib.contextmanager
    def unchanged(self, folder=None):
        folder = folder or self.tmp
        before = snapshot(folder)
        yield
        self.assertEqual(snapshot(folder), before)

    def recipe_with(self, text, name="bad.yaml"):
        (self.tmp / name).write_text(text)
        return self.tmp / name

    def outside_recipe(self, model=None, data=None, reward="countdown"):
        """Only an rl stage, on a model and data from outside of the run."""
        return self.recipe_with(f"""
name: outside
stages: [{{name: rl, kind: rl, model: "{model or self.model}", data: "{data or self.heldout}", reward_funcs: [{reward}],
  prompts_per_step: 2, num_generations: 2, max_completion_length: 8, max_steps: 1}}]
""")

    def train_refused(self, status, words, recipe, *args, **options):
        """Refused, without a run directory being made; so does --dry-run."""
        run = self.tmp / "run"
        with self.unchanged():
            self.refused(status, words, "train", recipe, "--run-dir", run, *args, **options)
        self.assertFalse(run.exists())
        with self.unchanged():
            self.refused(status, words, "train", recipe, "--run-dir", run, "--dry-run", *args, **options)

    def generate_refused(self, words, *args, model=None):
        done = self.refused(2, words, "generate", "--model", model or self.model, "--jsonl", *args)
        self.assertEqual(done.stdout, "")

    # ---- command line ---------------------------------------------------------------------------------------------

    def test_command_line(self):
        for words, args in (
                (["foo", "train", "generate"], ["foo"]),
                (["'evl'", "did you mean 'eval'"], ["evl", "--k", 3]),
                (["subcommand"], []),
                (["'--modl'", "did you mean '--model'"], ["generate", "--modl", "x"]),
                (["--model", "required"], ["generate", "--prompt", "x"]),
                (["recipe", "required"], ["train"]),
                (["--n", "0"], ["generate", "--model", "x", "--n", 0]),
                (["--n", "abc"], ["generate", "--model", "x", "--n", "abc"]),
                (["--seed", "-1"], ["generate", "--model", "x", "--seed", -1]),
                (["--top-p", "1.5"], ["generate", "--model", "x", "--top-p", 1.5]),
                (["--temperature", "--greedy"], ["generate", "--model", "x", "--greedy", "--temperature", 1]),
                (["--prompt", "--data"], ["generate", "--model", "x"]),
                (["--prompt", "--data"], ["generate", "--model", "x", "--prompt", "y", "--data", "z"]),
                (["f16", "float32"], ["generate", "--model", "x", "--prompt", "y", "--dtype", "f16"]),
                (["--min-p", "1.5"], ["generate", "--model", "x", "--min-p", 1.5]),
                (["--repetition-penalty", "0"], ["generate", "--model", "x", "--repetition-penalty", 0]),
                (["--last", "--logits"], ["logprobs", "--model", "x", "--data", "y", "--last"]),
                (["--stage", "--svg"], ["report", "x", "--stage", "y"]),
                (["--sql", "--lineage"], ["inspect", "x", "--sql", "y", "--lineage", "z"])):
            self.assertEqual(self.refused(2, words, *args).stdout, "")

    # ---- recipes --------------------------------------------------------------------------------------------------

    def test_recipe(self):
        self.train_refused(2, ["nowhere.yaml"], self.tmp / "nowhere.yaml")
        self.train_refused(2, ["broken.yaml"], self.recipe_with("stages: [", "broken.yaml"))
        misspelt = self.recipe_with(self.recipe.read_text().replace("max_steps", "max_step", 1))
        self.train_refused(2, ["bad.yaml:", "base", "max_step", "did you mean 'max_steps'"], misspelt)
        self.train_refused(2, ["max_steps", "-1"], self.recipe, "--set", "base.max_steps=-1")
        self.train_refused(2, ["stage", "nostage"], self.recipe, "--set", "nostage.max_steps=1")
        self.train_refused(2, ["reward", "countdwn", "did you mean 'countdown'"], self.recipe, "--set", "rl.reward_funcs=[countdwn]")
        self.train_refused(2, ["base", "task", "cuntdown", "countdown"], self.recipe, "--set", "base.task=cuntdown")
        self.train_refused(2, ["base", "hiden_size"], self.recipe, "--set", "base.model_config.hiden_size=3")

    def test_files_of_a_recipe(self):
        self.train_refused(2, ["rl", "nodata.jsonl"], self.outside_recipe(data=self.tmp / "nodata.jsonl"))
        self.train_refused(2, ["rl", "nomodel"], self.outside_recipe(model=self.tmp / "nomodel"))
        broken = write_jsonl(self.tmp / "broken.jsonl", [{"prompt": "7 3 12:33\n"}, '{"prompt": \n'])
        self.train_refused(2, ["broken.jsonl:2", "JSON"], self.outside_recipe(data=broken))
        copy = self.copy_of_model()
        (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-100])
        self.train_refused(2, ["rl", "model.safetensors"], self.outside_recipe(model=copy))
        self.train_refused(2, ["rl", "max_completion_length is 400", "max_position_embeddings is 96"], self.recipe, "--set", "rl.max_completion_length=400")

    def test_rows_of_a_recipe(self):
        """Data from outside of the run is read before anything is written, whatever stage is to read it."""
        good = {"prompt": "1", "completion": "2"}
        stage = {
            "sft": "kind: sft, model: MODEL, max_steps: 1",
            "on_policy": "kind: sft, model: MODEL, logit_teacher: MODEL, on_policy_share: 1, max_completion_length: 4, max_steps: 1",
            "judge": "kind: reward_model, model: MODEL, max_steps: 1",
            "filter": "kind: filter, max_length: 9, correct_only: false",
            "pairs": "kind: pairs"}
        for kind, row, words in (
                ("sft", "{", ["is no valid JSON"]),
                ("sft", {"prompt": "1"}, ['has no "completion"']),
                ("sft", {"prompt": 3, "completion": "2"}, ['"prompt" that is not text']),
                ("sft", {"prompt_ids": [1], "completion_ids": [2.5]}, ["not a list of token ids"]),
                ("sft", {"prompt_ids": [1], "completion_ids": [4294967298]}, ["not a list of token ids"]),
                ("sft", {"prompt_ids": [1], "completion_ids": [999]}, ["the token id 999"]),
                ("sft", {"prompt_ids": [1], "completion_ids": [1] * 330}, ["331 tokens", "max_position_embeddings"]),
                ("on_policy", {"text": "1 2"}, ["has no prompt"]),
                ("judge", {"prompt": "1", "chosen": "1"}, ['has no "rejected"']),
                ("filter", {"completion": "1", "completion_ids": [1]}, ['neither "prompt" nor "prompt_ids"']),
                ("filter", good | {"completion_ids": "abc"}, ["not a list of token ids", "a length"]),
                ("pairs", good | {"rollout_id": 1, "reward": "1"}, ['"reward" that is not a number'])):
            first = good | {"rollout_id": 1, "reward": 1, "completion_ids": [1], "chosen": "1", "rejected": "2"}
            data = write_jsonl(self.tmp / "rows.jsonl", [first, row])
            recipe = self.recipe_with(f'stages: [{{name: s, {stage[kind].replace("MODEL", str(self.model))}, data: "{data}"}}]')
            with self.subTest(kind=kind, row=row):
                self.train_refused(2, ["stage 's'", "rows.jsonl:2", *words], recipe)

    # ---- run directories ------------------------------------------------------------------------------------------

    def copy_of_run(self):
        copy = self.tmp / "run"
        shutil.copytree(self.run_dir, copy)
        return copy

    def test_run_directory(self):
        run = self.copy_of_run()
        with self.unchanged():
            self.refused(2, ["run", "--resume"], "train", self.recipe, "--run-dir", run)
            self.refused(2, ["another recipe"], "train", self.recipe, "--run-dir", run, "--resume", "--set", "rl.max_steps=3")
            for flag in ("--until", "--from"):
                self.refused(2, ["nostage", "base, before, rl"], "train", self.recipe, "--run-dir", run, "--resume", flag, "nostage")
            self.refused(2, ["--until base", "--from rl"], "train", self.recipe, "--run-dir", run, "--from", "rl", "--until", "base")
            for change, words in (("seed=9", ["seed"]), ("base.learning_rate=0.1", ["stage 'base'"])):
                self.refused(2, ["--from rl", *words], "train", self.recipe, "--run-dir", run, "--from", "rl", "--set", change)
            self.refused(2, [str(self.recipe), "is a file"], "train", self.recipe, "--run-dir", self.recipe)
        self.ok("train", self.recipe, "--run-dir", run, "--from", "rl", "--set", "rl.learning_rate=1.0e-3")

    def test_run_directory_in_use(self):
        run = self.copy_of_run()
        with open(run / "lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.unchanged():
                self.refused(1, [str(run), "in use"], "train", self.recipe, "--run-dir", run, "--resume")
        self.ok("train", self.recipe, "--run-dir", run, "--resume")

    def test_database_of_a_newer_version(self):
        run = self.copy_of_run()
        with contextlib.closing(sqlite3.connect(run / "run.db")) as db:
            db.execute(f"PRAGMA application_id = {0x686f6e00 + 99}")
        before = (run / "run.db").read_bytes()
        self.refused(1, ["run.db", "99"], "train", self.recipe, "--run-dir", run, "--resume")
        for verb in ("inspect", "report"):
            self.refused(2, ["run.db", "99"], verb, run)
        self.assertEqual((run / "run.db").read_bytes(), before)

    def test_database_that_is_none(self):
        run = self.copy_of_run()
        (run / "run.db").write_bytes(b"no database at all, but text" * 100)
        with self.unchanged():
            for verb in ("inspect", "report"):
                self.refused(2, ["run.db"], verb, run)

    def test_a_gate_that_is_not_reached_is_a_failed_run(self):
        gated = self.recipe_with(self.recipe.read_text().replace("limit: 4,", "limit: 4, gates: {pass@1: 0.9},"))
        self.refused(1, ["before", "pass@1", "0.900", "--set before.gates.pass@1=0 --from rl"], "train", gated, "--run-dir", self.tmp / "run")
        self.assertFalse((self.tmp / "run" / "stages" / "rl").exists())
        self.ok("train", gated, "--run-dir", self.tmp / "run", "--set", "before.gates.pass@1=0", "--from", "rl")

    def test_a_full_disk_leaves_no_half_model(self):
        def limit_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        run = self.tmp / "run"
        args = ("train", self.recipe, "--run-dir", run, "--until", "base", "--set", "base.model_config.hidden_size=128")
        self.refused(1, ["model.safetensors"], *args, preexec_fn=limit_files, restore_signals=False)
        self.assertEqual([p for p in run.rglob("*") if "final" in p.name or ".tmp-" in p.name], [])
        self.ok(*args, "--resume")
        self.ok("inspect", run / "stages" / "base")

    # ---- models ---------------------------------------------------------------------------------------------------

    def model_refused(self, words, change):
        """For a copy of the model after change(copy)."""
        copy = self.copy_of_model()
        change(copy)
        with self.unchanged(copy):
            self.generate_refused(words, "--prompt", "7 3 12:33\n", model=copy)
        shutil.rmtree(copy)

    def test_model_folder(self):
        def change_json(name, **changes):
            def change(model):
                values = json.loads((model / name).read_text())
                (model / name).write_text(json.dumps(values | changes))
            return change

        def change_weights(edit):
            def change(model):
                file = model / "model.safetensors"
                file.write_bytes(edit(file.read_bytes()))
            return change

        def rename_tensor(data):
            return data.replace(b"model.norm.weight", b"model.nose.weight", 1)

        self.generate_refused(["nowhere", "config.json"], "--prompt", "7", model=self.tmp / "nowhere")
        self.model_refused(["config.json"], lambda m: (m / "config.json").write_text("{"))
        self.model_refused(["config.json", "gpt2"], change_json("config.json", model_type="gpt2"))
        self.model_refused(["shape", "config.json"], change_json("config.json", intermediate_size=48))
        self.model_refused(["missing"], change_json("config.json", num_hidden_layers=3))
        self.model_refused(["model.layers.1.", "no place"], change_json("config.json", num_hidden_layers=1))
        self.model_refused(["model.safetensors"], lambda m: (m / "model.safetensors").unlink())
        self.model_refused(["model.safetensors"], change_weights(lambda data: data[:-1]))
        self.model_refused(["model.safetensors"], change_weights(lambda data: data[:40]))
        self.model_refused(["model.safetensors"], change_weights(lambda data: b""))
        self.model_refused(["model.safetensors", "header"], change_weights(lambda data: (1 << 60).to_bytes(8, "little") + data[8:]))
        self.model_refused(["model.norm.weight", "missing"], change_weights(rename_tensor))
        self.model_refused(["tokenizer.json"], lambda m: (m / "tokenizer.json").unlink())
        self.model_refused(["tokenizer.json"], lambda m: (m / "tokenizer.json").write_text("[]"))
        self.model_refused(["generation_config.json", "temperature"], change_json("generation_config.json", temperature="hot"))
        self.model_refused(["generation_config.json", "top_p"], change_json("generation_config.json", top_p=2))

    # ---- rows -----------------------------------------------------------------------------------------------------

    def test_prompts(self):
        def data(*rows):
            return "--data", write_jsonl(self.tmp / "rows.jsonl", rows)

        good = {"prompt": "7 3 12:33\n"}
        self.generate_refused(["--prompt", "no tokens"], "--prompt", "")
        self.generate_refused(["--prompt", '"h" at byte 0'], "--prompt", "hello")
        self.generate_refused(["--prompt", "96", "100"], "--prompt", "7+" * 50)
        self.generate_refused(["8 tokens", "89", "96", "at most 88"], "--prompt", good["prompt"], "--max-new-tokens", 89)
        self.generate_refused(["96"], "--prompt", good["prompt"], "--min-new-tokens", 89)
        self.generate_refused(["--min-new-tokens 9", "--max-new-tokens 8"], "--prompt", "7", "--min-new-tokens", 9, "--max-new-tokens", 8)
        self.generate_refused(["nowhere.jsonl"], "--data", self.tmp / "nowhere.jsonl")
        self.generate_refused(["rows.jsonl"], *data())
        self.generate_refused(["rows.jsonl:2", "JSON"], *data(good, "{\n"))
        self.generate_refused(["rows.jsonl:1", "prompt"], *data({"text": "7"}))
        self.generate_refused(["rows.jsonl:2", "no tokens"], *data(good, {"prompt": ""}))
        self.generate_refused(["rows.jsonl", "121", "vocabulary"], *data({"prompt_ids": [5, 121]}))
        self.generate_refused(["rows.jsonl", "row 1", "96"], *data(good, {"prompt": "7+" * 48}))

    def test_token_rows(self):
        def refused(words, *rows):
            done = self.refused(2, words, "logprobs", "--model", self.model, "--data", write_jsonl(self.tmp / "ids.jsonl", rows))
            self.assertEqual(done.stdout, "")

        good = {"token_ids": [5, 6]}
        refused(["ids.jsonl"])
        refused(["ids.jsonl:2", "JSON"], good, "nonsense\n")
        refused(["ids.jsonl:2", "array"], good, "[5]\n")
        refused(["ids.jsonl:2", "token_ids"], good, {"ids": [5]})
        refused(["ids.jsonl:2", "empty"], good, {"token_ids": []})
        refused(["ids.jsonl:2", "-1"], good, {"token_ids": [-1]})
        refused(["ids.jsonl:2", "1.5"], good, {"token_ids": [1.5]})
        refused(["ids.jsonl:2", "121", "vocabulary"], good, {"token_ids": [0, 121]})
        refused(["ids.jsonl:2", "97", "96"], good, {"token_ids": [5] * 97})
        refused(["ids.jsonl:1", "nested"], '{"token_ids": ' + "[" * 10000 + "\n")
        self.refused(2, ["nowhere.jsonl"], "logprobs", "--model", self.model, "--data", self.tmp / "nowhere.jsonl")
        self.refused(2, ["--experts", "mixture"], "logprobs", "--model", self.model, "--data", "-", "--experts")
        for words, row, flags in ((["standard input:1", "text"], '{"txt": "7"}', []), (["standard input:1", "JSON"], "{", []),
                                  (["standard input:1", '"h" at byte 0'], '{"text": "hello"}', []),
                                  (["standard input:1", "121"], '{"token_ids": [121]}', ["--decode"])):
            self.refused(2, words, "tokenize", "--model", self.model, *flags, stdin=row)

    def test_score(self):
        self.refused(2, ["countdwn", "did you mean 'countdown'"], "score", "--reward", "countdwn", stdin="")
        self.refused(2, ["nowhere.jsonl"], "score", "--reward", "format", "--cases", self.tmp / "nowhere.jsonl")
        good = '{"id": 1, "completion": "x"}\n'
        done = self.refused(2, ["standard input:2", "completion"], "score", "--reward", "format", stdin=good + '{"id": 2}\n')
        self.assertEqual(json.loads(done.stdout)["id"], 1)
        self.refused(2, ["standard input:2", "JSON"], "score", "--reward", "format", stdin=good + "{\n")

    def test_eval(self):
        args = ("eval", "--model", self.model, "--data", self.heldout)
        self.refused(2, ["unknown reward 'frmat'"], *args, "--reward", "frmat")
        self.refused(2, ["task 'chess'"], *args, "--reward", "format", "--task", "chess")
        self.refused(2, ["--save", "nofolder"], *args, "--reward", "format", "--save", self.tmp / "nofolder" / "x.jsonl")
        self.refused(2, ["96"], *args, "--reward", "format", "--max-new-tokens", 96)
        bare = write_jsonl(self.tmp / "bare.jsonl", [{"prompt": "7 3 12:33\n"}])
        self.refused(1, ["could be scored"], "eval", "--model", self.model, "--data", bare, "--reward", "countdown", "--k", 1)

    def test_inspect_and_report(self):
        self.refused(2, ["neither a run", "nor a model"], "inspect", self.tmp)
        self.refused(2, ["--sql", "run.db"], "inspect", self.model, "--sql", "SELECT 1")
        self.refused(2, ["--lineage", "run.db"], "inspect", self.model, "--lineage", "rl")
        self.refused(2, ["'nowhere'", "not there"], "inspect", self.run_dir, "--lineage", "nowhere")
        self.refused(2, ["no rollout 999999"], "inspect", self.run_dir, "--lineage", 999999)
        for sql in ("DELETE FROM steps", "SELEC 1", "SELECT nothing FROM steps", "", "SELECT 1; SELECT 2"):
            with self.unchanged(self.run_dir):
                self.refused(2, ["SQL"], "inspect", self.run_dir, "--sql", sql)
        with self.unchanged():
            self.refused(2, ["run.db"], "report", self.tmp)
            self.refused(2, ["'base'"], "report", self.run_dir, "--svg", self.tmp / "x.svg", "--stage", "base")
            self.refused(1, ["nofolder"], "report", self.run_dir, "-o", self.tmp / "nofolder" / "x.html")


if __name__ == "__main__":
    harness.main()
