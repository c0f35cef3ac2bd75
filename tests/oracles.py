"""What the reference implementations, torch-fidelity and prdc, say of the features that the tests measure.

python tests/oracles.py writes `golden/metrics.json`; it needs the extra `oracles`.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

PATH = pathlib.Path(__file__).parent / "golden" / "metrics.json"


def digits():
    """Features and logits of real digits, 500 and 500, by the shipped classifier."""
    from tfgan_app.data import open_images
    from tfgan_app.metrics import load_extractor

    images, _ = next(iter(open_images("mnist_5k", split="test").in_order(1000)))
    outputs = load_extractor("mnist_cnn").outputs(images)
    features, logits = (np.asarray(outputs[name]) for name in ("features", "logits"))
    return {"real": features[:500], "fake": features[500:], "logits": logits}


def normal():
    """Features of two Gaussians, and logits of another."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(700, 12)), rng.normal(size=(600, 12)) @ rng.normal(size=(12, 12)) * 0.3 + 0.2
    return {name: x.astype(np.float32) for name, x in (("real", real), ("fake", fake), ("logits", real * 2))}


def ties():
    """Features on a grid, so that distances are exact and many are equal."""
    rng = np.random.default_rng(1)
    real, fake = rng.integers(0, 4, (400, 4)), rng.integers(1, 5, (300, 4))
    return {name: x.astype(np.float32) for name, x in (("real", real), ("fake", fake), ("logits", real))}


CASES = {"digits": digits, "normal": normal, "ties": ties}
STEPS = np.random.default_rng(2).gamma(2.0, size=333)


def reference(real, fake, logits):
    """Returns the numbers of the reference implementations for arrays `(num, dim)`."""
    import torch
    from prdc import compute_prdc
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    real_t, fake_t, logits_t = (torch.from_numpy(x) for x in (real, fake, logits))
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (fake_t, real_t)]
    kid = {"kid_subsets": 20, "kid_subset_size": 200, "rng_seed": 2020, "verbose": False}
    prc = metric_prc.prc_features_to_metric(fake_t, real_t, verbose=False)
    prdc = compute_prdc(real, fake, nearest_k=5)
    isc = metric_isc.isc_features_to_metric(logits_t)
    return {
        "fd": metric_fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"],
        "kd": metric_kid.kid_features_to_metric(fake_t, real_t, **kid)["kernel_inception_distance_mean"],
        "precision": prc["precision"],
        "recall": prc["recall"],
        "density": prdc["density"],
        "coverage": prdc["coverage"],
        "cs": isc["inception_score_mean"],
        "cs_std": isc["inception_score_std"],
    }


def measured(real, fake, logits):
    """Returns ours of the same."""
    from tfgan_app import metrics

    def extractor(dim):
        import keras

        images = keras.Input((dim,))
        return keras.Model(images, images)

    found = {}
    features = extractor(real.shape[1])
    for metric in (
        metrics.FrechetDistance(features),
        metrics.KernelDistance(features, subsets=20, subset_size=200),
        metrics.PrecisionRecall(features),
        metrics.DensityCoverage(features),
    ):
        for part in range(0, max(len(real), len(fake)), 128):
            metric.update_state(real[part : part + 128], fake[part : part + 128])
        found |= metric.results()
    value, deviation = metrics.classifier_score(logits.astype(np.float64))
    return {**found, "cs": value, "cs_std": deviation}


def in_a_process(arrays):
    """Returns `reference(**arrays)` of a process of its own: PyTorch and TensorFlow do not always share one."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "arrays.npz"
        np.savez(path, **arrays)
        command = [sys.executable, __file__, str(path)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    if len(sys.argv) > 1:
        with np.load(sys.argv[1]) as arrays:
            print(json.dumps({name: float(x) for name, x in reference(**arrays).items()}))
        return
    golden = {name: in_a_process(case()) for name, case in CASES.items()}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
