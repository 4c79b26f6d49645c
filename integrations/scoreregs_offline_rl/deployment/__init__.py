"""The finished policy, where training code is left behind: folders, cards, ONNX."""
