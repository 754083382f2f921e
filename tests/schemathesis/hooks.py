"""What schemathesis has to know of this interface that its description cannot say."""

import schemathesis


@schemathesis.serializer("application/vnd.stocktake.frames")
def frames(context, value):
    """Frames of zstd, which random bytes are not: they are to be refused, and nothing else."""
    return value if isinstance(value, bytes) else str(value).encode()
