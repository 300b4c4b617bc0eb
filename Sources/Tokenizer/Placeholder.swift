// Placeholder until the first file of Tokenizer.
