"""Source spans, and errors with code, sentence, caret and help."""

from cpuhp.diagnostics.errors import Diagnostic, InputError, fail, suggestion
from cpuhp.diagnostics.source import Source, Span

__all__ = ["Diagnostic", "InputError", "Source", "Span", "fail", "suggestion"]
