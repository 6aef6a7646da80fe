"""What all verbs share: options, printing, exit codes, signs of life; it never imports request, ray or torch."""
