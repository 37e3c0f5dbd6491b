"""The book: the chapters with their outputs, the documents, glossary and search, as a site that needs no network."""
