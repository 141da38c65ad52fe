"""Pictures in prompts: token ids that a vision-language model sees as pictures.

Programs that know vision-language models pass pixels beside token ids. Here a token id says which
picture it is, so that all that works on ids, generation as well as SFT and RL, shows pictures too:
a hook on the embeddings replaces the vectors of these ids by what the model's own tower and
connector compute of the pixels. Without the hook the model is the SmolVLM of transformers, which
computes the same from `pixel_values` where each of these ids is `image_token_id`.

The ids are `image_token_id` and those that follow it, one for each picture of the file beside the
weights, a strip of squares from top to bottom.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration

from healscope.config.models import Vision
from healscope.errors import HealscopeError

FILE = "picture_tokens.png"
"""File of a checkpoint folder: the pictures that its model sees."""


def seeing(vision: Vision, text: LlamaConfig, tokenizer, pictures: Mapping[str, np.ndarray]):
    """Return a freshly initialised SmolVLM that sees the words of `pictures` as these.

    `text` is the config of its language model. The tower reads square patches, and the connector
    joins those of a picture in one vector, which begins as large as the embedding of a word.
    Raises HealscopeError where the words' ids do not follow each other, or sizes do not fit.
    """
    pixels = np.stack([*pictures.values()])
    size, first = pixels.shape[1], tokenizer.convert_tokens_to_ids(next(iter(pictures)))
    if tokenizer.convert_tokens_to_ids([*pictures]) != [*range(first, first + len(pictures))]:
        raise HealscopeError("the words of pictures must be the last words of a task, in order")
    if size % vision.patch_size:
        raise HealscopeError(
            f"vision.patch_size: {vision.patch_size} does not divide the {size} pixels of a picture"
        )
    tower = {
        "hidden_size": vision.hidden_size,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads,
        "intermediate_size": vision.ffn_size,
        "image_size": size,
        "patch_size": vision.patch_size,
        "initializer_range": text.initializer_range,
    }
    model = SmolVLMForConditionalGeneration(
        SmolVLMConfig(
            text_config=text.to_dict(),
            vision_config=tower,
            scale_factor=size // vision.patch_size,
            image_token_id=first,
            pad_token_id=text.pad_token_id,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        joined = model.model.connector.modality_projection.proj.weight
        joined /= joined.shape[1] ** 0.5
    attach(model, pixels)
    return model


def attach(model, pixels: np.ndarray) -> None:
    """Make a SmolVLM see `pixels` (N, size, size, 3), in RGB of 8 bits, at its picture ids."""
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    model.model.register_buffer("pictures", scaled.to(model.device), persistent=False)
    model.get_input_embeddings().register_forward_hook(partial(_see, model.model))


def _see(network, _embeddings, given: tuple, vectors_BLH: torch.Tensor) -> torch.Tensor:
    which_BL = given[0] - network.config.image_token_id
    shown_BL = (which_BL >= 0) & (which_BL < len(network.pictures))
    if not shown_BL.any():
        return vectors_BLH
    different, back = which_BL[shown_BL].unique(return_inverse=True)
    seen_N1H = network.get_image_features(network.pictures[different][None]).pooler_output
    vectors_BLH = vectors_BLH.clone()
    vectors_BLH[shown_BL] = seen_N1H[back, 0].to(vectors_BLH.dtype)
    return vectors_BLH


def save(folder: str | Path, model) -> None:
    """Write the pictures that a model sees, if it sees any, as one PNG file of its folder."""
    pixels = getattr(model.base_model, "pictures", None)
    if pixels is not None:
        from PIL import Image

        scaled = ((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu()
        Image.fromarray(scaled.flatten(0, 1).numpy()).save(Path(folder) / FILE)


def load(folder: str | Path, model) -> None:
    """Make a model see the pictures of its folder, if there are any."""
    if (file := Path(folder) / FILE).is_file():
        from PIL import Image

        strip = np.array(Image.open(file))
        attach(model, strip.reshape(-1, strip.shape[1], *strip.shape[1:]))
