#!/usr/bin/env python3
"""What text classifiers without any language model reach on a router table: the comparison for `edgelora router eval`.

Every classifier sees the prompt's words and characters only (tf-idf). Its settings are chosen by the mean score of the chosen
model in cross-validation inside the training file, never on the validation file, which is then scored once. Beside
it stand the choices that need no features: random, the best single model of the training file, the best model per task,
the oracle. The standard error of the difference to the best single model is over prompts (paired).

--cv repeats the whole, selection included, over random splits of both files together: one small validation file says little,
and the spread over splits says how little.
"""

import argparse
import csv
import sys
import warnings

import numpy as np
import scipy.sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

warnings.filterwarnings("ignore")
INNER_FOLDS = 5


def read_table(path):
    csv.field_size_limit(1 << 30)
    with open(path, newline="", encoding="utf-8") as file:
        return as_table(list(csv.DictReader(file)))


def as_table(rows):
    """prompts, tasks (or None), scores [prompts, models]"""
    names = [c for c in rows[0] if c.startswith("score_")]
    scores = np.array([[float(row[c]) for c in names] for row in rows])
    tasks = np.array([row["task"] for row in rows]) if "task" in rows[0] else None
    return [row["prompt"] for row in rows], tasks, scores


class Text:
    """The features, fitted on the training prompts: sparse words and characters, and their SVD."""

    def __init__(self, train):
        self.words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=3, max_features=50000)
        self.chars = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 4), min_df=5, max_features=50000)
        sparse = self.words.fit_transform(train), self.chars.fit_transform([t[:2000] for t in train])
        self.svd = TruncatedSVD(100, random_state=0)
        self.train = self._join(sparse)
        self.train_dense = normalize(self.svd.fit_transform(self.train["both"]))

    @staticmethod
    def _join(sparse):
        return {"words": sparse[0].tocsr(), "both": scipy.sparse.hstack(sparse).tocsr()}

    def transform(self, texts):
        sparse = self._join((self.words.transform(texts), self.chars.transform([t[:2000] for t in texts])))
        return sparse, normalize(self.svd.transform(sparse["both"]))


def centred(y):
    return y - y.mean(1, keepdims=True)


def logistic(kind, c):
    def run(f, y):
        (x, _), (xt, _) = f
        out = np.empty((xt[kind].shape[0], y.shape[1]))
        for j in range(y.shape[1]):
            labels = y[:, j] > 0.5
            out[:, j] = labels.mean() if labels.all() or not labels.any() else LogisticRegression(
                C=c, solver="liblinear").fit(x[kind], labels).predict_proba(xt[kind])[:, 1]
        return out
    return run


def svm_of_best(kind, c):
    """The usual classifier of the best model: each prompt labelled with the best model (ties go to the better on average)."""
    def run(f, y):
        (x, _), (xt, _) = f
        told = y.max(1) > y.min(1)
        label = (y + 1e-3 * y.mean(0)).argmax(1)
        model = LinearSVC(C=c, random_state=0).fit(x[kind][told], label[told])
        out = np.full((xt[kind].shape[0], y.shape[1]), -9.0)
        scores = model.decision_function(xt[kind])
        out[:, model.classes_] = scores if scores.ndim == 2 else np.stack([-scores, scores], 1)
        return out
    return run


def ridge(kind, alpha):
    def run(f, y):
        (x, _), (xt, _) = f
        return Ridge(alpha=alpha, solver="sparse_cg", tol=1e-3).fit(x[kind], centred(y)).predict(xt[kind])
    return run


def ridge_svd(alpha):
    def run(f, y):
        return Ridge(alpha=alpha).fit(f[0][1], centred(y)).predict(f[1][1])
    return run


def neighbours(k):
    def run(f, y):
        near = NearestNeighbors(n_neighbors=min(k, len(y))).fit(f[0][1]).kneighbors(f[1][1], return_distance=False)
        return centred(y)[near].mean(1)
    return run


def clusters(k, prior):
    """Best per task without being told the task: k-means, and the means of each cluster, shrunk towards those of all prompts."""
    def run(f, y):
        km = KMeans(k, n_init=3, random_state=0).fit(f[0][1])
        c = centred(y)
        table = np.stack([(c[km.labels_ == i].sum(0) + prior * c.mean(0)) / ((km.labels_ == i).sum() + prior) for i in range(k)])
        return table[km.predict(f[1][1])]
    return run


def boosting(iterations):
    def run(f, y):
        c = centred(y)
        return np.stack([HistGradientBoostingRegressor(
            max_iter=iterations, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=40, l2_regularization=10,
            random_state=0).fit(f[0][1], c[:, j]).predict(f[1][1]) for j in range(c.shape[1])], 1)
    return run


FAMILIES = {
    "words, logistic": {f"C {c}": logistic("words", c) for c in (0.1, 1, 10)},
    "words+chars, logistic": {f"C {c}": logistic("both", c) for c in (0.1, 1)},
    "words+chars, SVM of best": {f"C {c}": svm_of_best("both", c) for c in (0.01, 0.1)},
    "words+chars, ridge": {f"alpha {a}": ridge("both", a) for a in (1, 10, 100, 1000)},
    "SVD 100, ridge": {f"alpha {a}": ridge_svd(a) for a in (1, 10, 100, 1000)},
    "SVD 100, neighbours": {f"k {k}": neighbours(k) for k in (50, 150, 400)},
    "SVD 100, clusters": {f"k {k}": clusters(k, 30) for k in (6, 12, 24)},
    "SVD 100, boosting": {f"{n} rounds": boosting(n) for n in (10, 40)},
}


def chosen(scores, predicted):
    return scores[np.arange(len(scores)), predicted.argmax(1)]


def folds(n, k, seed):
    order = np.random.default_rng(seed).permutation(n)
    return [(np.setdiff1d(order, order[i::k]), order[i::k]) for i in range(k)]


def one_split(train, test, families, seed):
    """train, test: (prompts, tasks, scores). {name: (score of the chosen model per test prompt, the settings picked)}"""
    texts, tasks, y = train
    inner = {name: {s: [] for s in FAMILIES[name]} for name in families}
    for fit, check in folds(len(y), INNER_FOLDS, seed):
        text = Text([texts[i] for i in fit])
        pair = (text.train, text.train_dense), text.transform([texts[i] for i in check])
        for name in families:
            for setting, run in FAMILIES[name].items():
                inner[name][setting].append(chosen(y[check], run(pair, y[fit])).mean())
    text = Text(texts)
    pair = (text.train, text.train_dense), text.transform(test[0])
    best = y.mean(0).argmax()
    result = {"random": (test[2].mean(1), ""), "best single": (test[2][:, best], f"model {best}")}
    if tasks is not None:
        per_task = {t: y[tasks == t].mean(0).argmax() for t in np.unique(tasks)}
        result["best per task, told the task"] = (
            test[2][np.arange(len(test[1])), [per_task.get(t, best) for t in test[1]]], "")
    for name in families:
        setting = max(inner[name], key=lambda s: np.mean(inner[name][s]))
        result[name] = (chosen(test[2], FAMILIES[name][setting](pair, y)), setting)
    result["oracle"] = (test[2].max(1), "")
    return result


def error(x):
    return x.std(ddof=1) / len(x) ** 0.5


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--table", required=True, metavar="CSV", help="the training file")
    p.add_argument("--valid", required=True, metavar="CSV", help="scored once, after everything is chosen")
    p.add_argument("--cv", type=int, default=0, metavar="N", help="then N random splits of both files (80% to train)")
    p.add_argument("--only", nargs="*", default=list(FAMILIES), choices=list(FAMILIES), metavar="NAME", help="these classifiers alone")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    train, valid = read_table(a.table), read_table(a.valid)

    result = one_split(train, valid, a.only, a.seed)
    single = result["best single"][0]
    print(f"{a.valid}: {len(single)} prompts\n")
    for name, (score, setting) in result.items():
        gain = score - single
        print(f"{name:30} {score.mean():.4f} ± {error(score):.4f}   to best single {gain.mean():+.4f} ± {error(gain):.4f}   {setting}", flush=True)
    if not a.cv:
        return

    texts, y = train[0] + valid[0], np.concatenate([train[2], valid[2]])
    tasks = None if train[1] is None else np.concatenate([train[1], valid[1]])
    total = {}
    for i in range(a.cv):
        order = np.random.default_rng(a.seed + i).permutation(len(y))
        cut = len(y) * 4 // 5
        part = [([texts[j] for j in idx], None if tasks is None else tasks[idx], y[idx]) for idx in (order[:cut], order[cut:])]
        for name, (score, _) in one_split(*part, a.only, a.seed + i).items():
            total.setdefault(name, []).append(score.mean())
        print(f"split {i + 1} of {a.cv} done", file=sys.stderr)
    single = np.array(total["best single"])
    print(f"\n{a.cv} random splits of {len(y)} prompts, a fifth of them to score: mean, lowest and highest split, splits won against best single\n")
    for name, means in total.items():
        means = np.array(means)
        print(f"{name:30} {means.mean():.4f}   {means.min():.4f} to {means.max():.4f}   {(means - single).mean():+.4f}   "
              f"{int((means > single).sum())} of {a.cv}")


if __name__ == "__main__":
    main()
