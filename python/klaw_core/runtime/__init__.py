"""What runs: the channels (:mod:`klaw_core.runtime.channels`) and the errors (:mod:`klaw_core.runtime.errors`)."""
