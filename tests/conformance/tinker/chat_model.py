"""A small seeded model with a tokenizer beside it, for programs that ask for one."""

import tokenizers
import transformers

END = "<|im_end|>"
SPECIAL = ["<|endoftext|>", "<|im_start|>", END]


def make_model(folder):
    """A byte-level vocabulary with the chat tokens of Qwen, and seeded weights."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[])
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=SPECIAL[0]
    ).save_pretrained(folder)
    transformers.set_seed(1)
    config = transformers.Qwen3Config(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, max_position_embeddings=2048,
        tie_word_embeddings=False, eos_token_id=made.token_to_id(END),
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
