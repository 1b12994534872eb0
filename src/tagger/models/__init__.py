"""Chat models: which there are, how they get here, and how they are loaded.

A name becomes a `LanguageModel`: token ids in, hidden states and logits out.
"""

import logging

# Transformers imports torchao where it is installed, which warns of GPU kernels that it lacks and,
# by a deprecated call, of PyTorch's future. Nobody who tags READMEs can do anything about either.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
