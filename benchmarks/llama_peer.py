"""llama.cpp as a child of `peers.py`, in an environment that has `llama-cpp-python` and no tagger.

    python llama_peer.py MODEL.gguf THREADS

Reads JSON values, one a line: first the names of the tags, then READMEs. Writes one for each: first
what it was built for, then {"tags": [...]}.
"""

import json
import sys

import llama_cpp

CONTEXT = 4096
SYSTEM = "You label software repositories with tags from a fixed list."


def main() -> None:
    """Answer until standard input ends."""
    names = json.loads(sys.stdin.readline())
    model = llama_cpp.Llama(
        sys.argv[1],
        n_ctx=CONTEXT,
        n_batch=CONTEXT,
        n_ubatch=512,
        n_threads=int(sys.argv[2]),
        n_threads_batch=int(sys.argv[2]),
        verbose=False,
    )
    tags = {
        "type": "array",
        "items": {"type": "string", "enum": names},
        "minItems": 1,
        "maxItems": 3,
    }
    schema = {"type": "object", "properties": {"tags": tags}, "required": ["tags"]}
    asked = f"The list of tags: {', '.join(names)}\n\nWhich tags of the list describe this "
    asked += "repository? Its README:\n\n"
    built = llama_cpp.llama_print_system_info().decode()
    print(json.dumps(f"{llama_cpp.__version__}: {built}"), flush=True)
    for line in sys.stdin:
        # The model keeps what the last prompt and this one begin with alike: system and list.
        reply = model.create_chat_completion(
            [
                {"role": "system", "content": SYSTEM},
                {
                    "role": "user",
                    "content": f"{asked}{json.loads(line)}\n\nChoose at most 3 tags from the list.",
                },
            ],
            response_format={"type": "json_object", "schema": schema},
            temperature=0.0,
            max_tokens=64,
        )
        print(reply["choices"][0]["message"]["content"].replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
