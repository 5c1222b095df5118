"""The half of the proof that runs inside MXNet's own environment: imports mxnet and nothing of this project.

python mxnet_side.py read FOLDER...     print, as JSON, what MXNet reads in each set, and write each set again
python mxnet_side.py write FOLDER       write sets of every layout, and print what is in them
python mxnet_side.py train FOLDER       walk over a packed set the way arcface_torch's data set does
python mxnet_side.py pairs FILE         open a .bin verification set the way insightface does
"""

import hashlib
import json
import pickle
import sys
from pathlib import Path

import mxnet as mx
import numpy as np

MAGIC = (0xCED7230A).to_bytes(4, "little")


def describe(key, header, payload):
    labels = [float(label) for label in np.atleast_1d(header.label)]
    digest = hashlib.sha256(payload).hexdigest()
    return [key, int(header.flag), labels, int(header.id), int(header.id2), len(payload), digest]


def read(folder):
    """Every record by key, then in file order; then the same records written by MXNet into `folder`/again."""
    records = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "r")
    found = [describe(key, *mx.recordio.unpack(records.read_idx(key))) for key in sorted(records.keys)]
    plain = mx.recordio.MXRecordIO(str(folder / "train.rec"), "r")
    again = folder / "again"
    again.mkdir(exist_ok=True)
    copy = mx.recordio.MXIndexedRecordIO(str(again / "train.idx"), str(again / "train.rec"), "w")
    for key in records.keys:
        raw = plain.read()
        assert raw == records.read_idx(key), f"key {key}: reading by key and in order differ"
        copy.write_idx(key, mx.recordio.pack(*mx.recordio.unpack(raw)))
    assert plain.read() is None, "records after the last key"
    copy.close()
    return found


def write(folder):
    """Sets of every layout; payloads random, many with the magic inside, at aligned and other places."""
    rng = np.random.RandomState(7)
    described = {}

    def write_set(name, records):
        (folder / name).mkdir(parents=True, exist_ok=True)
        out = mx.recordio.MXIndexedRecordIO(str(folder / name / "train.idx"), str(folder / name / "train.rec"), "w")
        rows = []
        for key, label, id_, id2, payload in records:
            packed = mx.recordio.pack(mx.recordio.IRHeader(0, label, id_, id2), payload)
            out.write_idx(key, packed)
            rows.append(describe(key, *mx.recordio.unpack(packed)))
        out.close()
        described[name] = sorted(rows)

    def payload(most=200):
        pieces = [MAGIC, MAGIC[1:], b"\0" * 3, bytes(rng.randint(0, 256, 40, dtype=np.uint8))]
        return b"".join(pieces[i] for i in rng.randint(0, 4, rng.randint(0, most // 10)))

    images = [(key, float(key % 5), key, 0, b"\xff\xd8" + payload()) for key in range(1, 41)]
    identities = [(41 + i, [1.0, 41.0], 41 + i, 0, b"") for i in range(5)]
    write_set("insightface", [(0, [41.0, 46.0], 0, 0, b""), *images, *identities])
    write_set("im2rec", [(key, float(key % 7), key, 0, payload()) for key in range(60)])
    write_set("vector_label", [(key, [float(key % 3), 0.5, -2.0], key, 0, payload()) for key in range(40)])
    write_set("multipart", [(key, float(key), key, 0, payload(2000)) for key in range(200)])
    write_set("any_key", [(key, 1.0, key, 2, payload()) for key in (9, 4, 10**12, 0, 77)])
    write_set("large", [(0, 0.0, 0, 0, bytes(8 << 20)), (1, 1.0, 1, 0, MAGIC * (1 << 18)), (2, 2.0, 2, 0, b"end")])
    return described


def train(folder):
    """arcface_torch's rule: keys from 1 to the header's first label; each label a number, each image decodable.

    And the rule of insightface's older trainers: from there to the header's second label, the images of an identity.
    """
    records = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "r")
    header, _ = mx.recordio.unpack(records.read_idx(0))
    assert header.flag > 0
    end_of_images, end = map(int, header.label)
    rows = []
    for key in range(1, end_of_images):
        header, image = mx.recordio.unpack(records.read_idx(key))
        pixels = mx.image.imdecode(image).asnumpy()
        rows.append([key, int(np.atleast_1d(header.label)[0]), list(pixels.shape), int(pixels.astype(np.int64).sum())])
    identities = []
    for key in range(end_of_images, end):
        header, _ = mx.recordio.unpack(records.read_idx(key))
        identities.append([key, *map(int, header.label)])
    return {"images": rows, "identities": identities}


def pairs(path):
    with open(path, "rb") as file:
        images, issame = pickle.load(file, encoding="bytes")  # our own file, made a moment ago
    sums = [int(mx.image.imdecode(image).asnumpy().astype(np.int64).sum()) for image in images]
    return {"sums": sums, "issame": [bool(same) for same in issame]}


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "read":
        result = {Path(path).name: read(Path(path)) for path in paths}
    else:
        result = {"write": write, "train": train, "pairs": pairs}[command](Path(paths[0]))
    print(json.dumps(result))
