"""From a description to modules with facts: tokens, sentences, matches of patterns, weights."""
