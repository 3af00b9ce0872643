"""Pictures as DOT text. Writing them needs no Graphviz; rendering them does."""
