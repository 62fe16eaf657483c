"""Go's text/template, as rules and receivers use it: text and data in, text out.

parser.py reads a template once (lexer.py its tokens, nodes.py what comes out), evaluate.py expands
it as often as needed; functions.py has Go's functions, printing.py its way to print, times.py its
times. The functions beyond those and the data come from the caller: a template reaches no
attribute, file or module.
"""
