"""LoRA (Hu et al. 2022), by PEFT."""
