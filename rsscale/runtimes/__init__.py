"""What runs a model: torch, ONNX Runtime, scikit-learn or LightGBM, each as a module of torch."""
