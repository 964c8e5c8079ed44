"""Push a folder, work on it there, pull the result.

python examples/files.py [HOST]
"""

import sys
import tempfile
from pathlib import Path

import sremote

FOLDER = "sremote-example"


def count_words(folder: str) -> int:
    from pathlib import Path

    texts = sorted(Path(folder).glob("*.txt"))
    counts = {text.name: len(text.read_text().split()) for text in texts}
    Path(folder, "counts.csv").write_text("".join(f"{name},{count}\n" for name, count in counts.items()))
    return sum(counts.values())


def main(host: str = "local:") -> None:
    with tempfile.TemporaryDirectory() as here, sremote.connect(host) as client:
        texts = Path(here, "texts")
        texts.mkdir()
        (texts / "one.txt").write_text("the quick brown fox")
        (texts / "two.txt").write_text("jumps over the lazy dog")

        client.push(texts, FOLDER)  # relative paths there begin at the home directory
        try:
            print("Words in all:", client.call_function(count_words, FOLDER))
            client.pull(f"{FOLDER}/counts.csv", Path(here, "counts.csv"))
        finally:
            client.run(["rm", "-r", FOLDER])
        print(Path(here, "counts.csv").read_text(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
