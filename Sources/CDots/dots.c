// Products of bf16 matrices on dot products of pairs (AVX512_BF16, VDPBF16PS; Intel SDM vol. 2), and of f32
// matrices on fused additions. C, as the instructions exist as C intrinsics only.
//
// A word is what a lane multiplies: a pair of bf16 of K, or one f32. An instruction reads the right operand
// as a word of K by 16 columns. For few rows they are made in registers, where they are used. For more, a
// piece of a panel of 32 columns is packed while the one before is multiplied: the shuffles run beside the
// products. What is read next is fetched ahead, line after line, since memory is what limits products of few
// rows.
#include "dots.h"

#include <immintrin.h>

#define DOTS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define INLINE static inline __attribute__((always_inline)) DOTS
#define UNROLL _Pragma("clang loop unroll(full)")

// Columns of a vector of sums; vectors of a panel, and where nothing is packed; rows of a block of sums.
enum { side = 16, panelVectors = 2, directVectors = 4, mostRows = 8 };
// A unit of packing is 4 words of K by 16 columns. A step multiplies 8 words.
enum { unitWords = 4, stepWords = 8 };
// Rows of an operand stored (K, N), or of an A stored (K, M), that are fetched before they are packed.
enum { rowsAhead = 32 };
// A cache line, and one of each of 16 rows. Rows this far apart all have their place in one set of the
// first-level cache, so that a line has to be used when it is read. Rows this near have theirs in different ones.
enum { lineBytes = 64, lineWords = 16, linesWords = side * lineWords };
enum { crowdedBytes = 4096, nearBytes = 256 };

int sail_cpu_has_bf16_dots(void) {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static long least(long a, long b) { return a < b ? a : b; }

// Bytes of a number of A and B; words of numbers of K; bytes from a row of A or B as it is stored to the next.
static long numberBytes(const sail_dot_product *p) { return p->isWide ? 4 : 2; }
static long wordsOf(const sail_dot_product *p, long numbers) {
  return p->isWide ? numbers : numbers / 2;
}
// Of K with the zeros behind it, to a multiple of 32.
static long innerWords(const sail_dot_product *p) { return wordsOf(p, (p->inner + 31) & ~31L); }
static long rowBytesA(const sail_dot_product *p) { return p->strideA * numberBytes(p); }
static long rowBytesB(const sail_dot_product *p) { return p->strideB * numberBytes(p); }
static size_t resultBytes(const sail_dot_product *p) { return p->roundsResult ? 2 : 4; }

// The order of sums of oneDNN's brg kernels: a deep sum is cut, and each cut's sum added to those before.
static long cutWords(const sail_dot_product *p) {
  const long most = wordsOf(p, p->inner > 1024 ? 1024 : 512);
  return least(innerWords(p), most);
}

// Words of A that are read for every panel: half a megabyte, for which the second-level cache has room,
// if that is 200 rows or more; else five megabytes, from the last-level cache. A packed A is dense: one
// megabyte was best of bf16, two of f32 (docs/decisions/0006-dots.md).
static long leftWords(const sail_dot_product *p) {
  if (p->transposesA) return p->isWide ? 1 << 19 : 1 << 18;
  return innerWords(p) <= 512 ? 1 << 17 : 5 << 18;
}

// Parts of A's rows that are multiplied one after the other; of an A stored (K, M) they are whole lines.
static long chunkCount(const sail_dot_product *p) {
  return (p->rows * innerWords(p) + leftWords(p) - 1) / leftWords(p);
}
static sail_dot_product chunkOf(const sail_dot_product *p, long chunk) {
  const long count = chunkCount(p), unit = p->transposesA ? lineBytes / numberBytes(p) : 1;
  const long units = (p->rows + unit - 1) / unit;
  const long row = units * chunk / count * unit;
  sail_dot_product part = *p;
  part.rows = least(p->rows, units * (chunk + 1) / count * unit) - row;
  part.a = (const char *)p->a + row * (p->transposesA ? numberBytes(p) : rowBytesA(p));
  part.c = (char *)p->c + row * p->strideC * resultBytes(p);
  return part;
}

// Blocks of rows: of a packed A as it is packed, else none larger than another by more than one.
static long blockCount(const sail_dot_product *p) { return (p->rows + mostRows - 1) / mostRows; }
static long blockStart(const sail_dot_product *p, long block) {
  return p->transposesA ? least(p->rows, mostRows * block) : p->rows * block / blockCount(p);
}

// What a product needs in its scratch, in words.
static long panelWords(const sail_dot_product *p) { return panelVectors * side * cutWords(p); }
static long partialSums(const sail_dot_product *p) {
  return innerWords(p) > cutWords(p) ? p->rows * panelVectors * side : 0;
}
static long packedLeftWords(const sail_dot_product *p) {
  return p->transposesA ? blockCount(p) * mostRows * innerWords(p) : 0;
}

size_t sail_dots_scratch(const sail_dot_product *p) {
  if (p->rows <= 0) return 0;
  // None of the chunks has more rows than this.
  sail_dot_product most = *p;
  most.rows = least(p->rows, p->rows / chunkCount(p) + 2 * lineBytes / numberBytes(p));
  return (size_t)(2 * panelWords(p) + linesWords + partialSums(&most) + packedLeftWords(&most)) * 4;
}

// A panel's cut of the sums: its columns of the right operand, packed; how far the packing is. In words of K.
typedef struct {
  const sail_dot_product *product;
  uint32_t *panel, *lines;
  long column, vectors, start, depth;
  long vector, word;
  // Bytes from a stored row of B to the next.
  long stride;
} Piece;

static Piece pieceOf(
    const sail_dot_product *p, long column, long start, uint32_t *panel, uint32_t *lines) {
  const long columns = least(panelVectors * side, p->columns - column);
  return (Piece){p,     panel, lines, column, columns > 0 ? columns / side : 0,
                 start, least(cutWords(p), innerWords(p) - start),         0, 0,
                 rowBytesB(p)};
}

// The cuts of a panel, then the next panel's.
static Piece pieceAfter(const Piece *n, uint32_t *panel) {
  const long start = n->start + n->depth;
  return start < innerWords(n->product)
             ? pieceOf(n->product, n->column, start, panel, n->lines)
             : pieceOf(n->product, n->column + n->vectors * side, 0, panel, n->lines);
}

static long unitCount(const Piece *n) { return n->vectors * n->depth / unitWords; }

// A column of B stored (N, K), from a word on; a word of B stored (K, N), from a column on.
INLINE const char *storedRow(const sail_dot_product *p, long column, long word) {
  return (const char *)p->b + column * rowBytesB(p) + 4 * word;
}
INLINE const char *storedLine(const sail_dot_product *p, long word, long column) {
  const long rows = p->isWide ? word : 2 * word;
  return (const char *)p->b + rows * rowBytesB(p) + column * numberBytes(p);
}

// Four rows of 16, four apart, by 4 words, each in its quarter.
INLINE __m512i loadRows(const char *from, long stride) {
  const __m512i first = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)from));
  const __m512i second = _mm512_mask_broadcast_i32x4(
      first, 0x00F0, _mm_loadu_si128((const __m128i *)(from + 4 * stride)));
  const __m512i third = _mm512_mask_broadcast_i32x4(
      second, 0x0F00, _mm_loadu_si128((const __m128i *)(from + 8 * stride)));
  return _mm512_mask_broadcast_i32x4(
      third, 0xF000, _mm_loadu_si128((const __m128i *)(from + 12 * stride)));
}

INLINE void copyLines(const char *from, long stride, uint32_t *to) {
  for (int row = 0; row < side; row++)
    _mm512_store_si512(to + row * lineWords, _mm512_loadu_si512(from + row * stride));
}

// B stored (N, K): 16 rows by 4 words are transposed.
INLINE void packTransposed(const char *from, long stride, uint32_t *to, long toStride) {
  const __m512i r0 = loadRows(from, stride), r1 = loadRows(from + stride, stride);
  const __m512i r2 = loadRows(from + 2 * stride, stride), r3 = loadRows(from + 3 * stride, stride);
  const __m512i a = _mm512_unpacklo_epi32(r0, r1), b = _mm512_unpacklo_epi32(r2, r3);
  const __m512i c = _mm512_unpackhi_epi32(r0, r1), d = _mm512_unpackhi_epi32(r2, r3);
  _mm512_store_si512(to, _mm512_unpacklo_epi64(a, b));
  _mm512_store_si512(to + toStride, _mm512_unpackhi_epi64(a, b));
  _mm512_store_si512(to + 2 * toStride, _mm512_unpacklo_epi64(c, d));
  _mm512_store_si512(to + 3 * toStride, _mm512_unpackhi_epi64(c, d));
}

// A word of 16 columns of B stored (K, N): f32 as they are, bf16 of a row and of the next one in pairs.
INLINE __m512i loadLine(const int isWide, const char *from, long stride) {
  if (isWide) return _mm512_loadu_si512(from);
  const __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
  const __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(from + stride)));
  return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
}

// The same where K ends; `rows` of it are left.
INLINE __m512i loadLastLine(const int isWide, const char *from, long stride, long rows) {
  if (rows <= 0) return _mm512_setzero_si512();
  if (isWide || rows > 1) return loadLine(isWide, from, stride);
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
}

// The 16 rows of B stored (N, K) that are packed after a piece's vector.
INLINE const char *rowsAfter(const Piece *n) {
  const sail_dot_product *p = n->product;
  const long column = n->column + n->vector * side;
  if (n->vector + 1 < n->vectors) return storedRow(p, column + side, n->start);
  if (n->start + n->depth < innerWords(p))
    return storedRow(p, n->column, n->start + n->depth);
  return storedRow(p, least(column + side, p->columns - side), 0);
}

// B stored (N, K): one vector after the other, as lines of its rows are read in full by four units.
INLINE void packRows(Piece *n, uint32_t *to, long toStride) {
  const sail_dot_product *p = n->product;
  const long stride = n->stride;
  const char *from = storedRow(p, n->column + n->vector * side, n->start + n->word);
  const long words = n->word % lineWords;
  // As many lines as a unit has, of the rows that come next.
  const char *after = rowsAfter(n) + 4 * (n->word - words) + words * stride;
  for (int row = 0; row < 4; row++) {
    // Into the first-level cache only where 32 rows find room in it.
    if (stride <= nearBytes) _mm_prefetch(after + row * stride, _MM_HINT_T0);
    else _mm_prefetch(after + row * stride, _MM_HINT_T1);
  }
  if (stride % crowdedBytes == 0) {
    if (words == 0) copyLines(from, stride, n->lines);
    packTransposed((const char *)(n->lines + words), lineBytes, to, toStride);
  } else {
    packTransposed(from, stride, to, toStride);
  }
  n->word += unitWords;
  if (n->word == n->depth) {
    n->word = 0;
    n->vector += 1;
  }
}

// B stored (K, N): the vectors side by side, which of bf16 are one line of each row.
INLINE void packColumns(const int isWide, Piece *n, uint32_t *to, long toStride) {
  const sail_dot_product *p = n->product;
  const long stride = rowBytesB(p), column = n->column + n->vector * side;
  const long word = n->start + n->word;
  // As many lines as a unit has of its own.
  const long vectors = isWide ? 1 : n->vectors, vector = isWide ? 0 : n->vector;
  const long lines = unitWords * (isWide ? 1 : 2) / vectors;
  for (long row = 0; row < lines; row++) {
    long after = word * (isWide ? 1 : 2) + rowsAhead + lines * vector + row;
    const char *line = storedLine(p, 0, column);
    if (after >= p->inner) {
      after -= p->inner;
      line += panelVectors * side * (isWide ? 4 : 2);
    }
    if (after < p->inner) _mm_prefetch(line + after * stride, _MM_HINT_T1);
  }
  const char *from = storedLine(p, word, column);
  const long wordRows = isWide ? 1 : 2, rows = p->inner - word * wordRows;
  for (int i = 0; i < unitWords; i++, from += wordRows * stride, to += toStride)
    _mm512_store_si512(
        to, rows >= unitWords * wordRows
                ? loadLine(isWide, from, stride)
                : loadLastLine(isWide, from, stride, rows - i * wordRows));
  n->vector += 1;
  if (n->vector == n->vectors) {
    n->word += unitWords;
    n->vector = n->word == n->depth ? n->vectors : 0;
  }
}

// Packs the next `units`, or what is left.
INLINE void pack(const int isWide, Piece *n, long units) {
  for (; units > 0 && n->vector < n->vectors; units--) {
    const long toStride = n->vectors * side;
    uint32_t *to = n->panel + n->word * toStride + n->vector * side;
    if (n->product->transposesB) packRows(n, to, toStride);
    else packColumns(isWide, n, to, toStride);
  }
}

INLINE void storeBlock(uint32_t *to, __m256i words) { _mm256_store_si256((__m256i *)to, words); }

// A stored (K, M): each block's words of K, row after row. Four blocks of bf16 at a time, two of f32, whose
// rows are a line of A.
INLINE void packLeft(const int isWide, const sail_dot_product *p, uint32_t *to) {
  const __m512i firstBlocks = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i lastBlocks = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  const long blockWords = mostRows * innerWords(p), stride = rowBytesA(p);
  const long lineRows = lineBytes / numberBytes(p);
  for (long row = 0; row < p->rows; row += lineRows, to += lineRows / mostRows * blockWords) {
    const long rows = least(lineRows, p->rows - row), left = (rows + mostRows - 1) / mostRows;
    const __mmask32 numbers = (__mmask32)((1ull << rows) - 1);
    uint32_t *place = to, *const end = to + blockWords;
    for (long k = 0; place < end; k += isWide ? 1 : 2, place += mostRows) {
      // Zeros where K ends.
      const __mmask32 here = k < p->inner ? numbers : 0, next = k + 1 < p->inner ? numbers : 0;
      const char *from = (const char *)p->a + k * stride + row * numberBytes(p);
      if (k + rowsAhead < p->inner) {
        for (int ahead = 0; ahead < (isWide ? 1 : 2); ahead++)
          _mm_prefetch(from + (rowsAhead + ahead) * stride, _MM_HINT_T1);
      }
      if (isWide) {
        const __m512i line = _mm512_maskz_loadu_epi32((__mmask16)here, from);
        storeBlock(place, _mm512_castsi512_si256(line));
        if (left > 1) storeBlock(place + blockWords, _mm512_extracti64x4_epi64(line, 1));
        continue;
      }
      const __m512i even = _mm512_maskz_loadu_epi16(here, from);
      const __m512i odd = _mm512_maskz_loadu_epi16(next, from + stride);
      // Of each 8 rows the first four, and the last four.
      const __m512i low = _mm512_unpacklo_epi16(even, odd), high = _mm512_unpackhi_epi16(even, odd);
      const __m512i first = _mm512_permutex2var_epi64(low, firstBlocks, high);
      const __m512i last = _mm512_permutex2var_epi64(low, lastBlocks, high);
      storeBlock(place, _mm512_castsi512_si256(first));
      if (left > 1) storeBlock(place + blockWords, _mm512_extracti64x4_epi64(first, 1));
      if (left > 2) storeBlock(place + 2 * blockWords, _mm512_castsi512_si256(last));
      if (left > 3) storeBlock(place + 3 * blockWords, _mm512_extracti64x4_epi64(last, 1));
    }
  }
}

// Adds the products of a word of the left operand. As intrinsics clang loads the words of a whole step
// first, and spills them.
INLINE void addWord(const int isWide, __m512 *sums, const char *left, __m512i right) {
  if (isWide)
    __asm__ volatile("vfmadd231ps %1%{1to16%}, %2, %0"
                     : "+v"(*sums)
                     : "m"(*(const float *)left), "v"(right));
  else
    __asm__ volatile("vdpbf16ps %1%{1to16%}, %2, %0"
                     : "+v"(*sums)
                     : "m"(*(const uint16_t(*)[2])left), "v"(right));
}

INLINE char *resultAt(const sail_dot_product *p, long place) {
  return (char *)p->c + place * resultBytes(p);
}

INLINE void store(__m512 sums, const sail_dot_product *p, long place) {
  char *c = resultAt(p, place);
  if (p->roundsResult) _mm256_storeu_si256((__m256i *)c, (__m256i)_mm512_cvtneps_pbh(sums));
  else if (p->accumulates) _mm512_storeu_ps(c, _mm512_add_ps(_mm512_loadu_ps(c), sums));
  else _mm512_storeu_ps(c, sums);
}

// The sums of some rows by a piece, while the next one is packed. `left` has the rows' words from the piece's
// first on.
INLINE void multiplyBlock(
    const int isWide, const int rows, const int vectors, const int packedLeft, const Piece *piece,
    long row, const char *left, float *partials, Piece *next, long unitsAStep) {
  const sail_dot_product *p = piece->product;
  const long rowBytes = packedLeft ? 4 : rowBytesA(p), wordBytes = packedLeft ? 4 * mostRows : 4;
  const long place = row * p->strideC + piece->column;
  const int isFirst = piece->start == 0, isLast = piece->start + piece->depth == innerWords(p);
  if (isLast) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
      _mm_prefetch(resultAt(p, place + r * p->strideC + v * side), _MM_HINT_T0);
  }
  __m512 sums[mostRows][panelVectors];
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
    sums[r][v] = _mm512_setzero_ps();
  }
  const uint32_t *line = piece->panel;
  for (long k = 0; k < piece->depth; k += stepWords) {
    UNROLL for (int word = 0; word < stepWords; word++, line += vectors * side) {
      __m512i right[panelVectors];
      UNROLL for (int v = 0; v < vectors; v++) right[v] = _mm512_load_si512(line + v * side);
      UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
        addWord(isWide, &sums[r][v], left + r * rowBytes + word * wordBytes, right[v]);
    }
    // The lines of the next block's rows, half of them a step: the CPU fetches a row ahead, but not its start.
    if (!packedLeft) {
      const char *below = left + (rows + k / stepWords % 2 * mostRows / 2) * rowBytes;
      UNROLL for (int r = 0; r < mostRows / 2; r++)
        _mm_prefetch(below + r * rowBytes, _MM_HINT_T1);
    }
    left += stepWords * wordBytes;
    pack(isWide, next, unitsAStep);
  }
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
    float *partial = partials + ((row + r) * panelVectors + v) * side;
    __m512 total = sums[r][v];
    if (!isFirst) total = _mm512_add_ps(_mm512_load_ps(partial), total);
    if (isLast) store(total, p, place + r * p->strideC + v * side);
    else _mm512_store_ps(partial, total);
  }
}

// B stored (N, K): 16 rows by 16 words, a line of each row, are transposed.
INLINE void transposeLines(const char *from, long stride, __m512i r[16]) {
  __m512i t[16];
  UNROLL for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(from + i * stride);
  UNROLL for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  // By quarters: r[4 i + j] has rows 4 i to 4 i + 3 of the words j, j + 4, j + 8, j + 12.
  UNROLL for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  UNROLL for (int j = 0; j < 4; j++) {
    const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);
    const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
    t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
  UNROLL for (int i = 0; i < 16; i++) r[i] = t[i];
}

// Few rows: nothing is packed.
INLINE void multiplyDirectly(
    const int isWide, const int rows, const int vectors, const int transposesB,
    const sail_dot_product *p) {
  const long strideA = rowBytesA(p), strideB = rowBytesB(p);
  const long words = innerWords(p), cut = cutWords(p);
  // From one word, and from one column, of B to the next.
  const long wordBytes = transposesB ? 4 : isWide ? strideB : 2 * strideB;
  const long columnBytes = transposesB ? strideB : isWide ? 4 : 2;
  const char *const a = p->a, *const b = p->b;
  // The second 16 rows of an operand stored (N, K): the first ones are read at once.
  const char *ahead = p->ahead ? p->ahead : b + (transposesB ? side * strideB : 0);
  for (long column = 0; column < p->columns; column += vectors * side) {
    __m512 sums[mostRows][directVectors], totals[mostRows][directVectors];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
      sums[r][v] = totals[r][v] = _mm512_setzero_ps();
    }
    for (long start = 0; start < words; start += cut) {
      const long end = least(words, start + cut);
      for (long k = start; k < end; k += lineWords) {
        const char *left = a + 4 * k, *from = b + column * columnBytes + k * wordBytes;
        __m512i right[side];
        if (transposesB) transposeLines(from, strideB, right);
        UNROLL for (int word = 0; word < side; word++) UNROLL for (int v = 0; v < vectors; v++) {
          if (!transposesB)
            right[word] =
                loadLine(isWide, from + word * wordBytes + v * side * columnBytes, strideB);
          UNROLL for (int r = 0; r < rows; r++)
            addWord(isWide, &sums[r][v], left + r * strideA + 4 * word, right[word]);
          // As many bytes as are read, one line at a time: a burst fills the queue of what is missing, and
          // everything waits. Into the second-level cache: 16 rows are more than the first one holds.
          _mm_prefetch(ahead, _MM_HINT_T1);
          ahead += lineBytes;
        }
      }
      UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        totals[r][v] = start == 0 ? sums[r][v] : _mm512_add_ps(totals[r][v], sums[r][v]);
        sums[r][v] = _mm512_setzero_ps();
      }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
      store(totals[r][v], p, r * p->strideC + column + v * side);
  }
}

// The code for every number of rows, 1 to 8, of f32 or bf16.
#define ROWS(type, isWide, rows)                                                                  \
  DOTS static void direct##type##rows(const sail_dot_product *p) {                                \
    if (p->transposesB) multiplyDirectly(isWide, rows, 1, 1, p);                                  \
    else if (p->columns % (directVectors * side)) multiplyDirectly(isWide, rows, 1, 0, p);        \
    else multiplyDirectly(isWide, rows, directVectors, 0, p);                                     \
  }                                                                                               \
  DOTS static void block##type##rows(                                                             \
      const Piece *n, long row, const char *left, float *partials, Piece *next, long units) {     \
    const int packed = n->product->transposesA;                                                   \
    if (n->vectors == 1 && packed)                                                                \
      multiplyBlock(isWide, rows, 1, 1, n, row, left, partials, next, units);                     \
    else if (n->vectors == 1)                                                                     \
      multiplyBlock(isWide, rows, 1, 0, n, row, left, partials, next, units);                     \
    else if (packed)                                                                              \
      multiplyBlock(isWide, rows, panelVectors, 1, n, row, left, partials, next, units);          \
    else multiplyBlock(isWide, rows, panelVectors, 0, n, row, left, partials, next, units);       \
  }
#define ALL_ROWS(type, isWide)                                                                    \
  ROWS(type, isWide, 1) ROWS(type, isWide, 2) ROWS(type, isWide, 3) ROWS(type, isWide, 4)         \
  ROWS(type, isWide, 5) ROWS(type, isWide, 6) ROWS(type, isWide, 7) ROWS(type, isWide, 8)
ALL_ROWS(BF16, 0)
ALL_ROWS(F32, 1)

static void (*const directs[2][mostRows])(const sail_dot_product *) = {
    {directBF161, directBF162, directBF163, directBF164, directBF165, directBF166, directBF167,
     directBF168},
    {directF321, directF322, directF323, directF324, directF325, directF326, directF327, directF328}};
static void (*const blocks[2][mostRows])(
    const Piece *, long, const char *, float *, Piece *, long) = {
    {blockBF161, blockBF162, blockBF163, blockBF164, blockBF165, blockBF166, blockBF167, blockBF168},
    {blockF321, blockF322, blockF323, blockF324, blockF325, blockF326, blockF327, blockF328}};

INLINE void multiplyPanels(const int isWide, const sail_dot_product *p, uint32_t *scratch) {
  uint32_t *const panels = scratch;
  uint32_t *const lines = panels + 2 * panelWords(p);
  float *const partials = (float *)(lines + linesWords);
  uint32_t *const packedLeft = (uint32_t *)(partials + partialSums(p));
  const long count = blockCount(p);
  if (p->transposesA) packLeft(isWide, p, packedLeft);
  Piece piece = pieceOf(p, 0, 0, panels, lines);
  pack(isWide, &piece, unitCount(&piece));
  while (piece.vectors > 0) {
    Piece next = pieceAfter(&piece, piece.panel == panels ? panels + panelWords(p) : panels);
    const long steps = count * piece.depth / stepWords;
    const long unitsAStep = (unitCount(&next) + steps - 1) / steps;
    for (long block = 0; block < count; block++) {
      const long row = blockStart(p, block);
      const char *left =
          p->transposesA
              ? (const char *)(packedLeft + (block * innerWords(p) + piece.start) * mostRows)
              : (const char *)p->a + row * rowBytesA(p) + 4 * piece.start;
      const long rows = blockStart(p, block + 1) - row;
      blocks[isWide][rows - 1](&piece, row, left, partials, &next, unitsAStep);
    }
    piece = next;
  }
}
DOTS static void multiplyBF16Panels(const sail_dot_product *p, uint32_t *scratch) {
  multiplyPanels(0, p, scratch);
}
DOTS static void multiplyF32Panels(const sail_dot_product *p, uint32_t *scratch) {
  multiplyPanels(1, p, scratch);
}

DOTS void sail_dots_multiply(const sail_dot_product *p, void *scratch) {
  if (p->rows <= 0) return;
  if (p->rows <= mostRows && !p->transposesA && !p->accumulates) {
    directs[p->isWide][p->rows - 1](p);
    return;
  }
  for (long chunk = 0; chunk < chunkCount(p); chunk++) {
    const sail_dot_product part = chunkOf(p, chunk);
    if (part.rows <= 0) continue;
    if (p->isWide) multiplyF32Panels(&part, scratch);
    else multiplyBF16Panels(&part, scratch);
  }
}
