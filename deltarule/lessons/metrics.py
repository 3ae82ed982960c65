"""Metrics: accuracy, precision and recall say different things about the same classifier.

Accuracy counts all right answers alike. Precision asks of the alarms how many were true, and matters where a false alarm is costly.
Recall asks of the sick how many were found, and matters where a miss is costly. Both hang on the threshold at which the network
says yes; the ROC and the precision-recall curve show all thresholds at once, and calibration says whether 80 % means 80 %.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (25,)
EQUATIONS = ("accuracy = right / all      precision = TP / (TP + FP)      recall = TP / (TP + FN)",
             "F1 = 2 precision recall / (precision + recall)",
             "TP: true alarms, FP: false alarms, FN: missed")
PARTS = ("dr.metrics.accuracy", "dr.metrics.confusion_table", "dr.metrics.precision_recall_f1", "dr.metrics.roc_curve",
         "dr.metrics.roc_auc", "dr.metrics.precision_recall_curve", "dr.metrics.average_precision", "dr.metrics.calibration_curve",
         "dr.metrics.log_loss", "dr.figures.confusion", "dr.figures.roc", "dr.figures.precision_recall", "dr.figures.calibration")

NAMES = ("benign", "malignant")


def teach(board: Board) -> None:
    """A network that looks for malignant tumours, judged on rows it never saw by every metric, each against scikit-learn."""
    y, p = _trained()
    predicted = (p > 0.5).astype(int)
    table = dr.metrics.confusion_table(y, predicted, classes=2)
    board.say(f"A network of 8 hidden units learns to tell malignant from benign tumours; {len(y)} tumours were kept for the test, "
              f"{y.sum()} of them malignant. Of the malignant ones {table[1, 1]} were found and {table[1, 0]} missed; of the benign "
              f"{table[0, 1]} gave a false alarm.")
    scores = dr.metrics.precision_recall_f1(table)["per_class"]
    board.table(["class", "precision", "recall", "F1", "tumours"],
                [[name, *(scores[what][k] for what in ("precision", "recall", "f1", "support"))] for k, name in enumerate(NAMES)])
    _against_scikit_learn(board, y, p, predicted)
    _thresholds(board, y, p)
    both = np.stack([1 - p, p], axis=1)                                 # (n, 2): probability of each class
    board.figure("confusion", dr.figures.confusion(table, NAMES), "which were taken for which: right answers on the diagonal")
    board.figure("roc", dr.figures.roc(y, both, NAMES), "found malignant tumours against false alarms, as the threshold falls")
    board.figure("precision-recall", dr.figures.precision_recall(y, both, NAMES), "precision against recall, as the threshold falls")
    board.figure("calibration", dr.figures.calibration(y, both), "how many answers given with a probability were right; large dots hold "
                 "many tumours, and on the dotted line the network is as sure as it may be")


def _trained() -> tuple[np.ndarray, np.ndarray]:
    """For the tumours of the test: whether they are malignant (n,), and the network's probability that they are (n,)."""
    train, test = dr.data.breast_cancer().split(test=0.4, seed=0)
    x, x_test = np.asarray(train.x, np.float64), np.asarray(test.x, np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    net = dr.Network([dr.Dense(8, "relu"), dr.Dense(1, "sigmoid")], input_shape=30, seed=0, dtype="float64")
    net.fit((x - mean) / deviation, 1.0 - train.y[:, None], optimizer=dr.Adam(0.003), epochs=15, progress=False)
    return 1 - test.y.astype(int), net.predict((x_test - mean) / deviation)[:, 0]


def _against_scikit_learn(board: Board, y: np.ndarray, p: np.ndarray, predicted: np.ndarray) -> None:
    from sklearn import metrics as sklearn
    from sklearn.calibration import calibration_curve

    table = dr.metrics.confusion_table(y, predicted, classes=2)
    scores = dr.metrics.precision_recall_f1(table)["per_class"]
    pairs = {
        "accuracy": (dr.metrics.accuracy(y, predicted), sklearn.accuracy_score(y, predicted)),
        "precision": (scores["precision"][1], sklearn.precision_score(y, predicted)),
        "recall": (scores["recall"][1], sklearn.recall_score(y, predicted)),
        "F1": (scores["f1"][1], sklearn.f1_score(y, predicted)),
        "area under ROC": (dr.metrics.roc_auc(y, p), sklearn.roc_auc_score(y, p)),
        "average precision": (dr.metrics.average_precision(y, p), sklearn.average_precision_score(y, p)),
        "log loss": (dr.metrics.log_loss(y, p), sklearn.log_loss(y, p)),
    }
    board.say("The same numbers from scikit-learn:")
    board.table(["metric", "deltarule", "scikit-learn"], [[name, *values] for name, values in pairs.items()])
    for name, (ours, theirs) in pairs.items():
        board.number(f"{name}, difference", abs(ours - theirs), at_most(1e-12))
    board.number("confusion table, as in scikit-learn", table, equals(sklearn.confusion_matrix(y, predicted)))
    curves = {"ROC curve": (dr.metrics.roc_curve(y, p)[:2], sklearn.roc_curve(y, p, drop_intermediate=False)[:2]),
              "precision-recall curve": (dr.metrics.precision_recall_curve(y, p)[:2], sklearn.precision_recall_curve(y, p)[:2]),
              "calibration curve": (dr.metrics.calibration_curve(y, p)[1::-1], calibration_curve(y, p, n_bins=10))}
    for name, (mine, other) in curves.items():
        board.number(f"{name}, difference", max(np.abs(one - two).max() for one, two in zip(mine, other, strict=True)), at_most(1e-12))


def _thresholds(board: Board, y: np.ndarray, p: np.ndarray) -> None:
    board.say("Who must not miss a tumour lowers the threshold: recall rises and more alarms are false. Who pays for every alarm raises "
              "it. The last line always answers benign: its accuracy looks passable, its recall tells.")
    rows = []
    for threshold in (0.05, 0.5, 0.95, 1.0):
        table = dr.metrics.confusion_table(y, (p > threshold).astype(int), classes=2)
        scores = dr.metrics.precision_recall_f1(table)["per_class"]
        rows.append([f"{threshold:g}" if threshold < 1 else "never", table.trace() / len(y), scores["precision"][1], scores["recall"][1]])
    board.table(["malignant from", "accuracy", "precision", "recall"], rows)
    board.number("accuracy of the network", rows[1][1], at_least(0.94))
    board.number("accuracy of always benign", rows[3][1], equals(float(np.mean(y == 0))))
    board.number("recall of always benign", rows[3][3], equals(0.0))
    board.number("recall falls as the threshold rises", rows[0][3] >= rows[1][3] >= rows[2][3], equals(True))
    board.number("precision is higher at 0.95 than at 0.05", bool(rows[0][2] < rows[2][2]), equals(True))
