"""Supervised fine-tuning.    python python/examples/sft.py MODEL [OUTPUT_DIR]"""
import sys

from hone import SFTConfig, SFTTrainer

rows = [{"prompt": chr(0x4E00 + i) * 4, "completion": chr(0x4E00 + i) * 3} for i in range(2, 34)]
trainer = SFTTrainer(model=sys.argv[1], train_dataset=rows, eval_dataset=rows[:8],
                     args=SFTConfig(output_dir=sys.argv[2] if len(sys.argv) > 2 else "runs/copies", learning_rate=3e-3,
                                    per_device_train_batch_size=16, max_steps=20))
before = trainer.evaluate()["eval_loss"]
trainer.train()
print("loss before and after:", before, trainer.evaluate()["eval_loss"])
