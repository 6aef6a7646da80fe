"""Mistakes that a plan can make without being wrong: each check takes what it looks at and returns a sentence or None.

`texts` looks at the pairs of source and summary, `splits` at one split beside another, `prompt_rows` at rows of tokens,
`settings` at the configurations. A sentence says what was seen and how often, why it matters and what to do. None of
them stops anything: each may be meant. What is asked for and cannot work is refused elsewhere.
"""
