#pragma once
#include <zlib.h>
/// Makes a reader of gzip members; inflateInit2 is a macro.
static inline int sail_gzip_begin(z_stream *stream) {
  stream->zalloc = Z_NULL;
  stream->zfree = Z_NULL;
  stream->opaque = Z_NULL;
  stream->next_in = Z_NULL;
  stream->avail_in = 0;
  return inflateInit2(stream, 15 + 16);
}
