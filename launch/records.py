"""Make and look at record sets; `python launch/records.py COMMAND -h` explains each command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from recognition.command import run_command
from recognition.data.encode import FITS
from recognition.data.inspection import stats, verify
from recognition.data.label_noise import parse_noise, write_noisy
from recognition.data.packing import pack_folder, pack_list, unpack
from recognition.data.pairing import encode_pairs, make_pairs, read_pair_list
from recognition.data.recordio import rec_path
from recognition.errors import InputError
from recognition.verification.pairs import write_pairs


def main() -> None:
    """Run the command that the command line names."""
    parser = argparse.ArgumentParser(prog="python launch/records.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    pack = add("pack", run_pack)
    pack.add_argument("source", type=Path, help="folder of folders, or list: index<TAB>label<TAB>path in each line")
    pack.add_argument("out", type=Path, help="folder to write; a set that is there is replaced when all went well")

    unpacking, checking, counting = add("unpack", run_unpack), add("verify", run_verify), add("stats", run_stats)
    noise = add("noise", run_noise)
    kind = noise.add_mutually_exclusive_group(required=True)
    kind.add_argument("--flip", metavar="SHARE", help="of the images get the label of another identity, e.g. 0.4")
    kind.add_argument("--conflict", metavar="SHARE[:LABELS]", help="of the identities get LABELS labels (default: 2)")
    for command in (unpacking, checking, counting, noise):
        command.add_argument("rec", type=rec_path, help="train.rec, or the folder that holds it")
    for command in (unpacking, noise):
        command.add_argument("out", type=Path, help="folder to make")

    pairs = add("pairs", run_pairs)
    pairs.add_argument("folder", type=Path, help="folder of folders; with --list: what its paths are relative to")
    pairs.add_argument("out", type=Path, help=".bin file to write")
    pairs.add_argument("--num-pairs", type=int, help="a multiple of 20 (default: all there are, up to 6000)")
    pairs.add_argument("--list", type=Path, help="take these: LFW pairs.txt, or lines `path,path,1` or `path,path,0`")
    for command in (noise, pairs):
        command.add_argument("--seed", type=int, default=0, help="another seed, another draw (default: 0)")
    for command in (pack, pairs):
        command.add_argument("--image-size", type=int, help="pixels square; default: all images have one size already")
        command.add_argument("--fit", choices=FITS, default="pad", help="how the others become square (default: pad)")
        command.add_argument("--quality", type=int, default=95, help="of JPEGs that must be made (default: 95)")

    given = parser.parse_args()
    given.run(given)


def run_pack(given: argparse.Namespace) -> None:
    """Folder per identity, or a .lst file -> OUT/train.rec, train.idx, property in InsightFace's layout."""
    if not given.source.exists():
        raise InputError(f"{given.source} does not exist; give a folder with one folder per identity, or a .lst file")
    pack = pack_folder if given.source.is_dir() else pack_list
    packed = pack(given.source, given.out, image_size=given.image_size, fit=given.fit, quality=given.quality)
    print(f"packed {packed.num_images} images of {packed.num_classes} identities into {packed.path}")
    for remark in packed.remarks:
        print(f"note: {remark}")


def run_unpack(given: argparse.Namespace) -> None:
    """Images of a record set -> a new folder per identity; pack it again: the same labels."""
    unpacked = unpack(given.rec, given.out)
    print(f"unpacked {unpacked.num_images} images of {unpacked.num_classes} identities into {unpacked.path}")


def run_noise(given: argparse.Namespace) -> None:
    """Copy of a record set with wrong labels, for experiments; its noise.csv lists what was changed."""
    noise = f"flip:{given.flip}" if given.flip else f"conflict:{given.conflict}"
    noisy = write_noisy(given.rec, given.out, parse_noise(noise), seed=given.seed)
    print("; ".join([f"wrote {noisy.num_images} images under {noisy.num_classes} labels", *noisy.remarks]))


def run_verify(given: argparse.Namespace) -> None:
    """Check index, frames, labels, and that every image decodes; exit code 2 on problems."""
    seen = verify(given.rec)
    print(seen)
    if seen.num_problems:
        raise InputError(f"{seen.path}: {seen.num_problems} problems (listed above); re-copy the set or pack it again")
    print("  sound: every record and every image can be read")


def run_stats(given: argparse.Namespace) -> None:
    """Count images and classes without decoding images."""
    print(stats(given.rec))


def run_pairs(given: argparse.Namespace) -> None:
    """Folder per identity -> set OUT.bin: as many genuine as impostor pairs in 10 folds, as LFW."""
    if given.list:
        pairs, issame = read_pair_list(given.list, given.folder)
    else:
        pairs, issame = make_pairs(given.folder, num_pairs=given.num_pairs, seed=given.seed)
    images = encode_pairs(pairs, image_size=given.image_size, fit=given.fit, quality=given.quality)
    write_pairs(given.out, images, issame)
    print(f"wrote {len(issame)} pairs, {sum(issame)} of one person, to {given.out}")


if __name__ == "__main__":
    run_command(main)
