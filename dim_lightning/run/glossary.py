"""What each logged number means, in a sentence or two."""

import re

_MEANINGS = (
    (
        r"(train|val|test)/loss",
        "What is minimised: -alpha x global - beta x local + gamma x prior for Deep InfoMax, the "
        "weighted sum of its own terms for another method.",
    ),
    (
        r"(train|val|test)/local",
        "The estimator's value (in nats; squared_hellinger and pearson_chi2 have no unit) on pairs "
        "of a code and one location of a feature map: "
        "real pairs against those of other images. Larger is better. With jensen_shannon it lies "
        "between -2 log 2 = -1.386, chance, and 0. Methods trained on several views have a single "
        "view outside training, the whole image, paired with itself, which is easier: no sign of "
        "overfitting if it is above train/local.",
    ),
    (
        r"(train|val|test)/global",
        "The same on pairs of a code and a whole image.",
    ),
    (
        r"(train|val|test)/patches",
        "The same on pairs of locations at two different places of feature maps: real pairs are of "
        "one image, others of two.",
    ),
    (
        r"(train|val|test)/(global|local|patches)_(?P<estimator>\w+)",
        "The value of another estimator on the same scores, without gradient: it reports and does "
        "not train. Of critics trained with info_nce or n_way_nce these two alone say something; "
        "others may be far off.",
    ),
    (
        r"(train|val|test)/prior",
        "GaussianKL: the KL divergence of the codes to N(0, I), in nats a dimension; smaller is "
        "closer. SIGReg: a test statistic, about 1 at N(0, I); smaller is closer. "
        "AdversarialPrior: the encoder's loss, log 2 = 0.693 where the discriminator is fooled; "
        "no distance, as it is low also where the discriminator is bad: read it beside "
        "`discriminator`.",
    ),
    (
        r"(train|val|test)/discriminator",
        "The loss of the adversary, in nats: 2 log 2 = 1.386 where it cannot tell codes from draws "
        "of the prior (BiGAN: images and their codes from codes and their images), 0 where it "
        "always can.",
    ),
    (
        r"(train|val|test)/encoder_generator",
        "BiGAN: the loss of its adversary's opponents, in nats: 2 log 2 = 1.386 where the "
        "adversary is fooled, more where they are found out.",
    ),
    (
        r"(train|val|test)/square_error",
        "Mean square error of the decoded images, a pixel and colour of values in [0, 1].",
    ),
    (
        r"(train|val|test)/reconstruction",
        "VAE: -log q(x|z), in nats an image, of a Gaussian around the decoded image. A density, "
        "so it may be negative.",
    ),
    (r"(train|val|test)/kl", "VAE: KL divergence of p(z|x) to N(0, I), in nats an image."),
    (
        r"(train|val|test)/square_distance",
        "NAT: mean square distance of a code's direction to the image's own target on the sphere; "
        "2 is chance, 0 perfect.",
    ),
    (
        r".+/top5",
        "Share of the images whose class is among the five of largest score, in place of the first "
        "alone; of data with more than 10 classes. Of equal scores the lower class comes first, "
        "and a class that no neighbour votes for is not among them.",
    ),
    (
        r".+/mean_per_class",
        "Mean over the classes of the share of each one's test images that is classified rightly: "
        "every class counts the same, where top1 counts every image. Given where the classes have "
        "different numbers of test images.",
    ),
    (r"(train|val|test)/top1", "Supervised: accuracy of the classifier that trains the encoder."),
    (
        r"(train|val|test)/(relative_)?coordinates",
        "Cross-entropy, in nats, of predicting where in the feature map a local feature lies, or "
        "the offset between two. Smaller is better.",
    ),
    (r"(train|val|test)/penalty", "Mean square of the critics' scores, real and other pairs."),
    (
        r"probe/online/top1",
        "Validation accuracy of a linear classifier that is trained beside the encoder, on its "
        "detached code. The encoder never sees a label.",
    ),
    (
        r"best/.*",
        "The largest value so far: what a sweep maximises, which looks at the last value only.",
    ),
    (r"probe/online/train_loss", "Cross-entropy of that classifier on training images, in nats."),
    (
        r"(random/)?knn/(cosine|euclidean)/k\d+.*",
        "Accuracy of a vote among the k nearest training images by the code (or by the layer "
        "named), in validation of neighbours.bank_size of them and in a test of all, which finds "
        "nearer ones. t is the temperature that weights the votes of the cosine form.",
    ),
    (
        r"neighbours/\w+/precision",
        "Share of the neighbours in the pictures that have the class of their query.",
    ),
    (
        r"geometry/effective_rank",
        "How many directions the validation codes fill (RankMe: the exponential of the entropy of "
        "their normalised singular values). They are not centred: a mean far from 0 lowers it too. "
        "Near 1 they have collapsed.",
    ),
    (
        r"geometry/mean_abs",
        "Mean distance of the codes' per-dimension mean from 0, the prior's.",
    ),
    (r"geometry/std\w*", "Spread of the mean codes along a dimension; 0 is a dead dimension."),
    (
        r"geometry/alignment",
        "How far apart the codes of two views of an image are: their squared distance, both of "
        "length 1. 0: the code ignores what the augmentation changes; about 2: the views have no "
        "more in common than any two images. Of a stronger augmentation it is larger.",
    ),
    (
        r"geometry/uniformity",
        "How evenly the codes, of length 1, lie around 0: the log of the mean of exp(-2 |u - v|^2) "
        "over pairs of images. 0: all in one place; about -4: in all directions alike.",
    ),
    (r"geometry/\w+", "A statistic of the validation codes."),
    (
        r"(random/)?probe/linear/.*",
        "Test accuracy of multinomial logistic regression on frozen, standardised features.",
    ),
    (
        r"(random/)?probe/few_labels/.*",
        "The same where only a share of the images has labels, 0.01 or 0.1 for example. top1_std: "
        "standard deviation over draws of them.",
    ),
    (
        r"(random/)?probe/mlp200/.*",
        "Test accuracy of the paper's probe, a network of one hidden layer of 200 units. top1_std: "
        "standard deviation over seeds of the probe.",
    ),
    (
        r"(random/)?probe/mlp200_paper/.*",
        "The same network trained as in the paper, 200 epochs on the features as they are at 1e-4, "
        "divided by ten after epochs 50 and 100; mean test accuracy of the last 100 epochs.",
    ),
    (
        r"(random/)?probe/mlp200_paper_chosen/.*",
        "The same training; test accuracy after the epoch that is best on validation images.",
    ),
    (
        r"(random/)?probe/svm/.*",
        "Test accuracy of a linear support vector machine on frozen, standardised features.",
    ),
    (
        r"fine_tuned/.*",
        "Test accuracy of a copy of the whole encoder that was trained on with the labels.",
    ),
    (
        r"decoder/.*/ms_ssim",
        "Multi-scale structural similarity, 1 for equal images, of test images and what a decoder "
        "fitted to the frozen codes makes of their codes.",
    ),
    (r"decoder/.*/square_error", "Mean square error of the same images, values in [0, 1]."),
    (
        r"mine/.*",
        "What a network finds of the mutual information of test images and their codes, in nats "
        "(Donsker-Varadhan).",
    ),
    (
        r"ndm/.*",
        "What a network finds of the dependence among the dimensions of the code, in nats; 0 if "
        "they are independent.",
    ),
    (r"speed/images_per_second", "Training images a second, validation left out."),
    (r"lr-.*", "Learning rate."),
)


def meaning(name: str) -> str | None:
    """What the metric `name` is; None for one that this project does not know."""
    for pattern, text in _MEANINGS:
        if re.fullmatch(pattern, name):
            return text
    return None


_OF_INFORMATION = re.compile(r"(train|val|test)/(local|global|patches)")
# a prior's depends on which it is: a divergence in nats, or the statistic of a test
_UNITLESS = re.compile(
    r"(train|val|test)/(prior|penalty|square_\w+|\w+_(pearson_chi2|squared_hellinger))"
)


def unit(name: str, estimator: str = "") -> str:
    """The unit of a term such as train/local, for an axis; nothing where it has none.

    Args:
        name: of the metric.
        estimator: import path of the trained one, on which the unit of its own terms depends.
    """
    if _OF_INFORMATION.fullmatch(name):
        name = f"{name}_{estimator.rsplit('.', 1)[-1]}"
    return "" if _UNITLESS.fullmatch(name) else "nats"
