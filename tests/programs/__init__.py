"""Random programs in the language, each with its second reading."""
