"""mtl_bert: fine-tune one encoder on several tasks of very unequal size."""
