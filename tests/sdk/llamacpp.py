"""llama.cpp's own server with a model of a few weights, made here: `python llamacpp.py FOLDER PORT`.

Owns: the model and the process. Must not: need a download: the weights are random numbers of a fixed seed, so what it
says is nonsense, and always the same nonsense.
Read next: test_llamacpp.py.
"""

import pathlib
import sys
import time

WORDS = " the| ring| way| of| tokens| is| fast| and| still|.| a| small| model| says| so".split("|")
BYTES = 256
WIDTH = 64
INNER = 128
HEADS = 4


def write_model(path: pathlib.Path) -> None:
    import gguf
    import numpy

    random = numpy.random.default_rng(7)

    def weights(*shape: int):
        return (random.standard_normal(shape) * 0.4).astype(numpy.float32)

    ones = numpy.ones(WIDTH, numpy.float32)
    marks = ["<unk>", "<s>", "</s>"]
    tokens = marks + [f"<0x{byte:02X}>" for byte in range(BYTES)] + [word.replace(" ", "\u2581") for word in WORDS]
    kinds = [2, 3, 3] + [6] * BYTES + [1] * len(WORDS)
    out = weights(len(tokens), WIDTH)
    out[: len(marks) + BYTES] = 0  # it says words only
    tensors = {"token_embd": weights(len(tokens), WIDTH), "output": out, "output_norm": ones}
    shapes = {"ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
    shapes |= {name: (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    tensors |= {f"blk.0.{name}": weights(*shape) for name, shape in shapes.items()}
    tensors |= {"blk.0.attn_norm": ones, "blk.0.ffn_norm": ones}

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:")
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    import xllamacpp

    folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    model = folder / "tiny.gguf"
    write_model(model)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 2048
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
