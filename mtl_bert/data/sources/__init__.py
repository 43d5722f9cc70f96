"""Where examples come from: files, the Hugging Face hub, made-up text."""
