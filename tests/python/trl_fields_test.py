"""docs/trl_fields.md lists every field of the installed TRL's configs, no other, and the configs do what it says."""
import dataclasses
import unittest

from hone_package import ROOT

import hone
import trl
from hone import trl_fields


class TrlFieldsTest(unittest.TestCase):
    def test_every_field_is_there(self):
        for theirs, own in ((trl.GRPOConfig, trl_fields.GRPO), (trl.SFTConfig, trl_fields.SFT)):
            self.assertEqual({f.name for f in dataclasses.fields(theirs)}, set(own), theirs.__name__)

    def test_the_page_is_that_of_the_table(self):
        self.assertEqual((ROOT / "docs/trl_fields.md").read_text(), trl_fields.markdown(),
                         "print it again: python -m hone.trl_fields > docs/trl_fields.md")

    def test_fields_that_are_the_same_take_trls_default_or_say_why_not(self):
        """A script that spells out TRL's defaults runs, but for those that the table refuses or names otherwise."""
        for theirs, own, config in ((trl.GRPOConfig, trl_fields.GRPO, hone.GRPOConfig), (trl.SFTConfig, trl_fields.SFT, hone.SFTConfig)):
            for f in dataclasses.fields(theirs):
                if own[f.name][0] != "same" or f.default is dataclasses.MISSING:
                    continue
                with self.subTest(config=config.__name__, field=f.name, default=f.default):
                    batch = {"per_device_train_batch_size": 8} | ({"num_generations": 8} if config is hone.GRPOConfig else {})
                    config(**(batch | {f.name: f.default}))

    def test_refused_fields_say_why(self):
        for config, fields in ((hone.GRPOConfig, trl_fields.GRPO), (hone.SFTConfig, trl_fields.SFT)):
            for name, (kind, why) in fields.items():
                if kind == "refused":
                    with self.assertRaises(ValueError) as caught:
                        config(**{name: "something"})
                    self.assertIn(why, str(caught.exception))
                    self.assertIn(name, str(caught.exception))
                    config(**{name: None})

    def test_translations(self):
        c = hone.GRPOConfig(per_device_train_batch_size=8, gradient_accumulation_steps=4, num_generations=16, steps_per_generation=8,
                            epsilon=0.1, scale_rewards=False, max_steps=-1, num_train_epochs=2, lr_scheduler_type="linear")
        self.assertEqual((c.prompts_per_step, c.steps_per_generation, c.epsilon_high, c.scale_rewards), (2, 2, 0.1, "none"))
        self.assertEqual(c.steps_of(40), 40)  # 2 epochs of 10 rollouts of 4 prompts, 2 steps each
        self.assertEqual(c.stage(40)["lr_min_ratio"], 1 / 40)
        self.assertEqual(hone.GRPOConfig(loss_type="cispo", epsilon_high=5.0).epsilon_high, 4.0)
        self.assertEqual(hone.GRPOConfig(importance_sampling_level="sequence", loss_type="grpo").loss_type, "gspo")
        self.assertEqual(hone.GRPOConfig(bf16=True).dtype, "bfloat16")
        self.assertEqual(hone.GRPOConfig(loss_type="bnpo", per_device_train_batch_size=32).bnpo_sequences, 32)
        for bad, message in (({"per_device_train_batch_size": 6}, "no multiple of num_generations"), ({"top_p": 0.9}, "1.0 only"),
                             ({"lerning_rate": 1}, "did you mean 'learning_rate'"), ({"learning_rate": -1}, "learning_rate is -1"),
                             ({"loss_type": "vespo"}, "one of grpo"), ({"use_vllm": True}, "hone samples itself"),
                             ({"sync_ref_model": True}, "ref_model_mixup_alpha=1.0"), ({"optim": "sgd"}, "allowed is adamw")):
            with self.assertRaisesRegex((ValueError, TypeError), message):
                hone.GRPOConfig(**bad)


if __name__ == "__main__":
    unittest.main(verbosity=2)
