"""Find the faces of pictures and videos, and say what models know of them.

    python launch/analyze.py photos --out faces --detector yunet.onnx
    python launch/analyze.py film.mp4 --out faces --pack buffalo_l --every 10
    python launch/analyze.py --models                       which models there are, on which terms, and where they lie

DIR gets faces.json (one line for each picture or frame: boxes, points, landmarks, pose, gender and age, parts,
embedding, and notes on what makes these worse), pictures/ with all of it drawn, masks/ with the classes of the pixels,
and index.html. What cannot be read is listed there. Ctrl-C leaves what was done until then.

A model is a file, or a name that --models lists; nothing is downloaded. A pack has a detector, landmarks, gender and
age, and a recogniser; what is named otherwise takes the place of the pack's.
"""

import argparse
from pathlib import Path

from generation.analysis.analyser import Analyser, open_analyser
from generation.analysis.run import Wanted, analyse
from generation.models import models_text
from recognition.command import run_command
from recognition.errors import InputError


def main() -> None:
    """Open the models, look at all pictures, print the counts."""
    given = parse()
    if given.models:
        print(models_text(given.root))
        return
    if given.source is None or given.out is None:
        raise InputError("give a picture, a folder or a video, and --out DIR; --models lists the models")
    analyser = open_analyser(
        pack=given.pack,
        root=given.root,
        detector=given.detector,
        landmarks=given.landmarks or (),
        attributes=given.attributes,
        parser=given.parser,
        recogniser=given.recogniser,
        device=given.device,
        min_score=given.min_score,
        min_size=given.min_size,
        largest=given.largest,
    )
    tally = analyse(given.source, given.out, analyser, Wanted(given.every, given.pictures, given.compare))
    print(f"{tally.faces} faces in {tally.pictures} pictures: {given.out}")
    if tally.left_out_of_comparison:
        print(f"compared: the first {len(tally.compared)} faces, {tally.left_out_of_comparison} more were not")
    for name, reason in tally.failed[:10]:
        print(f"not read: {name}: {reason}".encode(errors="backslashreplace").decode())
    if len(tally.failed) > 10:
        print(f"not read: {len(tally.failed) - 10} more, see faces.json")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, nargs="?", metavar="IMAGE|FOLDER|VIDEO", help="what to look at")
    add("--out", type=Path, metavar="DIR", help="folder for the results")
    add("--models", action="store_true", help="list the models that are known, and end")
    add("--pack", metavar="PACK", help="buffalo_l, buffalo_m, buffalo_s, antelopev2, or a folder with their files")
    add("--root", type=Path, metavar="R", help="folder that packs and models are looked for in (default: see --models)")
    add("--detector", metavar="F", help="YuNet, SCRFD or CenterFace (.onnx), or a .json of known faces")
    add("--landmarks", nargs="+", metavar="F", help="2d106det, 1k3d68, PFLD-68 (.onnx) or dlib's 68 (.dat), one a kind")
    add("--attributes", metavar="F", help="InsightFace's genderage.onnx")
    add("--parser", metavar="F", help="BiSeNet: 79999_iter.pth, a checkpoint or .onnx")
    add("--recogniser", metavar="RUN", help="training run, checkpoint, .onnx or whatever launch/verify.py takes")
    add("--compare", action="store_true", help="write cosines.json, of each two faces found")
    add("--every", type=int, default=Wanted.every, metavar="N", help="each Nth frame of a video (default: %(default)s)")
    add("--largest", action="store_true", help="only the largest face of each picture")
    add("--min-score", type=float, default=Analyser.min_score, help="the detector's, 0.3 to 1 (default: %(default)s)")
    add("--min-size", type=int, default=Analyser.min_size, help="pixels of a box's shorter side (default: %(default)s)")
    add("--no-pictures", dest="pictures", action="store_false", help="no pictures/ and no page")
    add("--device", default="cpu", choices=("cpu", "cuda"), help="for detector, parser, recogniser (default: cpu)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
