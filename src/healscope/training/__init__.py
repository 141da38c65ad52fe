"""The three ways weights change here: pretraining, SFT and RL. Each can be killed and resumed."""
