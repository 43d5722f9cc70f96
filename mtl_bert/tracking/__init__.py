"""Where metrics are shown: CSV, TensorBoard, W&B and its workspaces."""
