"""Verification: pair sets, the pure protocol, embedding on all ranks, reports."""

from recognition.verification.pairs import Pairs, load_pairs
from recognition.verification.protocol import VerificationResult, verify_pairs

__all__ = ["Pairs", "VerificationResult", "load_pairs", "verify_pairs"]
