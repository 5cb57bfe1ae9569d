"""Manifests of Kubernetes, by the schemas of the first release that they are for, and the last."""

from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.clusters
MANIFESTS = sorted((Path(__file__).parents[2] / "recipes/schedule").glob("kubernetes-*.yaml"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("release", ["1.31", "newest"])
def test_manifests_are_valid(manifest: Path, release: str) -> None:
    # Its schemas are a hundred megabytes: .ci/clusters installs it, no other test needs it.
    validate = pytest.importorskip("kubernetes_validate")
    release = validate.latest_version() if release == "newest" else release
    resource = yaml.safe_load(manifest.read_text("utf-8"))
    resource["metadata"].setdefault("name", "of-generate-name")  # which the API server gives
    validate.validate(resource, release, strict=True)
    resource["spec"]["completionMod"] = "Indexed"
    with pytest.raises(validate.ValidationError, match="completionMod"):
        validate.validate(resource, release, strict=True)
