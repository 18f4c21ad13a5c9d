"""What is live of ours, kept up by watches, and how it differs from what was applied.

Drift is found without a request and without reading the desired object: whoever changes a field of ours takes it out
of our entry in ``metadata.managedFields``, so a hash of that entry, taken from the answer to our own apply, is all that
is compared. An apply that leads to the same live object again yields the same hash: defaulting, mutating webhooks and
other spellings of a quantity can't make a loop.
"""
