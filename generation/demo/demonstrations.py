"""The demonstrations, what each shows, and the least that its figures should be.

The least is well below what two or more runs gave, where these differ between machines; README.md has what they gave.
"""

from __future__ import annotations

from generation.demo.summary import Demonstration, Figure

_OF_PROFILES = ("targets", {"name": "frontal_profile"}, "outcomes")

RECOGNITION = Demonstration(
    name="recognition",
    title="Train, verify and export on real faces",
    shows="A network learns 30 people of the AT&T (ORL) faces and tells apart ten others, whom it has never seen.",
    script="demo.py",
    folder="recognition",
    pages={"verification": "run/report/index.html", "verification of the ONNX file": "run/report-onnx/index.html"},
    figures=(
        Figure(
            "accuracy on people never seen",
            "run/report/report.json",
            ("targets", {"name": "orl"}, "outcomes", 0, "accuracy"),
            least=0.80,
        ),
    ),
)
IDENTITY = Demonstration(
    name="identity",
    title="LoRA with an identity loss",
    shows="Two LoRA runs teach a transformer sixteen people who do not exist, one of them with the identity loss.",
    script="demo_identity.py",
    folder="identity",
    pages={"what the loss is worth": "report/index.html"},
    figures=(
        Figure(
            "gain of likeness by a recogniser that no run has seen",
            "report/report.json",
            ("gain", "held_out", "mean"),
            least=0.005,
            form="{:+.3f}",
        ),
        Figure("time of a step, more than without", "report/report.json", ("overhead",), form="{:+.0%}"),
    ),
)
POSE = Demonstration(
    name="pose",
    title="The same face at another angle",
    shows="ImageControlNet turns people who do not exist, and the turned faces help a recogniser with profiles.",
    script="demo_pose.py",
    folder="pose",
    pages={"turned faces": "report/index.html", "what they are for": "profiles/index.html"},
    figures=(
        Figure(
            "PSNR in dB on people never seen",
            "report/report.json",
            ("table", "bins", 0, "makers", "spatial", "psnr_db", "mean"),
            least=20.0,
            form="{:.1f}",
        ),
        Figure(
            "accuracy on profiles, trained with turned faces",
            "profiles/report.json",
            (*_OF_PROFILES, 0, "accuracy"),
            least=0.80,
        ),
        Figure("and without", "profiles/report.json", (*_OF_PROFILES, 1, "accuracy")),
    ),
    picture="report/pictures.png",
)
EDITING = Demonstration(
    name="editing",
    title="Faces with other attributes",
    shows="StarGAN edits people who do not exist; BiSeNet parses them; the generator becomes ONNX of 8 bits.",
    script="demo_editing.py",
    folder="editing",
    pages={
        "edits": "report/index.html",
        "faces of others, analysed": "analysed/index.html",
        "parts of faces": "parsed.png",
        "ONNX files": "onnx/table.md",
    },
    figures=(
        Figure(
            "target seen in edited pictures by a network trained apart",
            "report/report.json",
            ("edits", {"edit": "mean"}, "target_after"),
            form="{:.1%}",
        ),
        Figure(
            "gain, the mean over edits",
            "report/report.json",
            ("edits", {"edit": "mean"}, "gain", "mean"),
            least=0.30,
            form="{:+.1%}",
        ),
        Figure(
            "and in the same untouched",
            "report/report.json",
            ("edits", {"edit": "mean"}, "target_before"),
            form="{:.1%}",
        ),
        Figure("mIoU of the parser", "parsed.json", ("miou",), least=0.30),
        Figure(
            "PSNR in dB of the generator in 8 bits to float32",
            "onnx/table.json",
            ("rows", {"model": "ONNX int8, static"}, "psnr_db_mean"),
            least=40.0,
            form="{:.1f}",
        ),
    ),
    picture="report/edits.png",
)
DEMONSTRATIONS = (RECOGNITION, IDENTITY, POSE, EDITING)
