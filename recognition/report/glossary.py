"""What each figure of a report means, for a reader who meets it for the first time."""

GLOSSARY = (
    (
        "Accuracy",
        "Share of pairs judged rightly, same person or not. The pairs are cut into ten folds in the order of "
        "the file; each fold is judged with the threshold that is best on the other nine, so no pair helps to "
        "choose its own threshold. After ± stands the standard deviation over the folds. Guessing gives 50 % "
        "when both kinds are equally many.",
    ),
    (
        "AUC",
        "Probability that a random same-person pair is more alike than a random different-person pair. It "
        "needs no threshold: 0.5 is guessing, 1 is perfect.",
    ),
    (
        "EER (equal error rate)",
        "Error rate at the threshold where as many different pairs are let in as same-person pairs are "
        "missed, both as shares of their kind. Lower is better.",
    ),
    (
        "TAR at FAR",
        "True accept rate at a false accept rate: the share of same-person pairs accepted by the most "
        "generous threshold that lets in no more than the given share of different pairs. This is the figure "
        "for a door or a phone. A dash means that the set has too few different pairs to say: FAR 0.1 % needs "
        "at least 1,000 of them.",
    ),
    (
        "XNorm",
        "Mean length of the embeddings before they are normalised. It says nothing about quality by itself; a "
        "value that grows or shrinks steadily during training is an early sign of divergence or collapse.",
    ),
    (
        "Distance, cosine and threshold",
        "Embeddings are summed over a picture and its mirror image and scaled to length 1. The squared "
        "distance d between two of them lies between 0 (alike) and 4; the cosine similarity is 1 - d / 2. A "
        "pair counts as one person when d is below the threshold, here the mean of the ten folds' thresholds.",
    ),
)
